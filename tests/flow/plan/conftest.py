"""Operators, models, streams and a machine that exist for these tests alone, and a short way to a deployment of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pytest

from devices.engine import Batching, EngineError, ModelInfo
from devices.registry import DeviceStatus, EngineStatus
from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, Specs, TensorSpec, TensorsSpec
from flow.plan import make_plan
from flow.plan.value import Plan
from flow.sources.contract import Probe, SourceError
from manifests.deployment import Deployment, Position, ResolvedModel, Use
from manifests.errors import ManifestError, Problem
from manifests.schema.business import Business
from manifests.schema.device import StreamManifest
from manifests.schema.model import Model
from ops import catalog
from ops.contract import Composite, Config, Expansion, Operator, SpecError, Step, images, port

BOXES = RecordsSpec("detections", 10)
TENSORS = TensorsSpec((("x", TensorSpec("float32", (1, 3, 32, 32))),))


class Shrink(Operator):
    op = "t.shrink"
    inputs = {"image": port("image")}
    outputs = {"image": port("image")}

    class Config(Config):
        by: int = 2

    def infer(self, specs: Specs) -> dict[str, Spec]:
        spec = images(specs["image"], "image")
        return {"image": replace(spec, width=spec.width // self.config.by, height=spec.height // self.config.by)}


class Find(Operator):
    op = "t.find"
    inputs = {"image": port("image")}
    outputs = {"boxes": port("detections")}

    class Inner(Config):
        depth: int = 1
        modes: tuple[str, ...] = ("a",)

    class Config(Config):
        score: float = 0.5
        names: frozenset[str] = frozenset()
        inner: Find.Inner | None = None

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"boxes": BOXES}


class FindBgr(Find):
    op = "t.findbgr"
    inputs = {"image": port("image", formats=("bgr24", "rgb24"))}


class Track(Operator):
    op = "t.track"
    kind = "stateful"
    inputs = {"boxes": port("detections")}
    outputs = {"boxes": port("detections")}

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"boxes": specs["boxes"]}


class Noise(Track):
    op = "t.noise"
    kind = "random"


class Keep(Track):
    op = "t.keep"
    kind = "pure"


class Prepare(Operator):
    op = "t.prepare"
    inputs = {"image": port("image")}
    outputs = {"tensors": port("tensors")}

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"tensors": TENSORS}


class Infer(Operator):
    op = "t.infer"
    inputs = {"tensors": port("tensors")}
    outputs = {"tensors": port("tensors")}
    needs_model = True
    placement = frozenset({"device", "engine"})

    class Config(Config):
        device: str = "auto"
        engine: str = "auto"
        precision: str = "auto"

    def infer(self, specs: Specs) -> dict[str, Spec]:
        if specs["tensors"] != TENSORS:
            raise SpecError(port="tensors", expected=str(TENSORS), got=str(specs["tensors"]))
        return {"tensors": TENSORS}

    def batching(self) -> Batching | None:
        return self.model.batch if self.model is not None else None


class Together(Keep):
    op = "t.together"

    class Config(Config):
        most: int = 8
        delay_ms: float = 0.0

    def batching(self) -> Batching | None:
        return Batching(self.config.most, self.config.delay_ms)


class Decode(Operator):
    op = "t.decode"
    inputs = {"tensors": port("tensors")}
    outputs = {"boxes": port("detections")}
    needs_model = True

    class Config(Config):
        score: float = 0.5

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"boxes": replace(BOXES, labels=self.model.labels if self.model else ())}


class Crops(Operator):
    op = "t.crops"
    inputs = {"image": port("image"), "boxes": port("detections")}
    outputs = {"crops": port("image")}

    class Config(Config):
        most: int = 4

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"crops": ManySpec(ImageSpec(32, 32, "rgb24"), self.config.most)}


class Gather(Operator):
    op = "t.gather"
    inputs = {"boxes": port("detections", many=True)}
    outputs = {"boxes": port("detections")}

    def infer(self, specs: Specs) -> dict[str, Spec]:
        if not isinstance(specs["boxes"], ManySpec):
            raise SpecError(port="boxes", expected="a list", got=str(specs["boxes"]), hint="put t.crops before it")
        return {"boxes": BOXES}


class Meet(Operator):
    op = "t.meet"
    inputs = {"left": port("image", "detections"), "right": port("image", "detections"), "third": port("detections", optional=True)}
    outputs = {"boxes": port("detections")}

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"boxes": BOXES}


class Blur(Shrink):
    op = "t.blur"
    placement = frozenset({"device"})

    class Config(Config):
        by: int = 1
        device: str = "auto"


class Broken(Find):
    op = "t.broken"

    def infer(self, specs: Specs) -> dict[str, Spec]:
        raise ZeroDivisionError("oops")


class Detect(Composite):
    op = "t.detect"
    inputs = {"image": port("image"), "hints": port("detections", optional=True)}
    outputs = {"boxes": port("detections")}

    class Config(Config):
        score: float = 0.5
        device: str = "auto"

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        if model is not None and model.name == "unfit":
            raise SpecError(port="model", expected="a model that fits", got="one that does not")
        return Expansion(
            {
                "decode": Step("t.decode", {"tensors": "infer.tensors"}, {"score": config.score}, model=True),
                "prepare": Step("t.prepare", {"image": "$image"}),
                "infer": Step("t.infer", {"tensors": "prepare.tensors"}, {"device": config.device}, model=True),
                "unread": Step("t.shrink", {"image": "$image"}),
            },
            {"boxes": "decode.boxes"},
        )


class Outer(Detect):
    op = "t.outer"

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        steps = {
            "inner": Step("t.detect", {"image": "$image", "hints": "$hints"}, {"score": config.score}, model=True),
            "first": Step("t.keep", {"boxes": "inner.boxes"}),
            "second": Step("t.keep", {"boxes": "first.boxes"}),
        }
        return Expansion(steps, {"boxes": "second.boxes"})


class Tangled(Detect):
    op = "t.tangled"

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        return Expansion(
            {"one": Step("t.keep", {"boxes": "two.boxes"}), "two": Step("t.keep", {"boxes": "one.boxes"})}, {"boxes": "one.boxes"}
        )


class Endless(Detect):
    op = "t.endless"

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        return Expansion({"again": Step("t.endless", {"image": "$image"}, model=True)}, {"boxes": "again.boxes"})


OPS = {
    kind.op: kind
    for kind in (
        Shrink, Find, FindBgr, Track, Noise, Keep, Prepare, Infer, Together, Decode, Crops, Gather, Meet, Blur, Broken, Detect, Outer,
        Tangled, Endless,
    )
}  # fmt: skip

MACHINE = [
    DeviceStatus("cpu", "cpu", "cpu", 4, 1 << 33, False, None, (EngineStatus("onnxruntime", ("exact",), None),)),
    DeviceStatus("npu", "npu", "npumem", 1, 1 << 30, True, None, (EngineStatus("npurt", (), None),)),
    DeviceStatus("gone", "gpu", "gonemem", 1, 1 << 30, False, "no driver", ()),
]

PROBE = Probe(ImageSpec(64, 48, "yuv420p"), 25.0, live=False)


@pytest.fixture(autouse=True)
def _house(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' operators, models and machine in place of this one's."""
    real = catalog.find

    def find(name: str) -> Any:
        if name in OPS:
            return OPS[name]
        if name.startswith("t."):
            reason = "it cannot be imported" if name == "t.unusable" else ""
            raise catalog.UnknownOperator(name, tuple(get_close_matches(name, OPS, 1)), reason)
        return real(name)

    monkeypatch.setattr(catalog, "find", find)
    monkeypatch.setattr(catalog, "code_digest", lambda kind: kind.__name__)
    monkeypatch.setattr("devices.registry.available", lambda: MACHINE)
    monkeypatch.setattr("devices.model.model_info", read_model)

    class Runs:
        def lacks(self, path: Path) -> tuple[str, ...]:
            return ("Einsum",) if "unfit" in path.name else ()

    monkeypatch.setattr("devices.registry.engine", lambda name: Runs())


