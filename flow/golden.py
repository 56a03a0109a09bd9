"""Golden clips: recording what a business gives for some frames, and replaying them against another release of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.bundle.canonical import BundleError
from manifests.bundle.golden import CLIP, FEWEST, MOST, Clip, compare, result_of

if TYPE_CHECKING:
    import numpy as np

    from flow.plan.value import Plan
    from flow.sources.contract import Picture
    from manifests.bundle.bundle import Lock
    from manifests.bundle.pack import Pack

EXACT_ENGINES = frozenset({"native", "vpu"})
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul", "ConvTranspose"})
MOST_READ = 2_000
"""Frames of a source that are read to find those of a clip."""


def record(pack: Pack, lock: Lock, sources: Mapping[str, str], *, frames: int = 16, every: int = 5) -> dict[str, bytes]:
    """The files of a golden clip of the business in `lock`: pictures of its inputs' sources, and what it gives for them.

    `sources` maps each input to a source; every `every`th picture is taken, `frames` (8 to 32) in all, as lossless PNG in bgr24. Raises
    BundleError when a source has fewer, or when nothing is found in them; SourceError, ManifestError, EngineError, RunError, OSError.
    """
    if not FEWEST <= frames <= MOST:
        raise BundleError(f"expected {FEWEST} to {MOST} frames in a golden clip, got {frames}")
    business = pack.items[lock.pair.business]
    files = {
        f"frames/{name}/{number:03}.png": data
        for name, source in sources.items()
        for number, data in enumerate(_pictures(source, frames, every))
    }
    named = {name: tuple(path for path in files if path.startswith(f"frames/{name}/")) for name in sources}
    with tempfile.TemporaryDirectory(prefix="ace-golden-") as folder:
        place = Path(folder)
        for path, data in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
        rows, exact = run(write_manifests(pack, lock, place / "manifests"), {name: place / "frames" / name for name in sources})
    results = {output: tuple(result_of(row) for row in found) for output, found in rows.items()}
    try:
        clip = Clip(frames=named, results=results, exact=exact)
    except ValueError:
        expected = f"{business.item.selector} to find something in {', '.join(sources.values())}"
        raise BundleError(f"expected {expected}, got nothing: such a clip would let every model pass; choose another source") from None
    return {CLIP: clip.encoded(), **files}


def replay(clip: Clip, folder: Path, manifests: Sequence[Path]) -> tuple[str, ...]:
    """Runs the business and models of `manifests` on the pictures of the clip in `folder`: what differs, nothing where it passes.

    Raises ManifestError, SourceError, EngineError, RunError.
    """
    rows, exact = run(manifests, {name: (folder / paths[0]).parent for name, paths in clip.frames.items()})
    return compare(clip, rows, exact=exact)


def run(manifests: Sequence[Path], inputs: Mapping[str, Path]) -> tuple[dict[str, list[dict[str, Any]]], bool]:
    """The rows of each output of one business on folders of pictures, and whether integer engines alone made them."""
    import flow
    from manifests.loading import load

    plan = flow.make_plan(load(*manifests, bind={name: str(path) for name, path in inputs.items()}), workers="threads")
    rows: dict[str, list[dict[str, Any]]] = {sink.output: [] for sink in plan.sinks}
    with flow.Executor(plan) as running:
        for result in running.results():
            rows[result.output].append(result.row())
        if running.failed:
            raise BundleError(f"expected a run without errors on a golden clip, got: {running.failed}")
    return {output: sorted(found, key=lambda row: int(row["seq"])) for output, found in rows.items()}, is_exact(plan)


def is_exact(plan: Plan) -> bool:
    """Whether every inference of the plan is done in integers, by an engine whose results are the same on every device."""
    models = {node.model for node in plan.nodes if node.engine is not None}
    engines = {node.engine for node in plan.nodes if node.engine is not None}
    return bool(models) and engines <= EXACT_ENGINES and all(_in_integers(model.path) for model in plan.models if model.digest in models)


def _in_integers(path: Path) -> bool:
    """Whether all weights of a model come quantized."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    quantized = {output for node in graph.node if node.op_type == "DequantizeLinear" for output in node.output}
    return all(node.input[1] in quantized for node in graph.node if node.op_type in WEIGHTED)


def write_manifests(pack: Pack, lock: Lock, folder: Path) -> list[Path]:
    """The business and its models as files, as a device will have them. Gives their manifests."""
    found = []
    for digest in dict.fromkeys((lock.pair.business, *lock.pair.models.values())):
        for path, blob in pack.items[digest].files.items():
            place = folder / digest[:16] / path
            place.parent.mkdir(parents=True, exist_ok=True)
            content = pack.contents[blob.sha256]
            if isinstance(content, bytes):
                place.write_bytes(content)
            else:
                shutil.copyfile(content, place)
        found.append(folder / digest[:16] / "manifest.json")
    return found


def _pictures(source: str, frames: int, every: int) -> list[bytes]:
    """Pictures of a source as PNG."""
    from flow.sources import open_reader

    reader = open_reader(source)
    found: list[bytes] = []
    try:
        for number in range(MOST_READ):
            picture = reader.read()
            if picture is None or len(found) == frames:
                break
            if number % every == 0:
                found.append(_png(picture))
    finally:
        reader.close()
    if len(found) < frames:
        raise BundleError(f"{source}: expected {frames} frames, every {every}th of it, got {len(found)}; take another, or every frame")
    return found


def _png(picture: Picture) -> bytes:
    """The picture in bgr24, upright. OpenCV writes the same bytes for the same pixels."""
    import cv2

    _, data = cv2.imencode(".png", _bgr(picture))
    return bytes(data.tobytes())


def _bgr(picture: Picture) -> np.ndarray:
    import numpy as np

    from devices import kernels
    from devices.kernels.image import Renderer
    from devices.spec import ImageSpec
    from ops.value import invert, rotation_transform

    kernels.ensure()

    target = ImageSpec(*picture.spec.upright, "bgr24", picture.spec.full_range, picture.spec.matrix)
    if target == picture.spec:
        return np.ascontiguousarray(picture.planes[0])
    pixels = np.empty((target.height, target.width, 3), np.uint8)
    Renderer(picture.spec, target, invert(rotation_transform(picture.spec)))(picture.planes, (pixels,))
    return pixels
