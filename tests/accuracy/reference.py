"""The plain loops a user would write with onnxruntime, OpenCV and NumPy, and the metrics of the reference figures.

Nothing here uses the engine: the acceptance tests compare it with these, box for box. Boxes are (x1, y1, x2, y2) in pixels of the
picture. A detector returns rows `(x1, y1, x2, y2, score, class_id)` as float64 (n, 6), best first, and key points where it has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Array = np.ndarray


def session(path: Path) -> Any:
    """An onnxruntime session on one thread, spinning off, warnings about old exporters silenced."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def frames(path: Path) -> Iterator[tuple[int, Array]]:
    """Every frame of a clip: its number and its BGR pixels, as OpenCV decodes them."""
    capture = cv2.VideoCapture(str(path))
    number = 0
    while True:
        ok, bgr = capture.read()
        if not ok:
            break
        yield number, bgr
        number += 1
    capture.release()


# Metrics


def iou(one: Array, many: Array) -> Array:
    """Overlap of one box with (n, 4) boxes."""
    left_top, right_bottom = np.maximum(one[:2], many[:, :2]), np.minimum(one[2:], many[:, 2:])
    shared = np.clip(right_bottom - left_top, 0, None).prod(1)
    area = (one[2] - one[0]) * (one[3] - one[1])
    union = area + (many[:, 2] - many[:, 0]) * (many[:, 3] - many[:, 1]) - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def match(found: Array, labelled: Array, size: tuple[int, int]) -> tuple[int, int, int]:
    """(hits, labelled boxes that count, false detections) of one class in one picture of `size` (width, height).

    Pets are one class: give the boxes of cats and dogs together.
    Counted are the labelled boxes larger than 1 % of the picture; a hit meets one at IoU > 0.5. False is a detection that meets no
    labelled box of the class, small ones included, at IoU > 0.3.
    """
    found, labelled = np.asarray(found, float).reshape(-1, 4), np.asarray(labelled, float).reshape(-1, 4)
    large = [box for box in labelled if (box[2] - box[0]) * (box[3] - box[1]) > 0.01 * size[0] * size[1]]
    hits = sum(bool((iou(box, found) > 0.5).any()) for box in large)
    false = sum(not (iou(box, labelled) > 0.3).any() for box in found)
    return hits, len(large), false


def same_boxes(ours: Array, theirs: Array) -> float:
    """The smallest IoU when both lists are paired best with best; 0 when they differ in length, 1 when both are empty."""
    ours, theirs = np.asarray(ours, float).reshape(-1, 4), np.asarray(theirs, float).reshape(-1, 4)
    if len(ours) != len(theirs):
        return 0.0
    left = list(range(len(theirs)))
    worst = 1.0
    for box in ours:
        overlaps = iou(box, theirs[left])
        best = int(overlaps.argmax())
        worst = min(worst, float(overlaps[best]))
        left.pop(best)
    return worst


def visits(present: Sequence[int], spans: Iterable[tuple[int, int]], slack: int) -> list[bool]:
    """For each labelled span (first, last frame) whether someone is there from first to last, each boundary within `slack` frames."""
    numbers = np.asarray(sorted(present))
    results = []
    for first, last in spans:
        inside = numbers[(numbers >= first - slack) & (numbers <= last + slack)]
        results.append(bool(len(inside)) and abs(int(inside[0]) - first) <= slack and abs(int(inside[-1]) - last) <= slack)
    return results


# Pictures to tensors


def letterboxed(bgr: Array, width: int, height: int, pad: int, *, center: bool = False) -> tuple[Array, Array, Array]:
    """The picture scaled to fit (its size rounded down, as YOLOX does) on a ground of `pad`, its scale (x, y) and its corner (x, y)."""
    fit = min(width / bgr.shape[1], height / bgr.shape[0])
    w, h = int(bgr.shape[1] * fit), int(bgr.shape[0] * fit)
    left, top = ((width - w) // 2, (height - h) // 2) if center else (0, 0)
    canvas = np.full((height, width, 3), pad, np.uint8)
    canvas[top : top + h, left : left + w] = cv2.resize(bgr, (w, h), interpolation=cv2.INTER_LINEAR)
    return canvas, np.array((w / bgr.shape[1], h / bgr.shape[0])), np.array((left, top))


def nchw(pixels: Array) -> Array:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None].astype(np.float32))


def nms(boxes: Array, scores: Array, limit: float) -> list[int]:
    """Greedy non-maximum suppression: indices kept, best first."""
    order = list(np.argsort(-scores, kind="stable"))
    kept = []
    while order:
        best = order.pop(0)
        kept.append(best)
        if order:
            overlaps = iou(boxes[best], boxes[order])
            order = [index for index, overlap in zip(order, overlaps, strict=True) if overlap <= limit]
    return kept


