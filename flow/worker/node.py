"""A node in a worker: its operator, the memory it writes to, and what happens when it fails on a frame."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

import numpy as np

from devices import kernels
from devices.engine import ModelInfo, Session
from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, TensorsSpec
from flow.ledger import Block
from flow.plan.value import Node, Ref
from flow.pool import SlotRef
from flow.worker.fault import describe
from flow.worker.memory import Lease
from ops.contract import Operator, OperatorError, SpecError
from ops.value import Frame, Image, Many, Tensors


class NodeContext:
    """What the operator may ask for. Memory is reused from frame to frame, which the contract of operators allows."""

    def __init__(self, node: Node, threads: int, sessions: Callable[[ModelInfo, Node], Session], lease: Callable[[Ref], Lease]) -> None:
        self.node, self.threads = node, threads
        self._sessions = sessions
        self._leases = {port: lease(Ref(node.address, port)) for port, _ in node.outputs}
        self._strides = {port: -(-spec.item.nbytes // 64) * 64 for port, spec in node.outputs if isinstance(spec, ManySpec)}
        self._heap: dict[tuple[str, int], np.ndarray] = {}
        self.index = 0
        """Which item of a list is being run."""

    def session(self, model: ModelInfo) -> Session:
        return self._sessions(model, self.node)

    def _memory(self, port: str, index: int, nbytes: int) -> tuple[np.ndarray, SlotRef | None]:
        index += self.index
        stride = self._strides.get(port, nbytes)
        lease = self._leases[port].take(stride * (index + 1)) if nbytes <= stride else None
        if lease is not None:
            ref, memory = lease
            return memory[index * stride :], ref
        memory = self._heap.get((port, index), np.empty(0, np.uint8))
        if len(memory) < nbytes:
            memory = self._heap[port, index] = np.empty(nbytes, np.uint8)
        return memory, None

    def image(self, port: str, spec: ImageSpec, index: int = 0) -> Image:
        memory, ref = self._memory(port, index, spec.nbytes)
        return Image(spec, spec.split(memory), slot=ref)

    def tensors(self, port: str, spec: TensorsSpec, index: int = 0) -> Tensors:
        memory, ref = self._memory(port, index, spec.nbytes)
        return Tensors(spec.split(memory), slot=ref)


class NodeRunner:
    """Runs one node on one frame after another. `inputs` and `outputs` are places in the chain's table of values."""

    def __init__(
        self, node: Node, make: Callable[[], Operator], context: NodeContext, block: Block, *,
        number: int, inputs: Mapping[str, int], outputs: Mapping[str, int], keep_outputs: bool, report: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self.node, self.context, self.block, self.number = node, context, block, number
        self._make, self._report = make, report
        self.inputs = tuple(inputs.items())
        self.outputs = tuple(outputs.items())
        self.keep_outputs = keep_outputs
        self.operator = make()
        self.optional = {name for name, port in self.operator.inputs.items() if port.optional}
        self.key = f"node:{node.address}"
        self.was_reset = False
        self.flushed = False
        self._specs: dict[str, Spec] = {}
        self._planned_specs: dict[str, Spec] = {}
        self._expected = {port: _expected(spec, lifted=bool(node.lifted)) for port, spec in node.outputs}
        self._only: str | None
        self._only, self._only_place = self.outputs[0] if len(self.outputs) == 1 else (None, -1)
        self._only_kind = self._expected[self._only][0] if self._only is not None else None
        self._plain: type | None = self._only_kind if self._only_kind in (Image, np.ndarray) else None
        self._dtype: np.dtype[Any] | None = None
        """What needs no further look: a picture, or records of the type that was found to be what the operator declares."""
        self._lifted = bool(node.lifted)
        self._counts = np.array([block.index(f"{self.key}.{name}") for name in ("runs", "calls", "busy_ns", "next_seq")], np.int64)
        functions = kernels.functions()
        self._enter, self._leave = functions["ace_enter"], functions["ace_leave"]
        self._address, self._places = block.words_address, int(self._counts.ctypes.data)
        self._called = 0
        """How often the operator was called for items of the frame it is at."""
        self._needed = tuple((port, place) for port, place in self.inputs if port not in self.optional)
        self._optional = tuple((port, place) for port, place in self.inputs if port in self.optional)
        self._pictures: tuple[str, ...] = ()
        only = self.inputs[0] if len(self.inputs) == 1 and not self._optional and not self._lifted else None
        self._input, self._input_place = only if only is not None and _second(self.operator) == only[0] else ("", -1)
        """The only input, where `run` takes it by its place: that is the quicker call."""
        self._spec: Spec | None = None
        """Of that input, where it is a picture: what was checked last."""

    def open(self) -> None:
        self.operator.open(self.context)

    def renew(self) -> None:
        """A fresh operator in place of the old one; state that it kept is lost, and the next result says so."""
        self.operator.close()
        self.operator = self._make()
        self.operator.open(self.context)
        if self.node.kind == "stateful":
            self.was_reset = True
            self.block.add("state_resets")

    def run(self, frame: Frame, stream: int, values: list[Any], then: int = -1, *, entered: bool = False) -> bool:
        """Runs the operator where its inputs are there; False when it failed on this frame (counted and reported).

        `then`: number of the node that is run on it next, which will be `entered` (-1: none).
        """
        place = self._input_place
        arguments: Any = values[place] if place >= 0 else self._gather(values)
        address, seq, ran, called = self._address, frame.seq, -1, 0
        if arguments is None:
            if entered:
                self._leave(address, self._places, -1, 0, then)
            elif then >= 0:
                self._enter(address, then, stream, seq)
            return True
        if not entered:
            self._enter(address, self.number, stream, seq)
        result: Any
        try:
            if place >= 0:
                if self._pictures and arguments.spec is not self._spec:
                    self._check_all({self._input: arguments})
                    self._spec = arguments.spec
                called = 1
                result = self.operator.run(frame, arguments)
            elif self._lifted:
                self._check_all(arguments)
                result = self._run_items(frame, arguments)
            else:
                self._check_all(arguments)
                called = 1
                result = self.operator.run(frame, **arguments)
            kind = type(result)
            if (
                result is not None
                and not self._lifted
                and (kind is not self._plain or (kind is np.ndarray and result.dtype is not self._dtype))
            ):
                self.check_result(result)
            ran = seq
        except SpecError as error:
            return self._failed("spec", f"this picture no longer fits: {error}", seq)
        except Exception as error:  # an operator may raise anything; the frame is counted and the message reported
            return self._failed("error", self.describe(error), seq)
        finally:
            self._leave(address, self._places, ran, called or self._called, then)
            self._called = 0
        if result is None:
            return True
        if self._only_place >= 0 and kind is self._only_kind:
            values[self._only_place] = result
        else:
            self._put(result, values)
        return True

    def rehearse(self, frame: Frame, values: list[Any]) -> None:
        """Runs a pure operator ahead of the first frame; nothing is counted. Raises what it raises."""
        arguments = None if self.node.kind != "pure" or self._lifted else self._gather(values)
        if arguments is not None and (result := self.operator.run(frame, **arguments)) is not None:
            self._put(result, values)

    def _gather(self, values: list[Any]) -> dict[str, Any] | None:
        """Its inputs by port; None when one is missing that it needs."""
        arguments: dict[str, Any] = {}
        for port, place in self._needed:
            value = arguments[port] = values[place]
            if value is None:
                return None
        for port, place in self._optional:
            if values[place] is not None:
                arguments[port] = values[place]
        return arguments

    def _check_all(self, arguments: dict[str, Any]) -> None:
        for port in self._pictures:
            if port in arguments and arguments[port].spec is not self._specs.get(port):
                self._check(port, arguments[port])

    def _put(self, result: Any, values: list[Any]) -> None:
        if isinstance(result, Mapping):
            for port, place in self.outputs:
                values[place] = result.get(port)
        else:
            values[self._only_place] = result

    def given(self, values: list[Any]) -> dict[str, Any] | None:
        """Its inputs by port, to be run together with other frames; None when this frame is for `run`: something is missing, or new."""
        arguments: dict[str, Any] = {}
        for port, place in (*self._needed, *self._optional):
            value = values[place]
            if value is not None:
                if type(value) is Image and value.spec != self._planned_specs.get(port):
                    return None
                arguments[port] = value
            elif port not in self.optional:
                return None
        return arguments

    def accept(self, result: Any, values: list[Any], busy_ns: int, *, seq: int, calls: int) -> None:
        """Puts what the operator gave for one of several frames, `seq`, and was checked, into the table."""
        words = self.block.words
        for place, amount in zip(self._counts.tolist()[:3], (counts_now(self.block, self.key, seq), calls, busy_ns), strict=True):
            words[place] += amount
        if result is not None:
            self._put(result, values)

    def _failed(self, cause: str, message: str, seq: int | None) -> bool:
        if seq is None or counts_now(self.block, self.key, seq):
            self.block.add(f"{self.key}.errors")
            self.block.add(f"{self.key}.dropped:{cause}")
        self._report(self.node.address, message)
        if self.node.on_error == "restart" and cause == "error":
            self.renew()
        return False

    def check_result(self, result: Any) -> None:
        """An operator that gives something else than it declared is named here, before others stumble over it. Raises OperatorError.

        Tensors that the next run of the same session would write over are copied.
        """
        if result is None:
            return
        if not isinstance(result, Mapping) and self._only is None:
            names = ", ".join(port for port, _ in self.outputs)
            raise OperatorError(f"{type(self.operator).__name__}.run: expected values by port ({names}), got {type(result).__name__}")
        given: Mapping[str, Any] = result if isinstance(result, Mapping) else {str(self._only): result}
        for port, value in given.items():
            expected = self._expected.get(port)
            if expected is None:
                names = ", ".join(port for port, _ in self.outputs)
                raise OperatorError(f"{type(self.operator).__name__}.run: expected ports {names}, got {port!r}")
            kind, dtype, spec = expected
            if value is not None and (not isinstance(value, kind) or (dtype is not None and getattr(value, "dtype", None) != dtype)):
                got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
                raise OperatorError(f"{type(self.operator).__name__}.run: expected {spec} for {port!r}, got {got}")
        if isinstance(result, np.ndarray):
            self._dtype = result.dtype
        elif self.keep_outputs and isinstance(result, Tensors) and result.slot is None:
            result.arrays = {name: array.copy() for name, array in result.arrays.items()}

    def _run_items(self, frame: Frame, arguments: dict[str, Any]) -> dict[str, Many]:
        lists = {port: arguments[port] for port in self.node.lifted if port in arguments}
        first = next(iter(lists.values()))
        gathered: dict[str, Many] = {port: Many([], []) for port, _ in self.outputs}
        for index, parent in enumerate(first.parents):
            self.context.index = max(len(many.items) for many in gathered.values())
            items = {**arguments, **{port: many.items[index] for port, many in lists.items()}}
            self._called += 1
            result = self.operator.run(frame, **items)
            if result is None:
                continue
            self.check_result(result)
            for port, value in result.items() if isinstance(result, Mapping) else ((self.outputs[0][0], result),):
                gathered[port].items.append(value)
                gathered[port].parents.append(parent)
        self.context.index = 0
        return gathered

    def _check(self, port: str, value: Image) -> None:
        """Pictures of a new size or format are a new segment: the operator is asked again, and one with state starts anew."""
        before, self._specs[port] = self._specs.get(port), value.spec
        if before == value.spec:
            return
        if before is not None or value.spec != self._planned_specs.get(port):
            self.operator.infer({**self._planned_specs, port: value.spec})
        if before is not None and self.node.kind == "stateful":
            self.renew()

    def plan_inputs(self, specs: Mapping[str, Spec]) -> None:
        """What the plan expects at each port (single items where a list is taken item by item)."""
        self._planned_specs = {
            port: spec.item if isinstance(spec, ManySpec) and port in self.node.lifted else spec for port, spec in specs.items()
        }
        self._pictures = tuple(port for port, spec in specs.items() if isinstance(spec, ImageSpec))

    def flush(self, values: list[Any], stream: int, seq: int) -> bool:
        """Puts what the operator still holds into the table, as frame `seq`; whether it held anything."""
        self.block.enter(self.number, stream, seq, monotonic_ns())
        try:
            result = self.operator.flush()
        except Exception as error:  # counted and reported like any frame
            self._failed("error", f"flush: {self.describe(error)}", None)
            return False
        finally:
            self.block.leave()
        if result is None:
            return False
        self.flushed = True
        self._put(result, values)
        return True

    def describe(self, error: BaseException) -> str:
        """The error, and where in the operator's own code it arose."""
        return describe(error, type(self.operator).__module__)

    def save(self) -> bytes | None:
        return self.operator.save() if self.node.kind == "stateful" else None

    def restore(self, state: bytes) -> None:
        """Raises ValueError when the operator cannot go on from it."""
        self.operator.restore(state)

    def close(self) -> None:
        self.operator.close()


class AbsentNode:
    """In the place of a node that could not be opened, or whose businesses were stopped before: its frames are counted, nothing is run."""

    was_reset = False
    flushed = True

    def __init__(self, node: Node, block: Block, *, number: int) -> None:
        self.node, self.block, self.number = node, block, number
        self.key = f"node:{node.address}"

    def run(self, frame: Frame, stream: int, values: list[Any], then: int = -1, *, entered: bool = False) -> bool:
        self.block.add(f"{self.key}.dropped:stopped", counts_now(self.block, self.key, frame.seq))
        return True

    def rehearse(self, frame: Frame, values: list[Any]) -> None:
        return

    def flush(self, values: list[Any], stream: int, seq: int) -> bool:
        return False

    def save(self) -> bytes | None:
        return b""

    def restore(self, state: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def _second(operator: Operator) -> str | None:
    """Name of what `run` takes second, if it does so by its place."""
    places = [one.name for one in inspect.signature(operator.run).parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    return places[1] if len(places) > 1 else None


def counts_now(block: Block, key: str, seq: int) -> bool:
    """Whether a frame is counted at the node `key`: once, however often it is replayed. From now on it has been."""
    if seq < block.get(f"{key}.next_seq"):
        return False
    block.set(f"{key}.next_seq", seq + 1)
    return True


def _expected(spec: Spec, *, lifted: bool) -> tuple[type, np.dtype[np.void] | None, Spec]:
    """What one run gives for an output of this spec: type, dtype of records, and the spec itself."""
    if isinstance(spec, ManySpec):
        return _expected(spec.item, lifted=False) if lifted else (Many, None, spec)
    if isinstance(spec, RecordsSpec):
        return np.ndarray, spec.dtype, spec
    return (Image if isinstance(spec, ImageSpec) else Tensors), None, spec
