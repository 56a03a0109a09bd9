"""How many slots the pictures and tensors need that leave a chain, so that no one ever waits for a slot that waits for him."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devices.spec import ManySpec, RecordsSpec, Spec
from flow.plan.value import Edge, Pool, Ref, Stream

PAGE = 4096

Specs = Mapping[Ref, Spec]


def pools(edges: Sequence[Edge], sources: Mapping[int, Stream], replicas: Mapping[int, int], specs: Specs) -> tuple[Pool, ...]:
    """A pool for every picture or tensor that leaves the chain it is made in. `sources`: chain -> the stream it
    begins at; `replicas`: chain -> workers that run it.

    A slot holds a whole value, a list included, and is taken from when it is written until the last chain it went to has acknowledged
    the frame. So a pool needs

        1 that is being written
      + what its source holds: 1 decoded ahead, and with a live source those that wait to be taken (`latest`: 1, `drop_oldest`: its queue)
      + the pictures that a live source shows again and again, which stay where they are
      + as many as can be on their way at once.

    A frame that is run together with those of other streams stays among those on its way: a batch takes one frame of each chain, the one
    that the chain would be at by itself. So a batch needs no slot more.

    A producer that waits for its consumers (`block`) gives all of them the same frames in the same order, so those on their way are the
    newest few, as many as the edge with most room holds: the maximum. Edges that thin out choose frames each for itself, and one frame
    more waits for each: the sum, but for edges that go together and choose the same. A consumer that can pass the same memory on (the
    same value, or one of the same shape, which may be the same picture again) keeps it while its own consumers do: theirs are added.
    """
    made = []
    for chain, ref in dict.fromkeys((edge.producer, ref) for edge in edges for ref in edge.refs):
        if isinstance(_item(specs[ref]), RecordsSpec):
            continue
        source = sources.get(chain)
        held = 1 + (1 + waiting(source) + source.kept if source is not None and source.address == ref.address else 0)
        made.append(Pool(chain, ref, held + alive(chain, ref, edges, replicas, specs), -(-max(1, specs[ref].nbytes) // PAGE) * PAGE))
    return tuple(made)


def waiting(stream: Stream) -> int:
    """Frames that a source keeps until somebody has time."""
    if not stream.live:
        return 0
    return stream.queue if stream.policy == "drop_oldest" else 1


def alive(chain: int, ref: Ref, edges: Sequence[Edge], replicas: Mapping[int, int], specs: Specs) -> int:
    """The most slots of one value that can be on their way at once beyond this chain, from one replica of it."""
    groups: dict[tuple[bool, int], list[int]] = {}
    for edge in edges:
        if edge.producer == chain and _carries(edge, ref, specs):
            thinning = edge.policy in ("latest", "drop_oldest")
            kept = edge.queue if edge.policy == "drop_oldest" else int(thinning)
            passed = alive(edge.consumer, ref, edges, replicas, specs) * replicas.get(edge.consumer, 1)
            own = edge.id if edge.together is None else edge.together
            groups.setdefault((thinning, own if thinning else 0), []).append(edge.capacity + kept + passed)
    return sum(map(max, groups.values()))


def _carries(edge: Edge, ref: Ref, specs: Specs) -> bool:
    """Whether the memory of `ref` may travel on this edge: under its own name, or under that of an operator that passes pictures on."""
    return any(on == ref or specs[on] == specs[ref] for on in edge.refs)


def _item(spec: Spec) -> Spec:
    return spec.item if isinstance(spec, ManySpec) else spec
