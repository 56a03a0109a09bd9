"""Motion by background subtraction: adaptive Gaussian mixtures (Zivkovic 2004, doi:10.1109/ICPR.2004.1333992) or nearest neighbours
(Zivkovic and van der Heijden 2006, doi:10.1016/j.patrec.2005.11.005), as OpenCV has them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from devices.spec import ImageSpec, RecordsSpec, Spec, Specs
from ops.contract import Context, Operator, images, port
from ops.decode.common import Capacity, boxes_to_source
from ops.value import Frame, Image, Records, compose

SHADOW = 127
"""What OpenCV marks shadows with; moving pixels are 255."""


class Background(Operator):
    """Finds what moves before a still camera: one detection `motion` for each moving blob, scored by how much of its box moves.

    The picture is shrunk to `width` first; the model of the background learns on and cannot be handed over, so a restart learns anew. With
    `mask`, the output `mask` is the moving part as a picture of that small size (255 moving, 0 still).
    """

    op = "motion.background"
    kind = "stateful"
    inputs = {"image": port("image", formats=("gray8", "bgr24"))}
    outputs = {
        "detections": port("detections", doc="moving blobs, largest first"),
        "mask": port("image", doc="what moves, gray8; only with `mask: true`", optional=True),
    }

    class Config(Operator.Config):
        """`method`: mog2 (Gaussian mixtures) or knn. `width`: pixels across that motion is looked for in. `min_area`: least size of a blob
        as a part of the picture. `history`: frames that the background is made of. `threshold`: distance from the background that counts as
        motion, in units of the method (16 for mog2, 400 for knn; none: those). `learning`: 0 never, 1 every frame anew, none: by `history`.
        `shadow`: tell shadows from moving things and leave them out. `join`: gaps closed, in pixels of the small picture. `warmup`: frames
        at the start that only teach the background. `capacity`: the most blobs of a frame. `mask`: give the output `mask`."""

        method: Literal["mog2", "knn"] = "mog2"
        width: Annotated[int, Field(ge=16, le=4096)] = 320
        min_area: Annotated[float, Field(gt=0, le=1)] = 0.002
        history: Annotated[int, Field(ge=1, le=100_000)] = 500
        threshold: Annotated[float, Field(gt=0)] | None = None
        learning: Annotated[float, Field(ge=0, le=1)] | None = None
        shadow: bool = True
        join: Annotated[int, Field(ge=0, le=64)] = 4
        warmup: Annotated[int, Field(ge=0, le=10_000)] = 10
        capacity: Capacity = 64
        mask: bool = False

    def infer(self, specs: Specs) -> dict[str, Spec]:
        small = self._small(images(specs["image"], "image"))
        outputs: dict[str, Spec] = {"detections": RecordsSpec("detections", self.config.capacity, ("motion",))}
        if self.config.mask:
            outputs["mask"] = small
        return outputs

    def _small(self, spec: ImageSpec) -> ImageSpec:
        width = min(self.config.width, spec.width)
        return ImageSpec(width, max(1, round(spec.height * width / spec.width)), "gray8", rotation=spec.rotation)

    def open(self, context: Context) -> None:
        import cv2

        super().open(context)
        make = cv2.createBackgroundSubtractorMOG2 if self.config.method == "mog2" else cv2.createBackgroundSubtractorKNN
        threshold = self.config.threshold or (16.0 if self.config.method == "mog2" else 400.0)
        self._model: Any = make(self.config.history, threshold, self.config.shadow)
        self._seen = 0
        self._dtype = RecordsSpec("detections", 1).dtype
        side = 2 * self.config.join + 1
        self._speck = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        self._bridge = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))

    def run(self, frame: Frame, *, image: Image) -> dict[str, Records | Image]:
        import cv2

        spec = self._small(image.spec)
        pixels = image.planes[0]
        if (spec.width, spec.height) != (image.spec.width, image.spec.height):
            pixels = cv2.resize(pixels, (spec.width, spec.height), interpolation=cv2.INTER_AREA)
        learning = -1.0 if self.config.learning is None else self.config.learning
        moving = self._model.apply(pixels, learningRate=learning)
        self._seen += 1
        moving = cv2.threshold(moving, SHADOW, 255, cv2.THRESH_BINARY)[1]
        moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, self._speck)
        if self.config.join:
            moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, self._bridge)
        if self._seen <= self.config.warmup:
            moving[:] = 0

        scale = np.array([[image.spec.width / spec.width, 0.0, 0.0], [0.0, image.spec.height / spec.height, 0.0]])
        transform = compose(image.transform, scale)
        outputs: dict[str, Records | Image] = {"detections": self._blobs(moving, transform)}
        if self.config.mask:
            mask = self.context.image("mask", spec)
            mask.planes[0][:] = moving
            mask.transform = transform
            outputs["mask"] = mask
        return outputs

    def _blobs(self, moving: np.ndarray, transform: np.ndarray) -> Records:
        import cv2

        _, _, stats, _ = cv2.connectedComponentsWithStats(moving, connectivity=8)
        blobs = stats[1:]  # the first is the still rest
        blobs = blobs[blobs[:, cv2.CC_STAT_AREA] >= self.config.min_area * moving.size]
        blobs = blobs[np.argsort(-blobs[:, cv2.CC_STAT_AREA], kind="stable")][: self.config.capacity].astype(np.float64)
        found = np.zeros(len(blobs), self._dtype)
        found["box"] = boxes_to_source(transform, np.concatenate([blobs[:, :2], blobs[:, :2] + blobs[:, 2:4]], 1))
        found["score"] = blobs[:, 4] / (blobs[:, 2] * blobs[:, 3])
        found["track"] = -1
        return found
