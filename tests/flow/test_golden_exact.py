"""Golden clips of integer engines: bit-equal, so that the last digit of one result counts; those of float engines go by tolerance."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flow.golden import record, replay, run, write_manifests
from manifests.bundle.bundle import Bundle
from manifests.bundle.golden import Clip, compare, read_clip
from manifests.bundle.pack import Pack, pack
from tests.devices.vpu.network import manifests_of, save_network

Recorded = tuple[Pack, Path]
WHERE = {"native": "engine: native", "vpu": "device: vpu", "onnxruntime": "engine: onnxruntime"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recorded]:
    """A bundle with a golden clip of the business on this engine, and the clip's folder; once each."""
    return cache(lambda engine: packed(tmp_path_factory.mktemp(engine), engine))


def packed(place: Path, engine: str) -> Recorded:
    for name in ("source", "photos", "clip"):
        (place / name).mkdir()
    save_network(place / "source" / "net.onnx")
    (place / "source" / "best.yaml").write_text(manifests_of(best=WHERE[engine]))
    for number, colour in enumerate(np.random.default_rng(3).integers(0, 256, (8, 3))):
        cv2.imwrite(str(place / "photos" / f"{number}.png"), np.full((12, 16, 3), colour, np.uint8))
    bundle = pack(place / "source")
    (lock,) = bundle.locks
    files = record(bundle, lock, {"camera": str(place / "photos")}, frames=8, every=1)
    bundle.golden(lock.pair, bundle.items[lock.pair.business], files)
    for path, data in files.items():
        (place / "clip" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "clip" / path).write_bytes(data)
    return bundle, place / "clip"


def with_last_digit(clip: Clip) -> Clip:
    """Of one score of the fifth frame, the last digit that rows have."""
    results = clip.model_dump(mode="json")["results"]
    results["best"][4]["classes"][1]["score"] = round(results["best"][4]["classes"][1]["score"] + 0.0001, 4)
    return clip.model_copy(update={"results": results})


@pytest.mark.parametrize("engine", ["native", "vpu"])
def test_integers_are_compared_bit_by_bit(recorded: Callable[..., Recorded], engine: str, tmp_path: Path) -> None:
    bundle, folder = recorded(engine)
    bundle.save(tmp_path / "best.ace")
    with Bundle(tmp_path / "best.ace") as saved:
        (golden,) = (document for document in saved.items.values() if document.kind == "golden")
        assert b'"exact":true' in saved.read(golden.files["clip.json"])
    clip = read_clip(folder)
    rows, exact = run(write_manifests(bundle, bundle.locks[0], tmp_path), {"camera": folder / "frames" / "camera"})
    assert exact
    assert compare(clip, rows, exact=exact) == ()
    changed = with_last_digit(clip)
    assert compare(changed, rows, exact=exact) == ("best: expected equal results, got different ones for 1 of 8 frames: 4",)
    assert compare(changed, rows, exact=False) == (), "which a tolerance would have let pass"


@pytest.mark.parametrize("engine", ["native", "vpu"])
def test_one_bit_of_a_weight_fails_the_replay(recorded: Callable[..., Recorded], engine: str, tmp_path: Path) -> None:
    bundle, folder = recorded(engine)
    manifests = write_manifests(bundle, bundle.locks[0], tmp_path)
    (path,) = tmp_path.rglob("*.onnx")
    model = onnx.load(path)
    constant = next(each for each in model.graph.initializer if each.name == "w3")
    weights = numpy_helper.to_array(constant).copy()
    weights[0, 0] ^= 16
    constant.CopyFrom(numpy_helper.from_array(weights, "w3"))
    onnx.save(model, path)
    (problem,) = replay(read_clip(folder), folder, manifests)
    assert problem.startswith("best: expected equal results, got different ones for ")


def test_a_foreign_engine_goes_by_tolerance(recorded: Callable[..., Recorded], tmp_path: Path) -> None:
    """In its own clip, and in one that integers recorded: a device without that engine need not give the same bits."""
    bundle, folder = recorded("onnxruntime")
    clip = read_clip(folder)
    assert not clip.exact
    assert replay(with_last_digit(clip), folder, write_manifests(bundle, bundle.locks[0], tmp_path)) == ()
    _, native = recorded("native")
    assert replay(with_last_digit(read_clip(native)), native, write_manifests(bundle, bundle.locks[0], tmp_path / "again")) == ()
