"""How good a detector is on rendered frames: precision and recall per class, with nothing but NumPy and OpenCV between file and figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from flow.scenes.truth import LABELS, Truth

WIDTH, HEIGHT = 256, 160
"""Input of the detector, in pixels."""
STRIDES = (8, 16, 32)
PAD = 114

Rows = np.ndarray
"""float32 (n, 6): x1, y1, x2, y2 in pixels of the frame, score, class id; best score first."""


def letterbox(frame: np.ndarray) -> tuple[np.ndarray, float]:
    """A BGR frame scaled into the top left of the input, float32 (1, 3, HEIGHT, WIDTH) in 0..255, and the scale."""
    height, width = frame.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    size = (round(width * scale), round(height * scale))
    canvas = np.full((HEIGHT, WIDTH, 3), PAD, np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32), scale


def grid() -> np.ndarray:
    """float32 (cells, 3): column, row and stride of each output row, strides in order, rows of cells from top to bottom."""
    levels = []
    for stride in STRIDES:
        y, x = np.mgrid[: HEIGHT // stride, : WIDTH // stride]
        levels.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], 1))
    return np.concatenate(levels).astype(np.float32)


def decode(output: np.ndarray, scale: float, *, score: float, iou: float = 0.5) -> Rows:
    """Boxes of at least `score` (objectness times class), best of those of one class that overlap by more than `iou`.

    `output` is float32 (cells, 5 + classes) as YOLOX writes it (Ge et al., "YOLOX", arXiv:2107.08430).
    """
    cells = grid()
    scores = output[:, 4:5] * output[:, 5:]
    best = scores.argmax(axis=1)
    kept = np.flatnonzero(scores.max(axis=1) >= score)
    kept = kept[np.argsort(-scores[kept, best[kept]], kind="stable")]
    stride = cells[kept, 2:]
    centre = (output[kept, :2] + cells[kept, :2]) * stride
    half = np.exp(output[kept, 2:4]) * stride / 2
    boxes = np.concatenate([centre - half, centre + half], 1) / scale
    chosen: list[int] = []
    for i in range(len(kept)):
        if all(best[kept[i]] != best[kept[j]] or overlap(boxes[i], boxes[j]) <= iou for j in chosen):
            chosen.append(i)
    rows = np.column_stack([boxes, scores[kept, best[kept]], best[kept]]).astype(np.float32)
    return rows[chosen]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0.0) * max(h, 0.0)
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


@dataclass(slots=True)
class Tally:
    """Hits, misses and false detections by class id. What overlaps a difficult box is neither."""

    hits: np.ndarray = field(default_factory=lambda: np.zeros(len(LABELS), np.int64))
    misses: np.ndarray = field(default_factory=lambda: np.zeros(len(LABELS), np.int64))
    false: np.ndarray = field(default_factory=lambda: np.zeros(len(LABELS), np.int64))

    def add(self, rows: Rows, truth: Truth, *, iou: float = 0.5) -> None:
        """One frame."""
        open_boxes = [box for box in truth.boxes if not box.difficult]
        difficult = [np.array(box.box) for box in truth.boxes if box.difficult]
        for row in rows:
            label = int(row[5])
            fits = [(overlap(row[:4], np.array(box.box)), i) for i, box in enumerate(open_boxes) if box.label == LABELS[label]]
            if fits and max(fits)[0] >= iou:
                self.hits[label] += 1
                del open_boxes[max(fits)[1]]
            elif not any(overlap(row[:4], box) >= iou for box in difficult):
                self.false[label] += 1
        for box in open_boxes:
            self.misses[LABELS.index(box.label)] += 1

    @property
    def recall(self) -> np.ndarray:
        """By class, NaN where there was nothing to find."""
        with np.errstate(invalid="ignore"):
            found: np.ndarray = self.hits / (self.hits + self.misses)
        return found

    @property
    def precision(self) -> np.ndarray:
        """By class, NaN where nothing was found."""
        with np.errstate(invalid="ignore"):
            right: np.ndarray = self.hits / (self.hits + self.false)
        return right

    def __str__(self) -> str:
        lines = [f"{'class':<10}{'precision':>10}{'recall':>8}{'hits':>7}{'misses':>8}{'false':>7}"]
        rows = zip(LABELS, self.precision, self.recall, self.hits, self.misses, self.false, strict=True)
        lines += [f"{label:<10}{p:>10.3f}{r:>8.3f}{h:>7}{m:>8}{f:>7}" for label, p, r, h, m, f in rows]
        hits, misses, false = self.hits.sum(), self.misses.sum(), self.false.sum()
        total = f"{'all':<10}{hits / max(hits + false, 1):>10.3f}{hits / max(hits + misses, 1):>8.3f}{hits:>7}{misses:>8}{false:>7}"
        return "\n".join([*lines, total])


def measure(run: Callable[[np.ndarray], np.ndarray], frames: Iterable[tuple[np.ndarray, Truth]], *, score: float = 0.4) -> Tally:
    """Runs a detector, (1, 3, HEIGHT, WIDTH) to (1, cells, 5 + classes), over frames with known truth."""
    tally = Tally()
    for frame, truth in frames:
        pixels, scale = letterbox(frame)
        tally.add(decode(run(pixels)[0], scale, score=score), truth)
    return tally
