"""The example detector: an anchor-free network of depthwise separable convolutions with YOLOX's output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flow.scenes.score import HEIGHT, STRIDES, WIDTH
from flow.scenes.truth import LABELS


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def separable(inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A depthwise convolution, then one across channels (Howard et al., "MobileNets", arXiv:1704.04861)."""
    return nn.Sequential(conv(inputs, inputs, kernel, stride, groups=inputs), conv(inputs, outputs))


class Detector(nn.Module):  # type: ignore[misc]
    """(batch, 3, HEIGHT, WIDTH) BGR in 0..1 to (batch, cells, 5 + classes).

    A row is (x, y, w, h, objectness, classes…): the box centre is (x + column, y + row) * stride, its size exp(w, h) * stride; objectness
    and classes are logits while training and probabilities when `finished`.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.finished = False
        self.stem = nn.Sequential(conv(3, 16, 3, 2), separable(16, 32, stride=2), separable(32, 32))
        self.stages = nn.ModuleList([
            nn.Sequential(separable(32, 64, stride=2), separable(64, 64), separable(64, 64)),
            nn.Sequential(separable(64, 96, stride=2), separable(96, 96, kernel=5), separable(96, 96, kernel=5)),
            nn.Sequential(separable(96, 128, stride=2), separable(128, 128, kernel=5)),
        ])  # fmt: skip
        self.sides = nn.ModuleList(conv(channels, width) for channels in (64, 96, 128))
        self.mixes = nn.ModuleList(separable(width, width) for _ in STRIDES)
        self.where = nn.ModuleList(nn.Sequential(separable(width, width), separable(width, width)) for _ in STRIDES)
        self.what = nn.ModuleList(nn.Sequential(separable(width, width), separable(width, width)) for _ in STRIDES)
        self.boxes = nn.ModuleList(nn.Conv2d(width, 5, 1) for _ in STRIDES)
        self.classes = nn.ModuleList(nn.Conv2d(width, len(LABELS), 1) for _ in STRIDES)
        for layer in (*self.boxes, *self.classes):
            nn.init.zeros_(layer.bias)
        for layer in self.boxes:
            nn.init.constant_(layer.bias[4:], -4.0)
            nn.init.constant_(layer.bias[2:4], 1.0)

    def forward(self, images: Tensor) -> Tensor:
        """Levels follow one another, finest first; within a level, rows of cells from top to bottom."""
        features, x = [], self.stem(images)
        for stage, side in zip(self.stages, self.sides, strict=True):
            x = stage(x)
            features.append(side(x))
        for i in (1, 0):
            features[i] = features[i] + nn.functional.interpolate(features[i + 1], scale_factor=2.0, mode="nearest")
        levels = []
        for i, feature in enumerate(features):
            x = self.mixes[i](feature)
            box, label = self.boxes[i](self.where[i](x)), self.classes[i](self.what[i](x))
            if self.finished:
                box = torch.cat([box[:, :4], box[:, 4:].sigmoid()], 1)
                label = label.sigmoid()
            cells = (HEIGHT // STRIDES[i]) * (WIDTH // STRIDES[i])
            levels.append(torch.cat([box, label], 1).reshape(-1, 5 + len(LABELS), cells))
        return torch.cat(levels, 2).transpose(1, 2)
