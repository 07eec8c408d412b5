"""Images of the cell as its cameras see it, in the process that calls: one GL context each."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera

# Geom groups that cameras see (s3k_ros.simulation.cell): light-weight looks and toys.
_SEEN_GROUPS = (1, 1, 0, 0, 0, 0)


class Views:
    """Renders the cell's cameras; textures changed in the model must be uploaded first.

    Args:
        model: the compiled cell; each camera must exist in it by name.
        cameras: what to render, in order; all of one size.
        shadows: draw shadows; several times slower in software rendering.
    """

    def __init__(
        self, model: mujoco.MjModel, cameras: Sequence[Camera], shadows: bool = False
    ) -> None:
        self._names = [camera.name for camera in cameras]
        self._renderer = mujoco.Renderer(model, cameras[0].height, cameras[0].width)
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = _SEEN_GROUPS
        self._option.flexgroup[:] = 0  # the fox is drawn by its skin
        self._model = model

    def upload(self, textures: Sequence[int]) -> None:
        """Sends changed textures (ids) to the renderer."""
        self._renderer._gl_context.make_current()
        for texture in textures:
            mujoco.mjr_uploadTexture(self._model, self._renderer._mjr_context, texture)

    def render(self, data: mujoco.MjData, name: str) -> NDArray[np.uint8]:
        """One camera's image: uint8 BGR (H, W, 3)."""
        self._renderer.update_scene(data, name, self._option)
        return cv2.cvtColor(self._renderer.render(), cv2.COLOR_RGB2BGR)

    def render_all(self, data: mujoco.MjData) -> dict[str, NDArray[np.uint8]]:
        """Every camera's image by name."""
        return {name: self.render(data, name) for name in self._names}

    def close(self) -> None:
        """Frees the GL context."""
        self._renderer.close()