def per_class(rows: Array, limit: float) -> Array:
    """Rows (x1, y1, x2, y2, score, class) after suppression within each class, best first."""
    if not len(rows):
        return rows.reshape(0, 6)
    kept = [rows[rows[:, 5] == c][nms(rows[rows[:, 5] == c, :4], rows[rows[:, 5] == c, 4], limit)] for c in np.unique(rows[:, 5])]
    out = np.concatenate(kept)
    return np.asarray(out[np.argsort(-out[:, 4], kind="stable")])


# Detectors


def reference_yolox(bgr: Array, model: Any, score: float = 0.35, limit: float = 0.45) -> Array:
    """YOLOX (arXiv:2107.08430) at 416, every class."""
    pixels, scale, _ = letterboxed(bgr, 416, 416, 114)
    (output,) = model.run(None, {"images": nchw(pixels)})
    output = output[0].astype(np.float64)
    grid, stride = [], []
    for step in (8, 16, 32):
        ys, xs = np.mgrid[: 416 // step, : 416 // step]
        grid.append(np.stack([xs, ys], -1).reshape(-1, 2))
        stride.append(np.full((len(grid[-1]), 1), step))
    centre = (output[:, :2] + np.concatenate(grid)) * np.concatenate(stride)
    half = np.exp(output[:, 2:4]) * np.concatenate(stride) / 2
    scores = output[:, 4:5] * output[:, 5:]
    best = scores.argmax(1)
    top = scores.max(1)
    rows = np.concatenate([(centre - half) / scale, (centre + half) / scale, top[:, None], best[:, None]], 1)[top >= score]
    return per_class(rows, limit)


def reference_fastestdet(bgr: Array, model: Any, score: float = 0.5, limit: float = 0.45) -> Array:
    """FastestDet (github.com/dog-qiuqiu/FastestDet) at 352, every class."""
    pixels = cv2.resize(bgr, (352, 352), interpolation=cv2.INTER_LINEAR)
    (output,) = model.run(None, {"input.1": nchw(pixels) / np.float32(255)})
    output = output[0].astype(np.float64)
    h, w = output.shape[1:]
    ys, xs = np.mgrid[:h, :w]
    top = output[0] ** 0.6 * output[5:].max(0) ** 0.4
    x, y = (xs + np.tanh(output[1])) / w, (ys + np.tanh(output[2])) / h
    bw, bh = 1 / (1 + np.exp(-output[3])), 1 / (1 + np.exp(-output[4]))
    scale_x, scale_y = bgr.shape[1], bgr.shape[0]
    rows = np.stack(
        [(x - bw / 2) * scale_x, (y - bh / 2) * scale_y, (x + bw / 2) * scale_x, (y + bh / 2) * scale_y, top, output[5:].argmax(0)], -1
    ).reshape(-1, 6)
    return per_class(rows[rows[:, 4] >= score], limit)


def reference_ultraface(bgr: Array, model: Any, score: float = 0.7, limit: float = 0.35) -> Array:
    """UltraFace RFB-320 (github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB)."""
    rgb = cv2.cvtColor(cv2.resize(bgr, (320, 240), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)
    scores, boxes = model.run(None, {"input": (nchw(rgb) - np.float32(127)) / np.float32(128)})
    top = scores[0, :, 1].astype(np.float64)
    scale = np.array([bgr.shape[1], bgr.shape[0]] * 2)
    rows = np.concatenate([boxes[0] * scale, top[:, None], np.zeros((len(top), 1))], 1)[top >= score]
    return per_class(rows, limit)


def reference_yunet(bgr: Array, model: Any, score: float = 0.7, limit: float = 0.4) -> tuple[Array, Array]:
    """YuNet (doi:10.1007/s11633-023-1423-y) at 320: faces, and their five points (n, 5, 2)."""
    pixels, scale, _ = letterboxed(bgr, 320, 320, 0)
    names = [output.name for output in model.get_outputs()]
    outputs = dict(zip(names, model.run(None, {"input": nchw(pixels)}), strict=True))
    rows, points = [], []
    for stride in (8, 16, 32):
        ys, xs = np.mgrid[: 320 // stride, : 320 // stride]
        prior = np.stack([xs, ys], -1).reshape(-1, 2)
        box, key = outputs[f"bbox_{stride}"][0].astype(np.float64), outputs[f"kps_{stride}"][0].astype(np.float64)
        top = np.sqrt(outputs[f"cls_{stride}"][0, :, 0].clip(0, 1) * outputs[f"obj_{stride}"][0, :, 0].clip(0, 1)).astype(np.float64)
        centre, half = (prior + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride / 2
        rows.append(np.concatenate([(centre - half) / scale, (centre + half) / scale, top[:, None], np.zeros((len(top), 1))], 1))
        points.append((key.reshape(-1, 5, 2) + prior[:, None]) * stride / scale)
    found, keys = np.concatenate(rows), np.concatenate(points)
    found, keys = found[found[:, 4] >= score], keys[found[:, 4] >= score]
    kept = nms(found[:, :4], found[:, 4], limit)
    return found[kept], keys[kept]


# The hand chain (MediaPipe Hands, arXiv:2006.10214)


def palm_anchors() -> Array:
    """Centres (2016, 2), 0..1: two a cell on the 24 x 24 grid, six a cell on the 12 x 12 grid."""
    centres = []
    for cells, repeats in ((24, 2), (12, 6)):
        ys, xs = np.mgrid[:cells, :cells]
        centres.append(np.repeat((np.stack([xs, ys], -1).reshape(-1, 2) + 0.5) / cells, repeats, axis=0))
    return np.concatenate(centres)


def reference_palm(bgr: Array, model: Any, score: float = 0.5, limit: float = 0.3) -> tuple[Array, Array]:
    """Palms, and their seven points (n, 7, 2)."""
    pixels, scale, shift = letterboxed(bgr, 192, 192, 0, center=True)
    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.float32)[None] / np.float32(255)
    values, logits = model.run(None, {"input_1": rgb})
    values, scores = values[0].astype(np.float64), 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -100, 100)))
    anchors = palm_anchors() * 192
    centre, half = values[:, :2] + anchors, values[:, 2:4] / 2
    boxes = np.concatenate([(centre - half - shift) / scale, (centre + half - shift) / scale], 1)
    points = (values[:, 4:].reshape(-1, 7, 2) + anchors[:, None] - shift) / scale
    rows = np.concatenate([boxes, scores[:, None], np.zeros((len(scores), 1))], 1)
    rows, points = rows[scores >= score], points[scores >= score]
    kept = nms(rows[:, :4], rows[:, 4], limit)
    return rows[kept], points[kept]


