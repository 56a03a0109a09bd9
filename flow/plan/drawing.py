"""A plan as a drawing: one SVG that needs nothing else. Lanes are boxes, nodes are cards, frames flow from left to right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, TensorsSpec
from flow.plan.text import size, target
from flow.plan.value import Lane, Node, Plan, Ref, Sink

CARD, CARD_HEIGHT, STEP = 268, 58, 78
GAP, MARGIN, PAD, HEAD = 172, 28, 16, 30
TITLE, TRACK = 64, 14
LETTER, SMALL_LETTER = 7.4, 6.1
"""Width of a letter of the card's title and of its small print, for cutting long names."""

STYLE = """
text { font-family: "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #1f2933 }
.paper { fill: #ffffff } .lane { fill: #f4f6f8; stroke: #d5dde5 } .card { fill: #ffffff; stroke: #d5dde5 }
.h1 { font-size: 17px; font-weight: 650 } .h2 { font-size: 12.5px; font-weight: 650 } .op { font-size: 13px; font-weight: 600 }
.soft, .label { font-size: 11px; fill: #66788a } .wire { fill: none; stroke: #8fa1b3; stroke-width: 1.6 } .tip { fill: #8fa1b3 }
.shared { font-size: 10.5px; font-weight: 700; fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .paper { fill: #12171d } .lane { fill: #1a2129; stroke: #323e4a } .card { fill: #202a34; stroke: #323e4a }
  .soft, .label { fill: #9aa9b8 } .wire { stroke: #62748a } .tip { fill: #62748a }
}
""".strip()

COLORS = {
    "source": "#0f9d8a",
    "pure": "#3b82d0",
    "stateful": "#8b5cd6",
    "random": "#c2577e",
    "infer": "#e07b24",
    "move": "#7a8896",
    "sink": "#4c9a2a",
}
ARROW = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
)
LEGEND = (
    ("source", "source"),
    ("pure", "pure"),
    ("infer", "inference"),
    ("stateful", "keeps state"),
    ("move", "transfer"),
    ("sink", "output"),
)


@dataclass(frozen=True, slots=True)
class Card:
    """Something that is done to a frame: where it stands, what it reads."""

    kind: str
    title: str
    subtitle: str
    note: str
    hover: str
    reads: tuple[Ref, ...]
    x: float
    y: float
    copies: int = 1

    @property
    def right(self) -> float:
        return self.x + CARD


@dataclass(frozen=True, slots=True)
class Box:
    """A lane and the columns it spans."""

    lane: Lane
    first: int
    last: int
    y: float
    height: float


def drawing(plan: Plan) -> str:
    """The plan as SVG text."""
    columns = _columns(plan)
    tracks = _tracks(plan, columns)
    boxes = _boxes(plan, columns, TITLE + TRACK * len(tracks))
    cards, makers, chain_of = _cards(plan, boxes, columns)
    width = 2 * MARGIN + max((box.last + 1 for box in boxes), default=1) * (CARD + 2 * PAD + GAP) - GAP
    height = max((box.y + box.height for box in boxes), default=TITLE) + MARGIN + 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>Plan {plan.digest}</title><style>{STYLE}</style>",
        ARROW,
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>',
        *_title(plan),
        *(line for box in boxes for line in _lane(box)),
        *_wires(plan, cards, makers, chain_of, tracks),
        *(line for chain in cards.values() for card in chain for line in _card(card)),
        *_legend(height),
        "</svg>",
    ]
    return "\n".join(parts)


def _columns(plan: Plan) -> dict[int, int]:
    """Column of each chain: the longest way to it."""
    column = {chain.id: 0 for chain in plan.chains}
    for _ in plan.chains:
        for edge in plan.edges:
            column[edge.consumer] = max(column[edge.consumer], column[edge.producer] + 1)
    return column


