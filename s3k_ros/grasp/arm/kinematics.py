"""Forward and inverse kinematics of the arm, on pinocchio."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform

Array = NDArray[np.float64]

# A solution is taken below these errors, far under what an arm can repeat (Sawyer: 0.1 mm).
_POSITION_TOLERANCE_M = 2e-5
_ROTATION_TOLERANCE_RAD = 1e-4
_MAX_ITERATIONS = 80
_MAX_STEP_RAD = 0.3
# A search whose squared error does not fall to this share within so many steps is stuck.
_PROGRESS, _PATIENCE = 0.8, 8
# Squared damping of the least squares: it grows with the error, so that steps near a singularity
# stay small.
_DAMPING_FLOOR = 1e-8
_DAMPING_GAIN = 1e-2
# Gradient projection away from joint limits.
_ROOM_STEPS, _ROOM_GAIN = 8, 0.5
# A radian of turn counts as much as this way.
_TURN_LENGTH_M = 0.3


@dataclasses.dataclass(frozen=True)
class JointLimits:
    """Limits of the arm's joints, (n,) each, in rad, rad/s, rad/s^2 and rad/s^3."""

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array

    def scaled(self, speed: float) -> JointLimits:
        """The same positions at a share of the speed: velocity, acceleration, jerk alike."""
        return dataclasses.replace(
            self,
            velocity=self.velocity * speed,
            acceleration=self.acceleration * speed,
            jerk=self.jerk * speed,
        )


class ArmModel:
    """Kinematics of one arm. Not safe to share between threads: it holds pinocchio's scratch data.

    Args:
        urdf: text of the robot description.
        joints: names of the arm's joints, base to hand. All other joints stand at zero.
        base_frame, tcp_frame: names of the frames that poses map between.
        limit_margin: rad kept from the position limits.

    Attributes:
        lower, upper: (n,) rad, position limits with the margin.
        velocity: (n,) rad/s, velocity limits of the description.
        model, world_from_base: pinocchio's model, and the base frame in its universe.
        tcp_frame_id: index of the tool centre point's frame in that model.

    Raises:
        ConfigurationError: a description that does not parse, or a joint or frame that it lacks.
    """

    def __init__(
        self,
        urdf: str,
        joints: Sequence[str],
        base_frame: str = "base",
        tcp_frame: str = "grasp_tcp",
        limit_margin: float = 0.0,
    ) -> None:
        self.urdf = urdf
        self.model, self._geometry = _reduced_model(urdf, joints)
        self._order = _joint_order(self.model, joints)
        self.data = self.model.createData()
        self._tcp = self.tcp_frame_id = _frame_id(self.model, tcp_frame)
        pin.framesForwardKinematics(self.model, self.data, pin.neutral(self.model))
        self.world_from_base = self.data.oMf[_frame_id(self.model, base_frame)].copy()
        self.lower = self.model.lowerPositionLimit[self._order] + limit_margin
        self.upper = self.model.upperPositionLimit[self._order] - limit_margin
        self.velocity = self.model.velocityLimit[self._order].copy()

    @classmethod
    def from_file(cls, path: str | Path, joints: Sequence[str], **options: object) -> ArmModel:
        """Reads the robot description from a URDF file.

        Raises:
            ConfigurationError: the file cannot be read, or as for the constructor.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"robot description {path} cannot be read: {error}") from error
        return cls(text, joints, **options)  # type: ignore[arg-type]

    @property
    def size(self) -> int:
        """Number of joints."""
        return len(self._order)

    def configuration(self, joints: Array) -> Array:
        """(n,) rad in the caller's order of joints -> pinocchio's order."""
        q = np.empty(self.size)
        q[self._order] = joints
        return q

    def ordered(self, values: Array) -> Array:
        """(n,) values in pinocchio's order of joints -> the caller's order."""
        result: Array = values[self._order]
        return result

    def forward(self, joints: Array) -> Transform:
        """Pose of the tool centre point at joint positions (n,) rad: ``base_from_tcp``."""
        pose = self._pose(self.configuration(joints))
        return Transform(pose.rotation, pose.translation)

    def frame_id(self, name: str) -> int:
        """Index of a frame, for `rotation`.

        Raises:
            ConfigurationError: the description has no such frame.
        """
        return _frame_id(self.model, name)

    def rotation(self, frame_id: int, joints: Array) -> Array:
        """(3, 3) ``base_from_frame`` at joints (n,) rad."""
        pin.forwardKinematics(self.model, self.data, self.configuration(joints))
        pose = pin.updateFramePlacement(self.model, self.data, frame_id)
        found: Array = self.world_from_base.rotation.T @ pose.rotation
        return found

    def position(self, joints: Array) -> Array:
        """(3,) m, where the tool centre point stands in the base frame."""
        found: Array = self._pose(self.configuration(joints)).translation
        return found

    def singularity(self, joints: Array) -> float:
        """Least singular value of the Jacobian, m/rad: 0 where the hand cannot move some way.

        Turns count with 0.3 m, about a hand's length, so that both kinds of motion compare.
        """
        jacobian = self.jacobian(joints)
        jacobian[3:] *= _TURN_LENGTH_M
        return float(np.linalg.svd(jacobian, compute_uv=False)[-1])

    def jacobian(self, joints: Array) -> Array:
        """(6, n) Jacobian of the tool centre point: linear over angular, in its own frame."""
        q = self.configuration(joints)
        return self._jacobian(q)

    def solve(self, target: Transform, seed: Array) -> Array | None:
        """Joint positions that put the tool centre point at a pose, near a seed.

        Damped least squares (Nakamura and Hanafusa 1986) with damping that follows the error;
        each step is clipped to the limits.

        Args:
            target: ``base_from_tcp``.
            seed: (n,) rad, where the search begins.

        Returns:
            (n,) rad within the limits, or None when it did not converge.
        """
        goal = self.world_from_base * pin.SE3(target.rotation, target.translation)
        joints = np.clip(seed, self.lower, self.upper)
        least, waited = np.inf, 0
        for _ in range(_MAX_ITERATIONS):
            q = self.configuration(joints)
            jacobian = self._jacobian(q)
            error = pin.log6(self.data.oMf[self._tcp].actInv(goal)).vector
            if (
                np.linalg.norm(error[:3]) < _POSITION_TOLERANCE_M
                and np.linalg.norm(error[3:]) < _ROTATION_TOLERANCE_RAD
            ):
                return joints
            squared = float(error @ error)
            if squared < _PROGRESS * least:
                least, waited = squared, 0
            elif (waited := waited + 1) > _PATIENCE:
                return None
            damping = _DAMPING_FLOOR + _DAMPING_GAIN * squared
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + damping * np.eye(6), error)
            step *= min(1.0, _MAX_STEP_RAD / max(float(np.abs(step).max()), 1e-12))
            joints = np.clip(joints + step, self.lower, self.upper)
        return None

    def solutions(self, target: Transform, seeds: Sequence[Array]) -> Iterator[Array]:
        """Distinct solutions for a pose, one per seed that converges, in the seeds' order."""
        found: list[Array] = []
        for seed in seeds:
            joints = self.solve(target, seed)
            if joints is None or any(np.abs(joints - other).max() < 0.05 for other in found):
                continue
            found.append(joints)
            yield joints

    def roomier(self, target: Transform, joints: Array, room: float) -> Array:
        """The same pose with more room to the joint limits, by the arm's redundancy.

        Gradient projection (Liegeois 1977): joints nearer to a limit than ``room`` are drawn away
        from it within the null space of the Jacobian.

        Args:
            target: ``base_from_tcp``, which ``joints`` reach.
            joints: (n,) rad.
            room: rad that each joint should have to its limits.

        Returns:
            (n,) rad; ``joints`` themselves when nothing better was found.
        """
        goal = self.world_from_base * pin.SE3(target.rotation, target.translation)
        moved = joints
        for _ in range(_ROOM_STEPS):
            lacking = np.maximum(room - (moved - self.lower), 0.0)
            lacking -= np.maximum(room - (self.upper - moved), 0.0)
            if not lacking.any():
                break
            jacobian = self._jacobian(self.configuration(moved))
            error = pin.log6(self.data.oMf[self._tcp].actInv(goal)).vector
            pull = _ROOM_GAIN * lacking
            square = jacobian @ jacobian.T + _DAMPING_FLOOR * np.eye(6)
            step = pull + jacobian.T @ np.linalg.solve(square, error - jacobian @ pull)
            step *= min(1.0, _MAX_STEP_RAD / max(float(np.abs(step).max()), 1e-12))
            moved = np.clip(moved + step, self.lower, self.upper)
        found = self.solve(target, moved)
        return joints if found is None or self.room(found) <= self.room(joints) else found

    def room(self, joints: Array) -> float:
        """Least distance in rad of any joint to its limits, margin included."""
        return float(np.minimum(joints - self.lower, self.upper - joints).min())

    def collision_geometry(self) -> pin.GeometryModel:
        """A copy of the description's collision shapes, on the joints of ``model``."""
        return self._geometry.copy()

    def _jacobian(self, q: Array) -> Array:
        """Also leaves the frame's placement in the scratch data."""
        pin.computeJointJacobians(self.model, self.data, q)
        pin.updateFramePlacement(self.model, self.data, self._tcp)
        full = pin.getFrameJacobian(self.model, self.data, self._tcp, pin.ReferenceFrame.LOCAL)
        ordered: Array = full[:, self._order]
        return ordered

    def _pose(self, q: Array) -> pin.SE3:
        pin.forwardKinematics(self.model, self.data, q)
        pin.updateFramePlacement(self.model, self.data, self._tcp)
        return self.world_from_base.actInv(self.data.oMf[self._tcp])


