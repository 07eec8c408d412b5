"""What the arm follows and what is planned for it: trajectories in time, plans that meet them."""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np
from numpy.typing import NDArray

from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.planning.planner import ArmState
from s3k_ros.grasp.planning.task_planner import PlanGoal
from s3k_ros.grasp.planning.ways_back import RetractGoal
from s3k_ros.grasp.ports import ArmPort, JointStateSource, Motion, PlannerPort
from s3k_ros.grasp.tasks.events import MakePlan, NotPlanned, Planned
from s3k_ros.params.grasp import RobotParameters

Array = NDArray[np.float64]

# A measured posture this near the last commanded one is the same posture: plans then start at the
# command, so that a servo's droop does not become a step.
_SAME_POSTURE_RAD = 0.02
# The trail has a posture for every turn of a joint by this much; it reaches back far enough for
# the longest retract.
_TRAIL_STEP_RAD = 0.01
_TRAIL_LENGTH = 200


@dataclasses.dataclass(frozen=True, eq=False)
class _Request:
    """A plan that was asked for: when, and how the arm gets to where it begins."""

    goal: PlanGoal
    command: MakePlan
    time: float
    lead: float
    prefix: JointTrajectory | None


class ArmDriver:
    """Sends trajectories, asks for plans that begin on them, and remembers where the arm was.

    Args:
        arm, joints, planner: ports.
        robot: parameters.

    Attributes:
        motion: what the arm follows, or followed last; None once it was stopped.
    """

    def __init__(
        self, arm: ArmPort, joints: JointStateSource, planner: PlannerPort, robot: RobotParameters
    ) -> None:
        self._arm, self._joints, self._planner = arm, joints, planner
        self._robot = robot
        self.motion: Motion | None = None
        self._request: _Request | None = None
        self._commanded: Array | None = None
        self._trail: deque[Array] = deque(maxlen=_TRAIL_LENGTH)

    def reset(self) -> None:
        """Forgets motion, request and trail: a new task begins."""
        self.motion, self._request = None, None
        self._trail.clear()

    def measured(self, positions: Array) -> None:
        """Takes measured joints (n,) rad."""
        if not self._trail or np.abs(positions - self._trail[-1]).max() > _TRAIL_STEP_RAD:
            self._trail.append(positions)

    def move(self, trajectory: JointTrajectory, now: float, *, anew: bool = False) -> Motion:
        """Follows a trajectory; one that was planned on the way joins the running one.

        Args:
            trajectory: where to.
            now: s.
            anew: it leads away from where the arm came: no way back goes past its beginning.
        """
        start = now
        if self._request is not None and self._request.prefix is not None:
            trajectory = self._request.prefix.then(trajectory)
            start = self._request.time
        if anew:
            self._trail.clear()
        self.motion = Motion(trajectory, start)
        self._commanded = trajectory.end
        self._arm.start(trajectory, start)
        return self.motion

    def stop(self) -> None:
        """Brings the arm to a standstill."""
        self.motion, self._commanded = None, None
        self._arm.stop()

    def plan(self, goal: PlanGoal, command: MakePlan, now: float, *, moving: bool) -> None:
        """Asks for a plan from where the arm stands, or will be by when the plan is there."""
        self._ask(goal, command, now, self._robot.correction_lead_s, moving=moving)

    def plan_retract(self, distance: float, now: float) -> None:
        """Asks for a way in m back along where the arm has been."""
        command = MakePlan(None, correction=False)
        goal = RetractGoal(np.array(list(self._trail) or [self._posture()]), distance)
        self._ask(goal, command, now, 0.0, moving=False)

    def poll(self, now: float, *, moving: bool) -> Planned | NotPlanned | None:
        """The answer to the newest request, once. One that comes too late is asked for anew."""
        request, result = self._request, self._planner.poll()
        if request is None or result is None:
            return None
        late = now - request.time > request.lead
        if isinstance(result, Planned) and request.prefix is not None and late:
            # The arm has passed the point where the plan begins: plan again with more time.
            self._ask(request.goal, request.command, now, 2.0 * request.lead, moving=moving)
            return None
        return result

    @property
    def request(self) -> object:
        """The request that is under way, or None: whether it is still the same one."""
        return self._request

    def forget(self) -> None:
        """No answer is waited for any more."""
        self._request = None

    def _ask(
        self, goal: PlanGoal, command: MakePlan, now: float, lead: float, *, moving: bool
    ) -> None:
        prefix = None
        if moving and self.motion is not None:
            elapsed = now - self.motion.start
            prefix = self.motion.trajectory.between(elapsed, elapsed + lead)
            start = ArmState(*self.motion.trajectory.sample(elapsed + lead))
        else:
            start = ArmState.at_rest(self._posture())
        self._request = _Request(goal, command, now, lead, prefix)
        self._planner.submit(goal, command.target, start, command.correction)

    def _posture(self) -> Array:
        joints = self._joints.latest()
        if joints is None:
            return np.array(self._robot.home_rad)
        near = self._commanded is not None and bool(
            np.abs(joints.positions - self._commanded).max() < _SAME_POSTURE_RAD
        )
        return self._commanded if near and self._commanded is not None else joints.positions