def _tracks(plan: Plan, columns: dict[int, int]) -> dict[str, float]:
    """What is read more than one column on travels above all lanes: the height of its track, by address."""
    far = dict.fromkeys(ref.address for edge in plan.edges if columns[edge.consumer] - columns[edge.producer] > 1 for ref in edge.refs)
    return {address: TITLE + TRACK * place for place, address in enumerate(far)}


def _boxes(plan: Plan, columns: dict[int, int], top: float) -> list[Box]:
    """Lanes from top to bottom, each as high as the columns it spans allow."""
    counts = {chain.id: len(chain.nodes) + len(chain.sinks) + (chain.stream is not None) for chain in plan.chains}
    bottoms: dict[int, float] = {}
    boxes = []
    for lane in plan.lanes:
        spanned = [columns[chain] for chain in lane.chains]
        first, last = min(spanned), max(spanned)
        tallest = max(sum(counts[chain] for chain in lane.chains if columns[chain] == column) for column in set(spanned))
        y = max((bottoms.get(column, top) for column in range(first, last + 1)), default=0.0)
        height = HEAD + tallest * STEP - (STEP - CARD_HEIGHT) + PAD
        boxes.append(Box(lane, first, last, y, height))
        bottoms.update(dict.fromkeys(range(first, last + 1), y + height + 18))
    return boxes


def _left(column: int) -> float:
    return MARGIN + column * (CARD + 2 * PAD + GAP)


def _cards(plan: Plan, boxes: Iterable[Box], columns: dict[int, int]) -> tuple[dict[int, list[Card]], dict[str, Card], dict[str, int]]:
    """Cards by chain, and for each address its card and its chain."""
    chains, sinks = {chain.id: chain for chain in plan.chains}, {sink.id: sink for sink in plan.sinks}
    cards: dict[int, list[Card]] = {}
    makers: dict[str, Card] = {}
    chain_of: dict[str, int] = {}
    for box in boxes:
        used: dict[int, int] = {}
        for number in box.lane.chains:
            chain, own = chains[number], cards.setdefault(number, [])

            def place(column: int = columns[number], used: dict[int, int] = used, top: float = box.y + HEAD) -> tuple[float, float]:
                row = used[column] = used.get(column, -1) + 1
                return _left(column) + PAD, top + row * STEP

            if chain.stream is not None:
                stream = plan.stream(chain.stream)
                note = f"{_short(stream.spec)}, {stream.fps:g} fps, {stream.policy}"
                own.append(Card("source", stream.name, stream.source, note, f"{stream.source}\n{stream.spec}", (), *place()))
                makers[stream.address], chain_of[stream.address] = own[-1], number
            for address in chain.nodes:
                own.append(_node_card(plan, plan.node(address), *place()))
                makers[address], chain_of[address] = own[-1], number
            for sink in chain.sinks:
                own.append(_sink_card(sinks[sink], *place()))
    return cards, makers, chain_of


def _node_card(plan: Plan, node: Node, x: float, y: float) -> Card:
    kind = "infer" if node.engine else "move" if node.op in ("memory.transfer", "image.convert") else node.kind
    model = plan.model(node)
    title = f"{node.op} · {model.name}" if node.engine and model is not None else node.op
    hover = [*node.names, *(f"{port}: {spec}" for port, spec in node.outputs), f"address {node.address}"]
    hover += [f"{node.engine}: {node.why}"] if node.engine else []
    note = ", ".join(_short(spec) for _, spec in node.outputs) + (f" · {node.engine}" if node.engine else "")
    return Card(kind, title, ", ".join(node.names), note, "\n".join(hover), tuple(ref for _, ref in node.inputs), x, y, len(node.names))


def _sink_card(sink: Sink, x: float, y: float) -> Card:
    hover = f"{sink.business}.{sink.output} {sink.version}\n{target(sink)}\n{sink.spec}"
    return Card("sink", f"{sink.business}.{sink.output}", f"to {target(sink)}", _short(sink.spec), hover, (sink.value,), x, y)


