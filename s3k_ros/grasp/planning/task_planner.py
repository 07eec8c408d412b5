"""One planner for every task: it looks at the goal's type and asks the one that knows how."""

from __future__ import annotations

from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Goal, GraspGoal, PlaceGoal, Refusal, ReleaseGoal
from s3k_ros.grasp.planning.motion import ArmState
from s3k_ros.grasp.planning.place_planner import PlacePlanner, Plan
from s3k_ros.grasp.planning.planner import GraspPlanner, Target
from s3k_ros.grasp.planning.ways_back import RetractGoal, RetreatGoal
from s3k_ros.params.grasp import GraspParameters, RobotParameters

PlanGoal = Goal | RetreatGoal | RetractGoal


class TaskPlanner:
    """Grasps, places, and ways back. Not safe to share between threads.

    Args:
        grasps: the planner of grasps, whose motions the others share.
        grasp, robot: parameters.
    """

    def __init__(
        self, grasps: GraspPlanner, grasp: GraspParameters, robot: RobotParameters
    ) -> None:
        self._grasps = grasps
        self._places = PlacePlanner(grasps.motion, grasp, robot)

    def plan(self, goal: PlanGoal, target: Target | None, start: ArmState) -> Plan | Refusal:
        """A whole plan from a state; places and grasps need a target."""
        match goal:
            case RetractGoal():
                return self._places.back.retract(goal, start)
            case RetreatGoal():
                return self._places.back.retreat(goal, start)
            case ReleaseGoal():
                return self._places.back.release(goal, start)
            case PlaceGoal() if target is not None:
                return self._places.plan(goal, target, start)
            case GraspGoal() if target is not None:
                return self._grasps.plan(goal, target, start)
        return Refusal(GraspCode.INTERNAL, "a plan without a target")

    def correct(self, goal: PlanGoal, target: Target | None, start: ArmState) -> Plan | Refusal:
        """A plan of the straight way in from a state on it."""
        if isinstance(goal, PlaceGoal) and target is not None:
            return self._places.correct(goal, target, start)
        if isinstance(goal, GraspGoal) and target is not None:
            return self._grasps.correct(goal, target, start)
        return Refusal(GraspCode.INTERNAL, f"{type(goal).__name__} has no way in to correct")
