from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from devices.spec import ImageSpec, Matrix, PixelFormat, Spec, Specs
from ops.contract import Operator, images, port
from ops.image.rendering import PREPARED
from ops.value import Frame, Image, compose, invert, rotation_transform

if TYPE_CHECKING:
    from devices.kernels.image import Renderer


class Convert(Operator):
    """The same picture in another pixel format, upright. A picture that is already so is passed on as it is.

    YUV becomes RGB as with cv2.cvtColor: in fixed point, neighbours that share chroma having the same; luma below black is black.
    """

    op = "image.convert"
    inputs = {"image": port("image")}
    outputs = {"image": port("image")}

    class Config(Operator.Config):
        """`full_range` and `matrix` of a YUV result; by default the source's (a source that is not YUV: limited, bt601)."""

        format: PixelFormat
        full_range: bool | None = None
        matrix: Matrix | None = None

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._prepared: OrderedDict[ImageSpec, Renderer] = OrderedDict()

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"image": self._target(images(specs["image"], "image"))}

    def run(self, frame: Frame, *, image: Image) -> Image:
        target = self._target(image.spec)
        if target == image.spec:
            return image
        to_stored = invert(rotation_transform(image.spec))
        renderer = self._prepared.get(image.spec)
        if renderer is None:
            from devices.kernels.image import Renderer

            renderer = self._prepared[image.spec] = Renderer(image.spec, target, to_stored)
            if len(self._prepared) > PREPARED:
                self._prepared.popitem(last=False)
        result = self.context.image("image", target)
        renderer(image.planes, result.planes)
        result.transform = compose(image.transform, to_stored)
        return result

    def _target(self, spec: ImageSpec) -> ImageSpec:
        full_range = spec.full_range if self.config.full_range is None else self.config.full_range
        return ImageSpec(*spec.upright, self.config.format, full_range, self.config.matrix or spec.matrix)
