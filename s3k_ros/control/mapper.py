"""Cartesian to joint velocities through dm-robotics-controllers' mapper, and what it leaves open.

The mapper (a quadratic program, solved in 0.1 to 0.3 ms) keeps joint position and velocity limits
and the distance to the table. Three things are added here, each measured to be needed:

- it returns NaN for a NaN and raises for the huge: both are refused;
- near a singularity it realises the twist that is nearest in the least squares, which may point
  elsewhere (20 mm/s downwards for 50 mm/s forwards): motion off the commanded direction is bounded
  by slowing down;
- its acceleration limits give way to its other limits, and would mix with the slowing down: the
  controller limits accelerations last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3k_ros.control.arm import TABLE_GEOM, ControlArm
from s3k_ros.control.wrench import rotated
from s3k_ros.errors import UnsafeMotionError
from s3k_ros.params.admittance import AdmittanceParameters

Array = NDArray[np.float64]

# Weight of the regularisation: 0.5 % of speed at home, bounded joint speeds at a singularity.
_REGULARISATION = 3e-4
# With the usual 300 iterations the solver found nothing in 5 % of random postures near the table;
# with 1000 it never failed, in 0.4 ms (median).
_TOLERANCE = 1e-4
_ITERATIONS = 1000
# Off the commanded direction the tool may move with this share of the speed along it, or at this
# speed (m/s; rotation counts with _ARM_M, the distance at which it is felt).
_OFF_SHARE = 0.3
_OFF_SPEED_M_S = 0.005
_ARM_M = 0.2
# The table is looked at when nearer than this. Its stopping time constant is the walls'.
_TABLE_NEAR_M = 0.15


class VelocityMapper:
    """Maps twists at an arm's present posture.

    Args:
        arm: that it looks at; made with a table when it shall keep clear of it.
        params: limits.
        period_s: for which a velocity holds.

    Attributes:
        velocity: (n,) rad/s, largest joint speeds.
        lower, upper: (n,) rad, limits of position with their margin.
    """

    def __init__(self, arm: ControlArm, params: AdmittanceParameters, period_s: float) -> None:
        from dm_control import mujoco as dm_mujoco

        self._arm = arm
        self._params = params
        self._period = period_s
        self.velocity = arm.velocity * params.joint_speed_scale
        self.lower = arm.lower + params.limit_margin_rad
        self.upper = arm.upper - params.limit_margin_rad
        # The mapper takes dm_control's wrappers only. The arm uses their data from now on.
        self._model = dm_mujoco.wrapper.MjModel(arm.model)
        self._data = dm_mujoco.wrapper.MjData(self._model)
        arm.data = self._data.ptr
        arm.place(np.clip(np.zeros(arm.size), arm.lower, arm.upper))
        self._order = np.argsort(arm.joint_ids)
        self._mapper = self._make()

    def solve(self, twist: Array, posture: Array | None = None) -> Array:
        """Joint velocities (n,) rad/s for a twist (6,) of the tool point, base axes.

        Args:
            twist: m/s and rad/s.
            posture: (n,) rad that the redundant motion heads for; None: none.

        Raises:
            UnsafeMotionError: the mapper found none.
        """
        if not np.isfinite(twist).all():
            raise UnsafeMotionError("the twist is not finite")
        arm = self._arm
        bias = self._bias(twist, posture)
        target = rotated(twist, arm.world_from_base)
        try:
            found = self._mapper.compute_joint_velocities(
                self._data, target.tolist(), bias[self._order].tolist()
            )
        except RuntimeError as error:
            raise UnsafeMotionError(f"the mapper found no joint velocities: {error}") from error
        velocity = np.empty(arm.size)
        velocity[self._order] = found
        if not np.isfinite(velocity).all():
            raise UnsafeMotionError("the mapper's joint velocities are not finite")
        velocity = velocity / max(1.0, float((np.abs(velocity) / self.velocity).max()))
        return velocity * self._faithful(twist, arm.jacobian @ velocity)

    def _bias(self, twist: Array, posture: Array | None) -> Array:
        if posture is None:
            return np.zeros(self._arm.size)
        joints = self._arm.joints
        speed = min(1.0, _speed(twist) / (0.1 * self._params.max_linear_m_s))  # none at a stand
        bias = self._params.posture_gain_1_s * speed * (posture - joints)
        return np.clip(bias, -self.velocity, self.velocity)

    def _faithful(self, wanted: Array, realised: Array) -> float:
        """Share of the motion that keeps what is off the wanted direction within bounds."""
        scale = np.array([1.0] * 3 + [_ARM_M] * 3)
        along, motion = wanted * scale, realised * scale
        length = float(np.linalg.norm(along))
        if length < 1e-9:
            return 1.0
        along = along / length
        forward = float(motion @ along)
        off = float(np.linalg.norm(motion - forward * along))
        return 1.0 if off <= _OFF_SHARE * forward else min(1.0, _OFF_SPEED_M_S / off)

    def _make(self) -> Any:
        import mujoco
        from dm_robotics.controllers import cartesian_6d_to_joint_velocity_mapper as library

        params, arm, given = library.Parameters(), self._arm, self._params
        params.model = self._model
        params.joint_ids = [int(i) for i in arm.joint_ids]
        params.object_type = mujoco.mjtObj.mjOBJ_BODY
        params.object_name = arm.tcp_frame
        params.integration_timestep = self._period
        params.enable_joint_position_limits = True
        # Speed towards a limit: this share of the way to it in a period.
        params.joint_position_limit_velocity_scale = given.wall_gain_1_s * self._period
        params.minimum_distance_from_joint_position_limit = given.limit_margin_rad
        params.enable_joint_velocity_limits = True
        params.joint_velocity_magnitude_limits = self.velocity[self._order].tolist()
        params.enable_joint_acceleration_limits = False
        params.regularization_weight = _REGULARISATION
        params.solution_tolerance = _TOLERANCE
        params.max_cartesian_velocity_control_iterations = _ITERATIONS
        params.enable_nullspace_control = True
        params.return_error_on_nullspace_failure = False
        params.log_nullspace_failure_warnings = False
        params.nullspace_projection_slack = _TOLERANCE
        params.max_nullspace_control_iterations = _ITERATIONS
        params.clamp_nullspace_bias_to_feasible_space = True
        # An arm that is in a limit's margin already may not find a valid way: it stands.
        params.check_solution_validity = False
        params.use_adaptive_step_size = False  # the same input shall give the same output
        if arm.guarded:
            params.enable_collision_avoidance = True
            params.collision_pairs = [(list(arm.guarded), [TABLE_GEOM])]
            params.collision_avoidance_normal_velocity_scale = given.wall_gain_1_s * self._period
            params.minimum_distance_from_collisions = given.table_clearance_m
            params.collision_detection_distance = given.table_clearance_m + _TABLE_NEAR_M
            params.use_minimum_distance_contacts_only = True
            params.log_collision_warnings = False
        return library.Mapper(params)


def _speed(twist: Array) -> float:
    return float(np.linalg.norm(twist[:3]) + _ARM_M * np.linalg.norm(twist[3:]))