def reference_landmarks(bgr: Array, box: Array, points: Array, model: Any) -> tuple[Array, float, float]:
    """21 hand points (x, y, z) in pixels, presence and handedness of the hand behind one palm.

    The crop is the palm's box turned so that wrist -> middle finger points up, made square on its longer side, moved half its height
    towards the fingers and enlarged 2.6 times, 224 x 224.
    """
    wrist, middle = points[0], points[2]
    angle = math.pi / 2 - math.atan2(-(middle[1] - wrist[1]), middle[0] - wrist[0])
    w, h = box[2] - box[0], box[3] - box[1]
    x, y = (box[0] + box[2]) / 2 + 0.5 * h * math.sin(angle), (box[1] + box[3]) / 2 - 0.5 * h * math.cos(angle)
    side = max(w, h) * 2.6
    scale = side / 224
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    to_picture = np.array([[c, -s, x - 112 * (c - s)], [s, c, y - 112 * (s + c)]])
    centred = to_picture.copy()
    centred[:, 2] += to_picture[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV's coordinates name the middles of pixels
    crop = cv2.warpAffine(bgr, centred, (224, 224), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    rgb = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32)[None] / np.float32(255)
    raw, presence, handedness, _ = model.run(None, {"input_1": rgb})
    hand = raw.reshape(21, 3).astype(np.float64)
    hand[:, :2] = hand[:, :2] @ to_picture[:, :2].T + to_picture[:, 2]
    hand[:, 2] *= scale
    return hand, float(presence.ravel()[0]), float(handedness.ravel()[0])


def reference_features(hand: Array) -> Array:
    """The keypoint classifier's input (1, 42): points relative to the wrist over the largest absolute value."""
    relative = (hand[:, :2] - hand[0, :2]).ravel()
    return np.asarray((relative / max(float(np.abs(relative).max()), 1e-9)).astype(np.float32)[None])


def reference_gestures(bgr: Array, palm: Any, landmark: Any, classifier: Any) -> list[int]:
    """The class of each hand in the picture, best palm first."""
    rows, points = reference_palm(bgr, palm)
    hands = [reference_landmarks(bgr, row[:4], keys, landmark)[0] for row, keys in zip(rows, points, strict=True)]
    return [int(classifier.run(None, {"input": reference_features(hand)})[0][0]) for hand in hands]


def sign_photo(bgr: Array) -> Array:
    """A sign photo as the figures want it: 60 pixels of repeated border, resized to 440 x 440."""
    padded = cv2.copyMakeBorder(bgr, 60, 60, 60, 60, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(padded, (440, 440), interpolation=cv2.INTER_LINEAR))
