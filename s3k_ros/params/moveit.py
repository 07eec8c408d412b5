"""Parameters of MoveIt as the planner of free space."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class MoveItParameters(Parameters):
    """MoveIt 2, asked for ways through free space when free_space_planner is moveit."""

    service: str = param(
        "plan_kinematic_path", "move_group's service, moveit_msgs/GetMotionPlan.", read_only=True
    )
    group: str = param("right_arm", "Planning group of the arm in MoveIt's SRDF.", read_only=True)
    pipeline: str = param("", "Planning pipeline; empty: MoveIt's default.", read_only=True)
    planner: str = param("", "Planner of the pipeline; empty: its default.", read_only=True)
    attempts: int = param(1, "Plannings of which MoveIt takes the best.", low=1, high=20)
    answer_margin_s: float = param(
        0.5, "MoveIt may answer this much later than grasp.free_space_time_s.",
        unit="s", low=0.05, high=10.0,
    )  # fmt: skip
