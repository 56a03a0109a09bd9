"""A golden clip of the demo's business: the model it was recorded with passes, another one of the same shape does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flow.golden import record, replay, write_manifests
from manifests import examples
from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import BundleError
from manifests.bundle.golden import read_clip
from manifests.bundle.pack import Pack, pack

SOURCE = "synthetic:home?seed=2&rate=max"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Path]:
    """The bundle of `pet`, and the folder of its golden clip."""
    place = tmp_path_factory.mktemp("golden")
    (place / "models").mkdir()
    for name in ("pet.yaml", "scenes.yaml", "models/scenes.onnx"):
        shutil.copyfile(Path(examples.path()) / name, place / name)
    made = pack(place)
    (lock,) = made.locks
    files = record(made, lock, {"camera": SOURCE}, frames=8, every=5)
    made.golden(lock.pair, made.items[lock.pair.business], files)
    for path, data in files.items():
        (place / "clip" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "clip" / path).write_bytes(data)
    return made, place / "clip"


def test_the_model_it_was_recorded_with_passes(packed: tuple[Pack, Path], tmp_path: Path) -> None:
    made, folder = packed
    assert replay(read_clip(folder), folder, write_manifests(made, made.locks[0], tmp_path)) == ()


def test_another_model_of_the_same_shape_fails(packed: tuple[Pack, Path], tmp_path: Path) -> None:
    """Its weights are those of another training: here, the output channels of one layer in another order."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    made, folder = packed
    manifests = write_manifests(made, made.locks[0], tmp_path)
    (path,) = tmp_path.rglob("*.onnx")
    model = onnx.load(path)
    largest = max((each for each in model.graph.initializer if len(each.dims) == 4), key=lambda each: each.dims[0])
    values = numpy_helper.to_array(largest)
    largest.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[::-1]), largest.name))
    onnx.save(model, path)
    problems = replay(read_clip(folder), folder, manifests)
    assert problems
    assert problems[0].startswith("pets: expected")


def test_the_same_frames_give_the_same_bundle(packed: tuple[Pack, Path], tmp_path: Path) -> None:
    made, _ = packed
    lock = made.locks[0]
    made.golden(lock.pair, made.items[lock.pair.business], record(made, lock, {"camera": SOURCE}, frames=8, every=5))
    made.save(tmp_path / "x.ace")
    with Bundle(tmp_path / "x.ace") as bundle:
        assert sum(document.kind == "golden" for document in bundle.items.values()) == 1


def test_a_source_that_says_nothing_or_ends_early_is_refused(packed: tuple[Pack, Path], tmp_path: Path) -> None:
    made, _ = packed
    lock = made.locks[0]
    for number in range(8):
        write_black(tmp_path / f"{number}.png")
    with pytest.raises(BundleError, match="got nothing"):
        record(made, lock, {"camera": str(tmp_path)}, frames=8, every=1)
    with pytest.raises(BundleError, match="expected 8 frames"):
        record(made, lock, {"camera": SOURCE + "&frames=7"}, frames=8, every=1)
    with pytest.raises(BundleError, match="8 to 32 frames"):
        record(made, lock, {"camera": SOURCE}, frames=7)


def write_black(path: Path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(path), np.zeros((90, 160, 3), np.uint8))


def test_a_float_model_is_compared_by_tolerance(packed: tuple[Pack, Path]) -> None:
    assert not read_clip(packed[1]).exact
