from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from devices.engine import ModelInfo, PixelInput
from devices.spec import TensorSpec
from flow import calibration
from flow.sources import SourceError
from ops.contract import SpecError


def model(shape: tuple[int, ...] = (1, 3, 8, 8), *, pixels: bool = True, others: tuple[str, ...] = ()) -> ModelInfo:
    inputs = (("x", TensorSpec("float32", shape)), *((name, TensorSpec("float32", (2,))) for name in others))
    taken = PixelInput("x", 8, 8, "rgb24", "stretch", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0)) if pixels else None
    return ModelInfo("m", "1", Path(), "", inputs, (), input=taken)


def write_pictures(folder: Path, count: int) -> None:
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((8, 8, 3), (30, 60, number), np.uint8))


def test_pictures_become_what_the_manifest_says(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    found = [sample["x"].copy() for sample in calibration.samples(model(), str(tmp_path), 10)]
    assert len(found) == 3
    for number, array in enumerate(found):
        assert array[0, :, 3, 3] == pytest.approx([(number - 10) / 2, (60 - 20) / 4, 0])


def test_a_long_source_is_thinned_evenly(tmp_path: Path) -> None:
    write_pictures(tmp_path, 25)
    found = [float(sample["x"][0, 0, 0, 0]) * 2 + 10 for sample in calibration.samples(model(), str(tmp_path), 5)]
    assert found == pytest.approx([0, 5, 10, 15, 20])


def test_frames_of_a_video_are_sampled(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32))
    for level in range(20):
        writer.write(np.full((32, 32, 3), level * 12, np.uint8))
    writer.release()
    found = [float(sample["x"][0, 0].mean()) * 2 + 10 for sample in calibration.samples(model(), str(tmp_path / "clip.avi"), 4)]
    assert found == pytest.approx([0, 60, 120, 180], abs=6)


def test_a_live_source_gives_its_first_pictures() -> None:
    assert len(list(calibration.samples(model(), "synthetic:pen?size=64x48&fps=120", 3))) == 3


def test_bounds_are_those_of_pixels() -> None:
    assert calibration.pixel_bounds(model()) == {"x": (-5.0, (255 - 10) / 2)}
    assert calibration.pixel_bounds(model(pixels=False)) == {}


@pytest.mark.parametrize("first", [(6,), (6, 1)])
def test_arrays_have_their_samples_first(tmp_path: Path, first: tuple[int, ...]) -> None:
    random = np.random.default_rng(0).normal(size=(*first, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=random, threshold=np.zeros((6, 2), np.float32))
    found = list(calibration.samples(model(pixels=False, others=("threshold",)), str(tmp_path / "a.npz"), 10))
    assert [sample["x"].shape for sample in found] == [(1, 3, 8, 8)] * 6
    assert np.array_equal(found[4]["x"].ravel(), random[4].ravel())


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "got none"),
        ({"y": np.zeros((2, 1, 3, 8, 8), np.float32)}, "got y"),
        ({"x": np.zeros((2, 1, 3, 9, 8), np.float32)}, "samples, 1, 3, 8, 8"),
        ({"x": np.zeros((2, 1, 3, 8, 8))}, "float64"),
        ({"x": np.array([{"no": "pickle"}], dtype=object)}, "npz"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=said):
        list(calibration.samples(model(pixels=False), str(tmp_path / "a.npz"), 10))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no archive"])
def test_files_that_are_no_arrays(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.npz"):
        list(calibration.samples(model(pixels=False), str(tmp_path / "a.npz"), 10))


def test_sources_without_pictures_and_models_without_pixels(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="picture files"):
        list(calibration.samples(model(), str(tmp_path), 10))
    write_pictures(tmp_path, 1)
    with pytest.raises(SpecError, match="input"):
        list(calibration.samples(model(pixels=False), str(tmp_path), 10))
    with pytest.raises(SourceError, match="threshold"):
        list(calibration.samples(model(others=("threshold",)), str(tmp_path), 10))
