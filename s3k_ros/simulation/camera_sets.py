"""The simulated cell as a camera rig in this process: the source of a `ReplayRig`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from s3k_ros.cameras.port import Frame, FrameSet
from s3k_ros.simulation.cell import TABLE_HEIGHT_M, build_cell
from s3k_ros.simulation.rig import demo_rig
from s3k_ros.simulation.scene import SETTLE_S, ToyScene
from s3k_ros.simulation.views import Views

# Simulated stamps are exact.
_ERROR_NS = 1


class SimulatedSets:
    """Gives sets of rendered images without end; the physics goes on from one to the next.

    ``ReplayRig(tuple(c.name for c in sets.cameras), sets)`` is the rig. The arm stays at home.

    Args:
        seed: of the scene.
        rate_hz: of the sets, in simulated time.
        family: of the scene, "train", "dev" or "test".
        width: of the images, px.
        settle_s: how long the scene settles before the first set.

    Attributes:
        cameras: the calibrated cameras.
    """

    def __init__(
        self,
        seed: int,
        rate_hz: float = 20.0,
        family: str = "test",
        width: int = 640,
        settle_s: float = SETTLE_S,
    ) -> None:
        self.cameras = demo_rig(width)
        self._seed, self._rate_hz, self._settle_s = seed, rate_hz, settle_s
        scene = ToyScene(TABLE_HEIGHT_M, family)
        self._cell, self._scene = build_cell([scene], self.cameras), scene
        self._views: Views | None = None
        # Whoever takes the sets may be any thread; a GL context belongs to one.
        self._thread = ThreadPoolExecutor(1, "simulated cameras")

    def __call__(self) -> Iterator[FrameSet]:
        """The sets from the beginning of the scene, each rendered when it is asked for."""
        data = self._thread.submit(self._begin).result()
        for number in itertools.count(1):
            yield self._thread.submit(self._expose, data, number).result()

    def close(self) -> None:
        """Frees the GL context and ends the thread."""
        if self._views is not None:
            self._thread.submit(self._views.close).result()
            self._views = None
        self._thread.shutdown()

    def _begin(self) -> mujoco.MjData:
        model, data = self._cell.model, self._cell.make_data()
        if self._views is None:
            self._views = Views(model, self.cameras)
        self._cell.set_home(data)
        self._views.upload(self._scene.randomise(model, data, self._seed))
        mujoco.mj_step(model, data, max(1, round(self._settle_s / model.opt.timestep)))
        return data

    def _expose(self, data: mujoco.MjData, number: int) -> FrameSet:
        assert self._views is not None  # _begin has made it
        timestep_s = self._cell.model.opt.timestep
        mujoco.mj_step(self._cell.model, data, max(1, round(1.0 / (self._rate_hz * timestep_s))))
        stamp_ns = round(1e9 * data.time)
        frames = {}
        for name, image in self._views.render_all(data).items():
            image = np.ascontiguousarray(image)
            image.flags.writeable = False
            frames[name] = Frame(name, image, stamp_ns, _ERROR_NS, number)
        return FrameSet(number, stamp_ns, 0, frames)
