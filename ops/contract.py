"""The operator contract: one class in one file, frozen config, typed ports, pure, stateful or random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from devices.engine import Batching, ModelInfo, Session
from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, Specs, TensorsSpec
from ops.value import Frame, Image, Tensors, Value

Kind = Literal["pure", "stateful", "random"]


class OperatorError(Exception):
    """A frame that an operator cannot process. The frame is dropped, counted at this node, and the message is reported."""


class SpecError(Exception):
    """What `infer` raises when ports do not fit: expected, got, at which port, and what to do next."""

    def __init__(self, *, port: str, expected: str, got: str, hint: str = "") -> None:
        super().__init__(f"port {port}: expected {expected}, got {got}" + (f" ({hint})" if hint else ""))
        self.port, self.expected, self.got, self.hint = port, expected, got, hint


@dataclass(frozen=True, slots=True)
class Port:
    """A typed port. `kinds`: what it takes or gives (image, tensors, detections, classes, landmarks, event, points).

    `formats`: pixel formats taken, best first (empty: any); the plan inserts a conversion where none matches.
    `many`: the operator wants the whole list of a frame; without it, a list is taken item by item.
    """

    kinds: tuple[str, ...]
    doc: str = ""
    formats: tuple[str, ...] = ()
    many: bool = False
    optional: bool = False


def port(*kinds: str, doc: str = "", formats: tuple[str, ...] = (), many: bool = False, optional: bool = False) -> Port:
    """A port that takes or gives one of `kinds`."""
    return Port(kinds, doc, formats, many, optional)


class Config(BaseModel):
    """Base of every operator's configuration: frozen, unknown keys refused, non-finite numbers refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Context(Protocol):
    """What an operator may ask of the worker it runs in."""

    @property
    def threads(self) -> int:
        """Threads this node may use at once."""
        ...

    def session(self, model: ModelInfo) -> Session:
        """The loaded model, shared by all nodes of this worker that use it."""
        ...

    def image(self, port: str, spec: ImageSpec, index: int = 0) -> Image:
        """Memory for a picture to be emitted on `port` (item `index` of a list): a shared slot when it leaves the worker."""
        ...

    def tensors(self, port: str, spec: TensorsSpec, index: int = 0) -> Tensors:
        """Memory for tensors to be emitted on `port`."""
        ...


class Operator:
    """Base of every operator.

    `op` is its name in manifests. `kind`: `pure` (same inputs, same outputs: it may be run on a black picture, or on nothing, before the
    first frame comes), `stateful` (keeps state per instance and stream), `random`
    (never shared). Inputs are valid during `run` only: copy what you keep. State lives in the instance, never in the class or module.
    """

    op: ClassVar[str]
    kind: ClassVar[Kind] = "pure"
    inputs: ClassVar[Mapping[str, Port]] = {}
    outputs: ClassVar[Mapping[str, Port]] = {}
    needs_model: ClassVar[bool] = False
    placement: ClassVar[frozenset[str]] = frozenset()
    """Config keys that say where the work is done (device, engine, precision's engine …), not what: they are no part of the address."""
    drawn: ClassVar[Mapping[str, str]] = {}
    """Config keys whose value belongs into a picture of the results, and the key of `draw.results` that takes a list of such values."""

    class Config(Config):
        """No settings."""

    def __init__(self, config: Any = None, model: ModelInfo | None = None) -> None:
        self.config: Any = self.Config() if config is None else config
        self.model = model

    def infer(self, specs: Specs) -> dict[str, Spec]:
        """Specs of the outputs for these inputs (single items where a list is taken item by item). Raises SpecError.

        Called on every instance, when the plan is made and again in the worker before `open`: what it learns (class names, sizes) may
        be kept for `run`.
        """
        raise TypeError(f"{type(self).__name__} must define infer")

    def open(self, context: Context) -> None:
        """Called once in the worker, before the first frame."""
        self.context = context

    def run(self, frame: Frame, *_: Any, **inputs: Any) -> Value | Mapping[str, Value] | None:
        """One frame, each input by the name of its port (an operator may spell them out as keywords).

        Returns the value of the only output, values by port, or None when this frame has no result.
        """
        raise TypeError(f"{type(self).__name__} must define run")

    def batching(self) -> Batching | None:
        """Of a pure operator: how many frames `run_many` takes at once, and how long one may wait for others. None: one after another.

        Asked when the plan is made, before `open`.
        """
        return None

    def run_many(self, frames: Sequence[Frame], inputs: Sequence[Mapping[str, Any]]) -> Sequence[Value | Mapping[str, Value] | None]:
        """Several frames at once, of streams for which the plan has equal operators: for each what `run` would give.

        When it raises, each frame is run alone, so that only the guilty one is lost. Values may share memory until the next call.
        """
        return [self.run(frame, **given) for frame, given in zip(frames, inputs, strict=True)]

    def flush(self) -> Value | Mapping[str, Value] | None:
        """Called at the end of a stream, and at a cut; what is still held comes out."""
        return None

    def close(self) -> None:
        """Called once after the last frame."""

    def save(self) -> bytes | None:
        """State as bytes for a successor, or None when the operator cannot hand it over."""
        return None

    def restore(self, state: bytes) -> None:
        """Takes over what `save` of an instance with the same config gave. Raises ValueError for bytes it does not know."""
        raise ValueError(f"{self.op} keeps no state that can be restored")


@dataclass(frozen=True, slots=True)
class Step:
    """A node inside a composite. `inputs`: port -> `step.port`, or `$name` for the composite's own input."""

    op: str
    inputs: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    model: bool = False


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a composite stands for. `outputs`: the composite's port -> `step.port`."""

    steps: Mapping[str, Step]
    outputs: Mapping[str, str]


class Composite:
    """A high-level operator built from low-level ones; the plan sees only those, so equal parts are shared."""

    op: ClassVar[str]
    inputs: ClassVar[Mapping[str, Port]] = {}
    outputs: ClassVar[Mapping[str, Port]] = {}
    needs_model: ClassVar[bool] = True

    class Config(Config):
        """No settings."""

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        """Raises SpecError when the model does not fit (its port is `model`)."""
        raise TypeError(f"{cls.__name__} must define expand")


def images(spec: Spec, port: str) -> ImageSpec:
    """The spec as a picture's. Raises SpecError naming `port`."""
    if isinstance(spec, ImageSpec):
        return spec
    raise SpecError(port=port, expected="an image", got=str(spec))


def records(spec: Spec, port: str, kind: str) -> RecordsSpec:
    """The spec as records of this kind. Raises SpecError naming `port`."""
    if isinstance(spec, RecordsSpec) and spec.record == kind:
        return spec
    raise SpecError(port=port, expected=kind, got=str(spec))


def lifted(spec: Spec, capacity: int) -> ManySpec:
    """A list of values of this spec. Raises SpecError for a list of lists."""
    if isinstance(spec, ManySpec):
        raise SpecError(port="", expected="single values", got=str(spec), hint="a list of lists has no meaning here")
    return ManySpec(spec, capacity)
