"""Trains the example detector on frames that the scenes render, and nothing else: `python -m flow.scenes.train -o scenes.onnx`.

Needs the optional dependencies `train`. The file it writes takes `images`, float32 (1, 3, 160, 256), BGR in 0..255, letterboxed to the
top left with grey 114, and gives `output`, float32 (1, 840, 12): for strides 8, 16 and 32 in order, for each cell from the top left by
rows, (x, y, w, h, objectness, classes…) as YOLOX exports it: centre = ((x, y) + (column, row)) * stride, size = exp(w, h) * stride, the
rest probabilities; classes in the order of `truth.LABELS`.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flow.scenes.films import FRAMES, IGNORE, NOTHING, TRAINING_SEEDS, film, held_out
from flow.scenes.network import Detector
from flow.scenes.score import HEIGHT, WIDTH, Tally, grid, measure
from flow.scenes.truth import LABELS

REACH = {8: (0.0, 44.0), 16: (30.0, 84.0), 32: (60.0, 1e9)}
"""Longer sides of the boxes that each stride learns, in input pixels."""


def targets(boxes: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Which box each cell learns, (batch, cells) index or -1, and which cells are asked for objectness, (batch, cells) bool.

    A cell learns the box of its stride's size whose centre is nearest, within 1.5 cells (centre sampling as in FCOS, arXiv:1904.01355).
    `cells` is float32 (cells, 5): column, row, stride, and the longer sides that it learns, from and up to.
    """
    centre = (boxes[:, :, :2] + boxes[:, :, 2:4]) / 2
    side = (boxes[:, :, 2:4] - boxes[:, :, :2]).amax(2)
    stride, low, high = cells[:, 2:3], cells[:, 3], cells[:, 4]
    points = (cells[:, :2] + 0.5) * stride
    away = ((points[None, None] - centre[:, :, None]) / stride).abs().amax(3)
    fits = (side[:, :, None] >= low) & (side[:, :, None] < high)
    inside = (points[None, None] > boxes[:, :, None, :2]).all(3) & (points[None, None] < boxes[:, :, None, 2:4]).all(3)
    real = boxes[:, :, 4:] >= 0
    away = torch.where(fits & inside & real & (away < 1.5), away, torch.inf)
    nearest, which = away.min(1)
    learns = nearest < torch.inf
    unsure = ((boxes[:, :, 4:] == IGNORE) & inside).any(1)
    # Close to a box on a stride that overlaps its size, either answer is right.
    unsure |= ((real & inside & ~fits) & (side[:, :, None] >= low * 0.8) & (side[:, :, None] < high * 1.25)).any(1)
    return torch.where(learns, which, -1), learns | ~unsure


def loss(output: Tensor, boxes: Tensor, cells: Tensor) -> Tensor:
    """Objectness towards the overlap reached, classes, and one minus the overlap (GIoU, Rezatofighi et al., arXiv:1902.09630)."""
    which, asked = targets(boxes, cells)
    batch, cell = (which >= 0).nonzero(as_tuple=True)
    wanted = boxes[batch, which[batch, cell]]
    found, at = output[batch, cell], cells[cell]
    centre, half = (found[:, :2] + at[:, :2]) * at[:, 2:3], found[:, 2:4].clamp(max=5).exp() * at[:, 2:3] / 2
    got = torch.cat([centre - half, centre + half], 1)
    shared = (torch.min(got[:, 2:], wanted[:, 2:4]) - torch.max(got[:, :2], wanted[:, :2])).clamp(min=0).prod(1)
    union = (2 * half).prod(1) + (wanted[:, 2:4] - wanted[:, :2]).prod(1) - shared
    hull = (torch.max(got[:, 2:], wanted[:, 2:4]) - torch.min(got[:, :2], wanted[:, :2])).prod(1)
    overlap = shared / union
    objectness = torch.zeros_like(output[:, :, 4])
    objectness[batch, cell] = overlap.detach()
    count = max(len(batch), 1)
    bce = nn.functional.binary_cross_entropy_with_logits
    seen = (bce(output[:, :, 4], objectness, reduction="none") * asked).sum() / count
    labels = nn.functional.one_hot(wanted[:, 4].long(), len(LABELS)).float()
    named = bce(found[:, 5:], labels, reduction="sum") / count
    return 2.5 * (2 - overlap - union / hull).sum() / count + seen + named


