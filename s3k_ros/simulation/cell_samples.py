"""Scenes of the fox, the box or the boot in the simulated cell, rendered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation import cell, rig, scene, toys
from s3k_ros.simulation.sample import Sample, draw_clicks, in_image
from s3k_ros.simulation.scene import FOX
from s3k_ros.simulation.views import Views

Array = NDArray[np.float64]

# Height of the open gripper over the table while it hovers over a scene, as in an approach.
HOVER_M = (0.08, 0.40)
HOVER_SHARE = 0.5
# A surface this far in front of a keypoint hides it; less is the toy's own fur, or skin.
_HIDDEN_M = {FOX: 0.06, "box": 0.006, "boot": 0.010}
# Each of the objects beside the target is in this share of the scenes.
_BESIDE_SHARE = 0.5


class CellRenderer:
    """Renders random scenes of a family; a seed gives the same scene every time.

    Args:
        family: "train", "dev" or "test" (s3k_ros.simulation.toys).
        width: image width, px.
        target: whose keypoints a sample has: "fox", "box" or "boot".
        beside: what else may be in a scene, of `scene.OBJECTS`.
    """

    def __init__(
        self, family: str, width: int = 640, target: str = FOX, beside: Sequence[str] = ()
    ) -> None:
        self.cameras = rig.demo_rig(width)
        self.camera_names = tuple(camera.name for camera in self.cameras)
        self._scene = scene.ToyScene(cell.TABLE_HEIGHT_M, family, (target, *beside))
        self._beside = tuple(beside)
        self._hidden_m = _HIDDEN_M[target]
        self._cell = cell.build_cell([self._scene], self.cameras)
        self._data = self._cell.make_data()
        self._bare = cell.build_cell()  # for kinematics: without the fox's thousand joints
        self._views = Views(self._cell.model, self.cameras)
        self._family = toys.FAMILIES.index(family)
        self.names = self._scene.names
        self.object_id = self._scene.object_id

    def sample(self, seed: int) -> Sample:
        """Lays out, settles and renders the scene of a seed, with clicks for it.

        In half of the scenes the arm hovers over the toys.
        """
        rng, keypoints = self._settle(seed)
        if rng.random() < HOVER_SHARE:
            self._hover(rng, keypoints)
        return self._shoot(keypoints, rng)

    def timesteps(self, seed: int, count: int) -> Iterator[Sample]:
        """The scene of a seed several times: nothing moves but the arm.

        It is drawn back in the first sample, the one that a person would choose to label, and
        elsewhere in each of the others.
        """
        rng, keypoints = self._settle(seed)
        yield self._shoot(keypoints, rng)
        for _ in range(count - 1):
            self._cell.set_home(self._data)
            self._hover(rng, keypoints)
            yield self._shoot(keypoints, rng)

    def close(self) -> None:
        """Frees the GL context."""
        self._views.close()

    def _settle(self, seed: int) -> tuple[np.random.Generator, Array]:
        """The scene of a seed at rest, the arm at home; its random stream and keypoints (K, 3)."""
        rng = np.random.default_rng([seed, self._family, 2])
        model, data = self._cell.model, self._data
        mujoco.mj_resetData(model, data)
        self._cell.set_home(data)
        drawn = np.random.default_rng([seed, self._family, 4]).random(len(self._beside))
        others = [o for o, r in zip(self._beside, drawn, strict=True) if r < _BESIDE_SHARE]
        self._scene.present = (self._scene.objects[0], *others)
        self._views.upload(self._scene.randomise(model, data, seed))
        mujoco.mj_step(model, data, int(scene.SETTLE_S / model.opt.timestep))
        return rng, self._scene.keypoints(data)

    def _hover(self, rng: np.random.Generator, keypoints: Array) -> None:
        """Puts the gripper somewhere over the target."""
        spread = rng.normal(0.0, [0.12, 0.12])
        height = cell.TABLE_HEIGHT_M + rng.uniform(*HOVER_M)
        target = np.array([*(keypoints.mean(axis=0)[:2] + spread), height])
        joints = hover(self._bare, target, rng.uniform(-1.5, 1.5))
        self._data.qpos[self._cell.arm_qpos] = joints
        mujoco.mj_forward(self._cell.model, self._data)

    def _shoot(self, keypoints: Array, rng: np.random.Generator) -> Sample:
        def visible(camera: Camera, k: int) -> bool:
            return self._visible(camera, keypoints[k])

        clicks = draw_clicks(self.names, keypoints, self.cameras, visible, rng)
        return Sample(self._views.render_all(self._data), keypoints, clicks, self.cameras)

    def _visible(self, camera: Camera, point: Array) -> bool:
        if not in_image(camera, point):
            return False
        ray = point - camera.centre
        groups = np.array([1, 1, 0, 0, 0, 0], dtype=np.uint8)
        hit = np.zeros(1, dtype=np.int32)
        distance = mujoco.mj_ray(
            self._cell.model, self._data, camera.centre, ray, groups, 1, -1, hit
        )
        length = float(np.linalg.norm(ray))
        return distance < 0 or distance * length > length - self._hidden_m


def hover(simulated: cell.CellModel, target: Array, yaw_rad: float, steps: int = 200) -> Array:
    """Arm joints (7,) with the gripper pointing down over a target (3,), m; may fall short.

    Damped least squares on MuJoCo's Jacobian, on a scratch state.
    """
    model = simulated.model
    data = simulated.make_data()
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    goal = np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])
    jacobian = np.zeros((6, model.nv))
    low, high = model.jnt_range[model.dof_jntid[simulated.arm_dof]].T
    for _ in range(steps):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        pose = data.site_xmat[simulated.tcp_site].reshape(3, 3)
        turn = 0.5 * np.cross(pose.T, goal.T).sum(axis=0)
        error = np.concatenate([target - data.site_xpos[simulated.tcp_site], turn])
        if np.linalg.norm(error) < 1e-3:
            break
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], simulated.tcp_site)
        arm = jacobian[:, simulated.arm_dof]
        step = arm.T @ np.linalg.solve(arm @ arm.T + 1e-3 * np.eye(6), error)
        joints = data.qpos[simulated.arm_qpos] + np.clip(step, -0.2, 0.2)
        data.qpos[simulated.arm_qpos] = np.clip(joints, low, high)
    return data.qpos[simulated.arm_qpos].copy()