def read_model(resolved: ResolvedModel) -> ModelInfo:
    if resolved.path.name == "corrupt.onnx":
        raise EngineError(f"{resolved.path}: expected an ONNX model, got noise")
    signature = TENSORS.tensors
    return ModelInfo(
        resolved.manifest.name, resolved.manifest.version, resolved.path, resolved.digest, signature, signature, resolved.labels,
        batch=Batching(dimension="n") if "open" in resolved.path.name else None,
    )  # fmt: skip


def model(name: str = "net", *, digest: str = "d1", labels: tuple[str, ...] = ("cat",), path: str = "net.onnx") -> ResolvedModel:
    manifest = Model.model_validate({"apiVersion": "ace/v1", "kind": "Model", "name": name, "version": "1.0.0", "file": path})
    return ResolvedModel(manifest, Path(path), digest, labels, Position("models.yaml", 1))


class Lines(dict[str, Position]):
    """Every path of a document has a line of its own, known by asking."""

    def __contains__(self, path: object) -> bool:
        return True

    def __missing__(self, path: str) -> Position:
        return Position("m.yaml", 100 + len(path), 1)

    def get(self, path: str, default: Any = None) -> Any:
        return self[path]


class House:
    """A short way to deployments and plans."""

    model = staticmethod(model)
    read_model = staticmethod(read_model)
    probe = PROBE
    ops = OPS
    boxes = BOXES
    tensors = TENSORS

    @staticmethod
    def use(
        graph: Mapping[str, Any], outputs: Mapping[str, str] | None = None, *, name: str = "pet", bind: Mapping[str, str] | None = None,
        models: Mapping[str, ResolvedModel] | None = None, goals: Mapping[str, float] | None = None, **rest: Any,
    ) -> Use:  # fmt: skip
        bind = bind or {"camera": "front"}
        document = {
            "apiVersion": "ace/v1", "kind": "Business", "name": name, "version": "1.0.0", "inputs": dict.fromkeys(bind, "image"),
            "models": {key: found.manifest.name for key, found in (models or {}).items()}, "graph": graph,
            "outputs": outputs or {"out": list(graph)[-1]}, "goals": goals or {},
        }  # fmt: skip
        return Use(Business.model_validate(document), bind, models or {}, positions=Lines(), **rest)

    @staticmethod
    def deployment(*uses: Use, streams: Mapping[str, Mapping[str, Any]] | None = None) -> Deployment:
        names = dict.fromkeys(stream for use in uses for stream in use.bind.values())
        known = streams or {name: {"source": f"/clips/{name}.mp4"} for name in names}
        manifests = {name: StreamManifest.model_validate(stream) for name, stream in known.items()}
        return Deployment("device", manifests, uses, {name: Position("device.yaml", 5) for name in manifests})

    def plan(
        self, *uses: Use, streams: Mapping[str, Any] | None = None, probe: Probe = PROBE, memory: int = 1 << 40, cores: int = 2, **rest: Any
    ) -> Plan:
        return make_plan(self.deployment(*uses, streams=streams), probe=lambda *_: probe, memory=memory, cores=cores, **rest)

    def problems(self, *uses: Use, **rest: Any) -> tuple[Problem, ...]:
        with pytest.raises(ManifestError) as caught:
            self.plan(*uses, **rest)
        problems: tuple[Problem, ...] = caught.value.problems
        return problems

    def problem(self, *uses: Use, **rest: Any) -> Problem:
        (problem,) = self.problems(*uses, **rest)
        return problem

    @staticmethod
    def line(path: str) -> int:
        """The line that a path of a business stands on."""
        return Lines()[path].line


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def unreachable() -> Callable[..., Probe]:
    def probe(uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        raise SourceError(f"{uri}: no such file")

    return probe