def varied(pictures: np.ndarray, boxes: np.ndarray, rng: np.random.Generator, device: str) -> tuple[Tensor, Tensor]:
    """A batch, each frame mirrored or not, with other light and colours."""
    images = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 255
    rows = torch.from_numpy(boxes)
    size = (len(images), 1, 1, 1)
    gain = rng.uniform(0.75, 1.25, size) * rng.uniform(0.92, 1.08, (len(images), 3, 1, 1))
    gamma = rng.uniform(0.8, 1.25, size)
    light, bend = (torch.from_numpy(values).float().to(device) for values in (gain, gamma))
    images = (images * light).clamp(0, 1) ** bend
    mirrored = torch.from_numpy(rng.random(len(images)) < 0.5)
    images = torch.where(mirrored.to(device)[:, None, None, None], images.flip(3), images)
    turned = rows * torch.tensor([-1, 1, -1, 1, 1]) + torch.tensor([WIDTH, 0, WIDTH, 0, 0])
    rows = torch.where(mirrored[:, None, None] & (rows[:, :, 4:] != NOTHING), turned[:, :, [2, 1, 0, 3, 4]], rows)
    return images.contiguous(memory_format=torch.channels_last), rows.to(device)


def train(pictures: np.ndarray, boxes: np.ndarray, *, epochs: int, batch: int, seed: int, device: str) -> Detector:
    """The network after so many passes over the frames: the moving average of its weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Detector().to(device, memory_format=torch.channels_last)
    average: Detector = copy.deepcopy(network).eval()
    cells = torch.tensor([(*cell, *REACH[int(cell[2])]) for cell in grid()]).float().to(device)
    steps = epochs * (len(pictures) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.12)
    began, step = time.monotonic(), 0
    for epoch in range(epochs):
        order, total = rng.permutation(len(pictures)), torch.zeros((), device=device)
        for start in range(0, len(order) - batch + 1, batch):
            chosen = np.sort(order[start : start + batch])
            images, rows = varied(pictures[chosen], boxes[chosen], rng, device)
            value = loss(network(images), rows, cells)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            schedule.step()
            step += 1
            total += value.detach()
            _follow(average, network, min(0.998, step / (step + 20)))
        print(f"epoch {epoch + 1}/{epochs}: loss {float(total) / (len(order) // batch):.3f}, {time.monotonic() - began:.0f} s", flush=True)
    return average


def _follow(average: Detector, network: Detector, keep: float) -> None:
    """Moves the average towards the network: weights, and the running figures of normalisation."""
    with torch.no_grad():
        pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
        slow, fast = zip(*((a, b) for a, b in pairs if a.dtype.is_floating_point), strict=True)
        torch._foreach_lerp_(slow, fast, 1 - keep)


def export(network: Detector, path: Path) -> None:
    """Writes the network as ONNX with fixed shapes; the division by 255 goes into the first convolution."""
    finished = copy.deepcopy(network).to("cpu", memory_format=torch.contiguous_format).eval()
    finished.finished = True
    with torch.no_grad():
        finished.stem[0][0].weight /= 255
    pixels = torch.zeros(1, 3, HEIGHT, WIDTH)
    torch.onnx.export(finished, (pixels,), path, input_names=["images"], output_names=["output"], opset_version=17, dynamo=False)


def evaluate(path: Path, films: int) -> Tally:
    """What the exported file reaches on held-out frames, run by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return measure(lambda pixels: session.run(["output"], {"images": pixels})[0], held_out(films))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--films", type=int, default=480, help=f"films rendered to train on, {FRAMES} frames each (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=11, help="passes over the frames (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="where to train, as torch names it (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.threads) as pool:
        films = []
        for done, made in enumerate(pool.imap(film, range(TRAINING_SEEDS, TRAINING_SEEDS + options.films), chunksize=4), 1):
            films.append(made)
            if done % 50 == 0:
                print(f"rendered {done}/{options.films} films, {time.monotonic() - began:.0f} s", flush=True)
    pictures, boxes = (np.concatenate(parts) for parts in zip(*films, strict=True))
    del films
    network = train(pictures, boxes, epochs=options.epochs, batch=options.batch, seed=options.seed, device=options.device)
    with tempfile.TemporaryDirectory(dir=options.output.parent) as folder:
        fresh = Path(folder) / "fresh.onnx"
        export(network, fresh)
        fresh.replace(options.output)
    print(evaluate(options.output, 60))
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB, {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