def _wires(
    plan: Plan, cards: dict[int, list[Card]], makers: dict[str, Card], chain_of: dict[str, int], tracks: dict[str, float]
) -> list[str]:
    """A line from each value to each card that reads it; between chains with what flows and how many frames may."""
    capacity = {(edge.producer, edge.consumer): edge.capacity for edge in plan.edges}
    specs = {Ref(node.address, port): spec for node in plan.nodes for port, spec in node.outputs}
    specs.update({Ref(stream.address, "image"): stream.spec for stream in plan.streams})
    lines = []
    for number, chain in cards.items():
        for card in chain:
            for place, ref in enumerate(card.reads):
                maker = makers[ref.address]
                end = card.y + CARD_HEIGHT * (place + 1) / (len(card.reads) + 1)
                if chain_of[ref.address] == number:
                    lines.append(_inside(maker, card, end))
                    continue
                label = f"{_flow(specs[ref])} · {capacity.get((chain_of[ref.address], number), 0)} frames"
                far = card.x - maker.right > GAP + 3 * PAD
                lines += _across(maker, card, end, label, tracks.get(ref.address) if far else None)
    return lines


def _inside(maker: Card, card: Card, end: float) -> str:
    """Straight down to the next card, or round the cards between."""
    if card.y - maker.y <= STEP:
        return _wire(f"M{card.x + CARD / 2:g} {maker.y + CARD_HEIGHT:g}V{card.y - 1:g}")
    x, start = card.x, maker.y + CARD_HEIGHT / 2
    return _wire(f"M{x:g} {start:g}C{x - 34:g} {start:g} {x - 34:g} {end:g} {x - 1:g} {end:g}")


def _across(maker: Card, card: Card, end: float, label: str, track: float | None) -> list[str]:
    """To another lane: straight through the gap, or along a track above what lies between."""
    start, x1, x2 = maker.y + CARD_HEIGHT / 2, maker.right, card.x - 1
    bend = max(48.0, (x2 - x1) / 2)
    path = f"M{x1:g} {start:g}C{x1 + bend:g} {start:g} {x2 - bend:g} {end:g} {x2:g} {end:g}"
    if track is not None:
        up, down = x1 + PAD + 44, x2 - PAD - 44
        path = f"M{x1:g} {start:g}C{up:g} {start:g} {x1 + PAD:g} {track:g} {up + 16:g} {track:g}H{down - 16:g}"
        path += f"C{x2 - PAD:g} {track:g} {down:g} {end:g} {x2:g} {end:g}"
    shown = escape(_cut(label, GAP - 8, SMALL_LETTER))
    return [
        _wire(path),
        f'<text class="label" text-anchor="end" x="{card.x - PAD - 8:g}" y="{end - 5:g}">{shown}</text>',
    ]


def _wire(path: str) -> str:
    return f'<path class="wire" marker-end="url(#tip)" d="{path}"/>'


def _lane(box: Box) -> list[str]:
    x, width = _left(box.first), (box.last - box.first) * (CARD + 2 * PAD + GAP) + CARD + 2 * PAD
    lane = box.lane
    workers = f"{lane.replicas} workers" if lane.replicas > 1 else "1 worker"
    right = f"{workers} · {lane.device}" + (f" · {lane.threads} threads" if lane.threads > 1 else "")
    room = width - 2 * PAD - len(right) * SMALL_LETTER - 12
    return [
        f'<rect class="lane" x="{x:g}" y="{box.y:g}" width="{width:g}" height="{box.height:g}" rx="12"/>',
        f'<text class="h2" x="{x + PAD:g}" y="{box.y + 20:g}">{escape(_cut(lane.name, room, LETTER))}</text>',
        f'<text class="soft" text-anchor="end" x="{x + width - PAD:g}" y="{box.y + 20:g}">{escape(right)}</text>',
    ]


