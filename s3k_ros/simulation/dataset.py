"""Datasets rendered from the simulated cell: `s3k dataset render`."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation import cell, rig, scene, toys
from s3k_ros.simulation.views import Views
from s3k_ros.training.dataset import DatasetWriter

Array = NDArray[np.float64]

# Height of the open gripper over the table while it hovers over a scene, as in an approach.
HOVER_M = (0.08, 0.40)
HOVER_SHARE = 0.5
# A person clicks a keypoint inside a toy with this scatter, and does not see it in every view.
CLICK_NOISE_PX = (1.0, 2.0)
CLICK_MISSING = 0.25
# A surface this far in front of a keypoint hides it; less is the toy's own fur.
_HIDDEN_M = 0.06


@dataclasses.dataclass(frozen=True)
class Sample:
    """One rendered scene: BGR images by camera, true keypoints (K, 3) in base, m, and clicks."""

    images: dict[str, NDArray[np.uint8]]
    keypoints: Array
    clicks: dict[tuple[str, str], tuple[float, float]]


class SceneRenderer:
    """Renders random scenes of a family; a seed gives the same scene every time.

    Args:
        family: "train", "dev" or "test" (s3k_ros.simulation.toys).
        width: image width, px.
    """

    def __init__(self, family: str, width: int = 640) -> None:
        self.cameras = rig.demo_rig(width)
        self._scene = scene.ToyScene(cell.TABLE_HEIGHT_M, family)
        self._cell = cell.build_cell([self._scene], self.cameras)
        self._data = self._cell.make_data()
        self._bare = cell.build_cell()  # for kinematics: without the fox's thousand joints
        self._views = Views(self._cell.model, self.cameras)
        self._family = toys.FAMILIES.index(family)
        self.names = self._scene.names
        self.object_id = self._scene.object_id

    def sample(self, seed: int) -> Sample:
        """Lays out, settles and renders the scene of a seed, with clicks for it."""
        rng = np.random.default_rng([seed, self._family, 2])
        model, data = self._cell.model, self._data
        mujoco.mj_resetData(model, data)
        self._cell.set_home(data)
        textures = self._scene.randomise(model, data, seed)
        mujoco.mj_step(model, data, int(scene.SETTLE_S / model.opt.timestep))
        keypoints = self._scene.keypoints(data)
        if rng.random() < HOVER_SHARE:
            spread = rng.normal(0.0, [0.12, 0.12])
            height = cell.TABLE_HEIGHT_M + rng.uniform(*HOVER_M)
            target = np.array([*(keypoints.mean(axis=0)[:2] + spread), height])
            data.qpos[self._cell.arm_qpos] = hover(self._bare, target, rng.uniform(-1.5, 1.5))
            mujoco.mj_forward(model, data)
        self._views.upload(textures)
        return Sample(self._views.render_all(data), keypoints, self._clicks(keypoints, rng))

    def _clicks(
        self, keypoints: Array, rng: np.random.Generator
    ) -> dict[tuple[str, str], tuple[float, float]]:
        clicks = {}
        for k, name in enumerate(self.names):
            seen = [c for c in self.cameras if self._visible(c, keypoints[k])]
            drawn = [c for c in seen if rng.random() >= CLICK_MISSING]
            for camera in drawn if len(drawn) >= 2 else seen:
                noise = rng.normal(0.0, rng.uniform(*CLICK_NOISE_PX), 2)
                u, v = camera.project(keypoints[k]) + noise
                clicks[camera.name, name] = (float(u), float(v))
        return clicks

    def _visible(self, camera: Camera, point: Array) -> bool:
        u, v = camera.project(point)
        if not (0 <= u < camera.width and 0 <= v < camera.height):
            return False
        ray = point - camera.centre
        groups = np.array([1, 1, 0, 0, 0, 0], dtype=np.uint8)
        hit = np.zeros(1, dtype=np.int32)
        distance = mujoco.mj_ray(
            self._cell.model, self._data, camera.centre, ray, groups, 1, -1, hit
        )
        length = float(np.linalg.norm(ray))
        return distance < 0 or distance * length > length - _HIDDEN_M


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset render`."""
    parser.add_argument("--out", type=Path, required=True, help="new folder of the dataset")
    parser.add_argument("--family", choices=toys.FAMILIES, default="train")
    parser.add_argument("--labelled", type=int, default=0, help="samples with clicks, first ones")
    parser.add_argument("--unlabelled", type=int, default=0, help="samples without clicks")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=0, help="scene seeds count up from here")
    seeds.add_argument(
        "--seed-from", type=Path, metavar="FILE", help="derive the seed from a file's hash: scenes"
        " that nobody could have tuned that model on",
    )  # fmt: skip
    parser.add_argument("--width", type=int, default=640, help="image width, px")


def run(args: argparse.Namespace) -> int:
    """Renders a dataset; prints progress."""
    first_seed = args.seed if args.seed_from is None else seed_from(args.seed_from)
    renderer = SceneRenderer(args.family, args.width)
    info = {
        "command": " ".join(["s3k", *sys.argv[1:]]),
        "seed": first_seed,
        "family": args.family,
        "commit": _commit(),
    }
    cameras = [camera.name for camera in renderer.cameras]
    with DatasetWriter(args.out, renderer.object_id, renderer.names, cameras, info) as writer:
        for i in tqdm(range(args.labelled + args.unlabelled), unit="scene", mininterval=5):
            sample = renderer.sample(first_seed + i)
            writer.add(
                sample.images,
                renderer.cameras,
                sample.clicks if i < args.labelled else None,
                sample.keypoints,
                seed=first_seed + i,
                segment=i,
            )
    return 0


def seed_from(path: Path) -> int:
    """A seed that only the file's content decides: the first 48 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:6], "big")


def _commit() -> str:
    """The commit that this code stands at, or "unknown" outside a checkout."""
    here = Path(__file__).resolve().parent
    found = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True
    )
    return found.stdout.strip() or "unknown"
