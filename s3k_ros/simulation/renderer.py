"""Rendering in a process of its own: what crosses the border, and what happens beyond it.

The physics process sends joint positions over a pipe, at most one set ahead of the renderer: a slow
renderer skips image sets and never holds up the physics.
"""

from __future__ import annotations

import contextlib
import dataclasses
from multiprocessing.connection import Connection
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation import rig
from s3k_ros.simulation.cell import TABLE_HEIGHT_M, build_cell
from s3k_ros.simulation.scene import FOX, ToyScene
from s3k_ros.simulation.simulator import CellState
from s3k_ros.simulation.views import Views

# Requests that may be on their way: one being rendered, one waiting so that it never idles.
_CREDIT = 2


class Exposure(NamedTuple):
    """What all cameras see at one moment: joint positions, and which scene they belong to."""

    stamp: float
    seed: int
    qpos: NDArray[np.float64]
    cameras: tuple[str, ...]


@dataclasses.dataclass
class ExposureSender:
    """The physics' end of the pipe: a listener of the simulator that exposes at a rate.

    Attributes:
        connection: to the renderer.
        cameras: names of the cameras to expose; may change at any time.
        rate_hz: sets per second of simulated time; may change at any time.
        skipped: sets that were not rendered because the renderer was behind.
        rendered: sets that the renderer has finished.
    """

    connection: Connection
    cameras: tuple[str, ...]
    rate_hz: float
    skipped: int = 0
    rendered: int = 0
    _sent: int = 0
    _due: float = 0.0

    def __call__(self, state: CellState, data: mujoco.MjData) -> None:
        """Exposes when it is time."""
        if state.stamp + 1e-6 < self._due:
            return
        # Keep the rate on average, without bursts after a pause.
        self._due = max(self._due + 1.0 / self.rate_hz, state.stamp)
        # A renderer that has ended is the business of whoever started it.
        with contextlib.suppress(OSError, EOFError):
            self._expose(state, data)

    def _expose(self, state: CellState, data: mujoco.MjData) -> None:
        while self.connection.poll():
            self.rendered = self.connection.recv()
        if self._sent - self.rendered >= _CREDIT:
            self.skipped += 1
            return
        self._sent += 1
        self.connection.send(Exposure(state.stamp, state.seed, data.qpos.copy(), self.cameras))


@dataclasses.dataclass(frozen=True)
class RendererSetup:
    """What a renderer needs to build the same cell as the physics.

    Attributes:
        family: of the scene.
        width: of the images, px.
        shadows: whether to draw them.
        scene_view: whether there is a camera that sees the whole cell.
        objects: of the scene, of `scene.OBJECTS`.
    """

    family: str
    width: int
    shadows: bool
    scene_view: bool
    objects: tuple[str, ...] = (FOX,)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The calibrated cameras; the view of the whole cell comes last."""
        view = (rig.scene_view(self.width),) if self.scene_view else ()
        return (*rig.demo_rig(self.width), *view)


class ExposureRenderer:
    """Renders exposures. To be made and used in one thread, which owns the GL context.

    Args:
        setup: the same as the physics'.
    """

    def __init__(self, setup: RendererSetup) -> None:
        self._scene = ToyScene(TABLE_HEIGHT_M, setup.family, setup.objects)
        self._cell = build_cell([self._scene], setup.cameras)
        self._data = mujoco.MjData(self._cell.model)
        self._views = Views(self._cell.model, setup.cameras, setup.shadows)
        self._seed: int | None = None

    def show(self, exposure: Exposure) -> None:
        """Takes over a state, and its scene's looks when they are new."""
        model, data = self._cell.model, self._data
        if exposure.seed != self._seed:
            self._views.upload(self._scene.randomise(model, data, exposure.seed))
            self._seed = exposure.seed
        data.qpos[:] = exposure.qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        mujoco.mj_flex(model, data)

    def image(self, camera: str) -> NDArray[np.uint8]:
        """The image of one camera, uint8 BGR (H, W, 3)."""
        return self._views.render(self._data, camera)

    def close(self) -> None:
        """Frees the GL context."""
        self._views.close()
