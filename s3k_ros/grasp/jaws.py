"""From the gap between the jaws to the gripper's joint and back."""

from __future__ import annotations

from s3k_ros.params.grasp import RobotParameters


def joint_from_width(width: float, robot: RobotParameters) -> float:
    """Joint position in rad for a gap in m, clipped to the gripper's travel.

    Linear, as the vendor's driver counts; a 2F-85's pads stray from it by at most 2 mm.
    """
    share = min(max(width / robot.gripper_opening_m, 0.0), 1.0)
    return robot.gripper_closed_rad * (1.0 - share)


def width_from_joint(position: float, robot: RobotParameters) -> float:
    """Gap in m for a joint position in rad; 0 when closed further than closed."""
    return max(robot.gripper_opening_m * (1.0 - position / robot.gripper_closed_rad), 0.0)