def _reduced_model(urdf: str, joints: Sequence[str]) -> tuple[pin.Model, pin.GeometryModel]:
    try:
        full = pin.buildModelFromXML(urdf)
        geometry = pin.buildGeomFromUrdfString(full, urdf, pin.GeometryType.COLLISION)
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(f"robot description does not parse: {error}") from error
    names = list(full.names)[1:]
    missing = [name for name in joints if name not in names]
    if missing:
        raise ConfigurationError(
            f"robot description lacks joint {missing[0]!r}; it has: {', '.join(names)}"
        )
    locked = [full.getJointId(name) for name in names if name not in joints]
    model, reduced = pin.buildReducedModel(full, geometry, locked, pin.neutral(full))
    return model, reduced


def _joint_order(model: pin.Model, joints: Sequence[str]) -> NDArray[np.intp]:
    indices = [model.joints[model.getJointId(name)] for name in joints]
    if any(joint.nq != 1 for joint in indices):
        raise ConfigurationError(
            "robot description: the arm's joints must have limits and one degree of freedom each"
        )
    return np.array([joint.idx_q for joint in indices], dtype=np.intp)


def _frame_id(model: pin.Model, name: str) -> int:
    for index, frame in enumerate(model.frames):
        if frame.name == name and frame.type == pin.FrameType.BODY:
            return index
    names = [frame.name for frame in model.frames if frame.type == pin.FrameType.BODY]
    raise ConfigurationError(
        f"robot description lacks the frame {name!r}; it has: {', '.join(names)}"
    )
