"""Several cameras' images drawn side by side into one picture and read back at once.

MuJoCo's own renderer draws an image and waits until it is read back; with a GPU that is slow. In
software it is a little faster, but an image of its own differs from a part of a larger one in a few
pixels, and a seed shall go on giving the same pictures.
"""

from __future__ import annotations

import math

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
PlainRenderer = mujoco.Renderer

_SPARE_GEOMS = 100


class TiledRenderer:
    """Draws the cameras 0, 1, ... of a model. To be made and used in one thread.

    The model's offscreen size must hold the whole picture, `picture_size`.

    Args:
        model: the compiled model.
        count: number of cameras.
        width, height: of each image, px.
    """

    def __init__(self, model: mujoco.MjModel, count: int, width: int, height: int) -> None:
        self._model = model
        across, down = picture_size(count, width, height)
        self._gl = mujoco.GLContext(across, down)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, model.ngeom + _SPARE_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        columns = across // width
        # Pictures start at the bottom left.
        self._tiles = [
            mujoco.MjrRect(width * (i % columns), height * (i // columns), width, height)
            for i in range(count)
        ]
        self._pixels = np.zeros((down, across, 3), np.uint8)

    def render(self, data: mujoco.MjData) -> list[Image]:
        """What the cameras see: uint8 BGR (H, W, 3) by camera."""
        self._gl.make_current()
        for i, tile in enumerate(self._tiles):
            self._camera.fixedcamid = i
            mujoco.mjv_updateScene(
                self._model, data, self._option, None, self._camera,
                mujoco.mjtCatBit.mjCAT_ALL, self._scene,
            )  # fmt: skip
            mujoco.mjr_render(tile, self._scene, self._context)
        down, across = self._pixels.shape[:2]
        whole = mujoco.MjrRect(0, 0, across, down)
        mujoco.mjr_readPixels(self._pixels, None, whole, self._context)
        images = []
        for tile in self._tiles:
            rows = slice(tile.bottom, tile.bottom + tile.height)
            image = self._pixels[rows, tile.left : tile.left + tile.width][::-1]
            images.append(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))
        return images

    def close(self) -> None:
        """Frees the GL context."""
        self._context.free()
        self._gl.free()


def plain_renderer(model: mujoco.MjModel, width: int, height: int) -> PlainRenderer:
    """MuJoCo's own renderer with the same settings, to compare with.

    Its buffer is no larger than an image, as it would be alone: in a larger one a software renderer
    takes an eighth longer for small images. Nothing else may be rendered anew from this model.
    """
    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    renderer = PlainRenderer(model, height, width)
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
    return renderer


def picture_size(count: int, width: int, height: int) -> tuple[int, int]:
    """Width and height, px, of the picture that holds so many images, as square as can be."""
    columns = math.ceil(math.sqrt(count))
    return columns * width, math.ceil(count / columns) * height
