"""Needs torch, which only the optional dependencies `train` bring."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'ace-engine[train]' to test the training script")

from flow.scenes.films import IGNORE, MOST, NOTHING  # noqa: E402
from flow.scenes.network import Detector  # noqa: E402
from flow.scenes.score import HEIGHT, WIDTH, grid  # noqa: E402
from flow.scenes.train import REACH, export, targets, train, varied  # noqa: E402


def test_a_cell_learns_the_box_of_its_size() -> None:
    cells = torch.tensor([(*cell, *REACH[int(cell[2])]) for cell in grid()]).float()
    boxes = torch.full((1, MOST, 5), NOTHING)
    boxes[0, 0] = torch.tensor([20.0, 20, 44, 44, 3])
    boxes[0, 1] = torch.tensor([100.0, 20, 220, 140, 5])
    boxes[0, 2] = torch.tensor([60.0, 100, 80, 120, IGNORE])
    which, asked = targets(boxes, cells)
    assert set(cells[which[0] == 0, 2].tolist()) == {8}
    assert set(cells[which[0] == 1, 2].tolist()) == {32}
    assert not (which == 2).any()
    assert not asked[0, 14 * 32 + 8]


def test_mirrored_boxes_follow_their_pixels() -> None:
    pictures = np.zeros((16, HEIGHT, WIDTH, 3), np.uint8)
    pictures[:, 10:30, 40:90] = 255
    boxes = np.full((16, MOST, 5), NOTHING, np.float32)
    boxes[:, 0] = 40, 10, 90, 30, 2
    images, rows = varied(pictures, boxes, np.random.default_rng(0), "cpu")
    assert len({tuple(r) for r in rows[:, 0].tolist()}) == 2
    for image, (box, *rest) in zip(images, rows.tolist(), strict=True):
        lines, columns = np.nonzero(image[0].numpy() > 0.5)
        assert box == [columns.min(), lines.min(), columns.max() + 1, lines.max() + 1, 2]
        assert rest == [[NOTHING] * 5] * 2


def test_training_learns_and_exports(tmp_path: Path) -> None:
    import onnxruntime

    pictures = np.zeros((8, HEIGHT, WIDTH, 3), np.uint8)
    boxes = np.full((8, MOST, 5), NOTHING, np.float32)
    network = train(pictures, boxes, epochs=1, batch=4, seed=0, device="cpu")
    assert isinstance(network, Detector)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(network, tmp_path / "tiny.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "tiny.onnx", providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 3, HEIGHT, WIDTH)).astype(np.float32)
    (output,) = session.run(["output"], {"images": pixels})
    assert output.shape == (1, len(grid()), 12)
    network.finished = True
    with torch.no_grad():
        np.testing.assert_allclose(output, network(torch.from_numpy(pixels / 255)).numpy(), atol=1e-4)