def _card(card: Card) -> list[str]:
    x, y, color = card.x, card.y, COLORS[card.kind]
    badge = 30 if card.copies > 1 else 0
    lines = [
        f"<g><title>{escape(card.hover)}</title>",
        f'<rect class="card" x="{x:g}" y="{y:g}" width="{CARD}" height="{CARD_HEIGHT}" rx="8"/>',
        f'<path fill="{color}" d="M{x + 8:g} {y:g}h-1a7 7 0 0 0-7 7v{CARD_HEIGHT - 14}a7 7 0 0 0 7 7h1z"/>',
        f'<text class="op" x="{x + 18:g}" y="{y + 19:g}">{escape(_cut(card.title, CARD - 30 - badge, LETTER))}</text>',
        f'<text class="soft" x="{x + 18:g}" y="{y + 35:g}">{escape(_cut(card.subtitle, CARD - 30, SMALL_LETTER))}</text>',
        f'<text class="soft" x="{x + 18:g}" y="{y + 50:g}">{escape(_cut(card.note, CARD - 30, SMALL_LETTER))}</text>',
    ]
    if badge:
        lines.append(f'<rect fill="{color}" x="{x + CARD - 38:g}" y="{y + 7:g}" width="30" height="17" rx="8.5"/>')
        lines.append(f'<text class="shared" text-anchor="middle" x="{x + CARD - 23:g}" y="{y + 19.5:g}">×{card.copies}</text>')
    return [*lines, "</g>"]


def _title(plan: Plan) -> list[str]:
    businesses = list(dict.fromkeys(sink.business for sink in plan.sinks)) or list(
        dict.fromkeys(name for node in plan.nodes for name in node.businesses)
    )
    workers = sum(lane.replicas for lane in plan.lanes)
    facts = (
        f"plan {plan.digest[:12]} · {len(plan.nodes)} nodes · {workers} {plan.workers} · link {plan.link} · "
        f"{size(plan.shared_memory_bytes)} shared memory · about {size(plan.ram_bytes)} for workers and models"
    )
    return [
        f'<text class="h1" x="{MARGIN}" y="28">{escape(_cut(", ".join(businesses), 900, 9.0))}</text>',
        f'<text class="soft" x="{MARGIN}" y="47">{escape(facts)}</text>',
    ]


def _legend(height: float) -> list[str]:
    lines, x = [], float(MARGIN)
    for kind, name in LEGEND:
        lines.append(f'<rect fill="{COLORS[kind]}" x="{x:g}" y="{height - 28:g}" width="10" height="10" rx="3"/>')
        lines.append(f'<text class="soft" x="{x + 15:g}" y="{height - 19:g}">{escape(name)}</text>')
        x += 34 + len(name) * SMALL_LETTER
    lines.append(f'<text class="soft" x="{x + 6:g}" y="{height - 19:g}">×2: shared by two · 4 frames: at most four on their way</text>')
    return lines


def _short(spec: Spec) -> str:
    """A spec in few letters."""
    match spec:
        case ImageSpec():
            return f"{spec.width}×{spec.height} {spec.format}"
        case RecordsSpec():
            return f"{spec.record} ≤ {spec.capacity}"
        case TensorsSpec():
            return f"{len(spec.tensors)} tensors" if len(spec.tensors) > 1 else str(spec.tensors[0][1]) if spec.tensors else "no tensors"
        case ManySpec():
            return f"{spec.capacity} × {_short(spec.item)}"


def _flow(spec: Spec) -> str:
    """A spec in fewer letters."""
    match spec:
        case RecordsSpec():
            return spec.record
        case ManySpec():
            return f"{spec.capacity} × {spec.kind}"
        case _:
            return _short(spec)


def _cut(text: str, room: float, letter: float) -> str:
    """The text, cut to the room it has."""
    letters = max(4, int(room / letter))
    return text if len(text) <= letters else text[: letters - 1] + "…"
