"""FollowJointTrajectory on the ROS 2 side, intera's action server on the other.

Every goal is accepted and ends with a code and a text, because ROS gives no reason with a
rejection. The robot gets the whole trajectory and interpolates it itself; from then on this side
can only ask for its end.

Start times are kept here: a goal waits for its own by this node's clock and then says "at once" to
the robot, whose clock may differ. intera's server also sleeps, deaf to cancels, until a start time
that lies ahead, and ends a running trajectory before.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from control_msgs.action import FollowJointTrajectory
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle

from s3k_ros.params.gateway import SawyerGatewayParameters
from s3k_ros.ros.conversions import nanoseconds
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.rosbridge_action import RemoteGoal, Ros1Action, Status
from s3k_ros.ros.sawyer import Obstacle, RobotMirror
from s3k_ros.ros.sawyer_results import NAMES, code_and_text, guess
from s3k_ros.ros.sawyer_trajectory import (
    GoalRefusedError,
    check_goal,
    check_start,
    goal_end,
    goal_to_ros1,
)

_NS = 1_000_000_000
# A start this far ahead comes from another clock than ours.
_LONGEST_WAIT_S = 10.0
# A cancel that was lost is asked for again.
_CANCEL_AGAIN_S = 0.2
# The robot's state comes by another topic than the result that it explains.
_EXPLAIN_S = 0.1
_SILENT_SERVER = Obstacle(
    "NO_SERVER",
    "intera's action server does not answer; on the ROS 1 side: "
    "rosrun intera_interface joint_trajectory_action_server.py",
)
_Result = FollowJointTrajectory.Result


@dataclasses.dataclass(eq=False)
class _Motion:
    """A goal from its arrival to its end; times in s, monotonic, its start in the node's time."""

    handle: ServerGoalHandle
    start_ns: int = 0
    remote: RemoteGoal | None = None
    sent_at: float = 0.0
    canceled_at: float | None = None
    asked_at: float = 0.0
    to_stop: tuple[RemoteGoal, ...] = ()
    over_at: float | None = None
    told: Any = None


class SawyerArm:
    """The arm's action server.

    Args:
        node: the node.
        params: its parameters.
        action: the server on the ROS 1 side.
        mirror: what the robot says.

    Attributes:
        busy: why the arm takes no trajectory now, besides what the robot says; empty: it does.
        listed_at: s, monotonic, when the server on the ROS 1 side last listed its goals.
        last: how the newest goal that ended did, for people.
    """

    def __init__(
        self,
        node: S3kNode,
        params: SawyerGatewayParameters,
        action: Ros1Action,
        mirror: RobotMirror,
    ) -> None:
        self._node = node
        self.params = params
        self._action = action
        self._mirror = mirror
        self._motions: list[_Motion] = []
        self.listed_at = 0.0
        self.busy = ""
        self.last = "no goal yet"
        self._server = ActionServer(
            node, FollowJointTrajectory, params.arm_action, lambda handle: None,
            handle_accepted_callback=self._on_goal, cancel_callback=self._on_cancel,
        )  # fmt: skip

    @property
    def moving(self) -> bool:
        """Whether a goal is under way."""
        return bool(self._motions)

    def obstacle(self, now: float) -> Obstacle | None:
        """Why the arm takes no trajectory now."""
        found = self._mirror.obstacle(now)
        if found is None and now - self.listed_at > self.params.answer_timeout_s:
            return _SILENT_SERVER
        return found

    def tick(self, now: float) -> None:
        """Starts what is due and ends what is over, or may not go on."""
        for motion in list(self._motions):
            self._step(motion, now)

    def stop(self) -> None:
        """Asks the robot to end whatever it follows for us."""
        self._action.cancel_all()

    # -- goals ---------------------------------------------------------------------------------

    def _on_goal(self, handle: ServerGoalHandle) -> None:
        now, wall_ns = time.monotonic(), self._node.now_ns()
        motion = _Motion(handle)
        obstacle = self.obstacle(now)
        try:
            if obstacle is not None:
                raise GoalRefusedError(_Result.INVALID_GOAL, str(obstacle))
            if self.busy:
                raise GoalRefusedError(_Result.INVALID_GOAL, self.busy)
            check_goal(handle.request, self.params.joints)
            motion.start_ns = self._start_ns(handle.request, wall_ns)
        except GoalRefusedError as error:
            self._end(motion, "abort", error.code, str(error))
            return
        for other in list(self._motions):  # as a ros2_control controller: the newest one counts
            if other.canceled_at is None:
                self._replace(other)
        self._motions.append(motion)
        self._step(motion, now)

    def _start_ns(self, goal: FollowJointTrajectory.Goal, wall_ns: int) -> int:
        """When the goal starts; 0: at once, and late ones as soon as possible."""
        stamp = nanoseconds(goal.trajectory.header.stamp)
        ahead = (stamp - wall_ns) / _NS if stamp else 0.0
        if ahead < -self.params.late_start_s:
            raise GoalRefusedError(
                _Result.OLD_HEADER_TIMESTAMP,
                f"the trajectory should have started {-ahead:.3f} s ago by the gateway's clock",
            )
        if ahead > _LONGEST_WAIT_S:
            raise GoalRefusedError(
                _Result.INVALID_GOAL, f"the trajectory starts {ahead:.1f} s ahead: another clock?"
            )
        return stamp

    def _replace(self, motion: _Motion) -> None:
        """Ends a goal for a newer one. The robot goes on with it until the newer one begins."""
        self._end(motion, "abort", _Result.INVALID_GOAL, "replaced by a newer goal")

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        now = time.monotonic()
        for motion in self._motions:
            if motion.handle == handle and motion.canceled_at is None:
                # Also what it was about to replace; not what comes after it.
                motion.canceled_at, motion.to_stop = now, self._action.goals
                self._ask_to_cancel(motion, now)
        return CancelResponse.ACCEPT

    # -- one goal ------------------------------------------------------------------------------

    def _step(self, motion: _Motion, now: float) -> None:
        obstacle = None if motion.over_at is not None else self.obstacle(now)
        if obstacle is not None:
            self._fail(motion, _Result.PATH_TOLERANCE_VIOLATED, str(obstacle))
        elif motion.remote is not None and motion.remote.over:
            self._settle(motion, motion.remote, now)
        elif motion.canceled_at is not None:
            self._go_on_cancelling(motion, motion.canceled_at, now)
        elif motion.remote is None:
            if self._node.now_ns() >= motion.start_ns:
                self._start(motion, now)
        elif not motion.remote.seen and now - motion.sent_at > self.params.answer_timeout_s:
            text = "intera's action server did not take the goal"
            self._fail(motion, _Result.INVALID_GOAL, f"NO_ANSWER: {text}")
        else:
            self._tell(motion)

    def _start(self, motion: _Motion, now: float) -> None:
        goal, positions = motion.handle.request, self._mirror.positions
        try:
            check_start(goal, positions, self.params.path_tolerance_rad)
        except GoalRefusedError as error:
            self._fail(motion, error.code, str(error))
            return
        motion.remote = self._action.send(goal_to_ros1(goal, positions))
        motion.sent_at = now
        if motion.remote is None:
            self._fail(motion, _Result.INVALID_GOAL, "DISCONNECTED: the connection just ended")

    def _go_on_cancelling(self, motion: _Motion, since: float, now: float) -> None:
        stopped = all(remote.over for remote in motion.to_stop)
        if motion.remote is None and stopped:  # it never began
            self._end(motion, "canceled", _Result.SUCCESSFUL, "canceled before it began")
        elif now - since > self.params.cancel_timeout_s:
            text = "the robot did not confirm the cancel; it may still move"
            self._fail(motion, _Result.PATH_TOLERANCE_VIOLATED, f"NO_ANSWER: {text}")
        elif now - motion.asked_at > _CANCEL_AGAIN_S:
            self._ask_to_cancel(motion, now)

    def _ask_to_cancel(self, motion: _Motion, now: float) -> None:
        motion.asked_at = now
        for remote in motion.to_stop:
            self._action.cancel(remote)

    def _fail(self, motion: _Motion, code: int, text: str) -> None:
        """Ends a goal whose trajectory the robot may still follow."""
        self._end(motion, "abort", code, text)
        waited_for = [other.remote for other in self._motions]
        for remote in self._action.goals:  # also one that this goal was about to replace
            if remote not in waited_for:
                self._action.give_up(remote)

    def _settle(self, motion: _Motion, remote: RemoteGoal, now: float) -> None:
        """Gives a goal the end that the robot's has."""
        motion.over_at = now if motion.over_at is None else motion.over_at
        if remote.status is Status.SUCCEEDED:
            self._arrive(motion)
        elif motion.canceled_at is not None:
            self._end(motion, "canceled", _Result.SUCCESSFUL, "canceled; the robot stopped")
        elif remote.status in (Status.PREEMPTED, Status.RECALLED):
            text = remote.text or "another client on the ROS 1 side cancelled or replaced it"
            self._end(motion, "abort", _Result.INVALID_GOAL, f"PREEMPTED: {text}")
        else:
            code, said = code_and_text(remote)
            cause = self._mirror.obstacle_since(motion.sent_at, now)
            if cause is None and not said and now - motion.over_at < _EXPLAIN_S:
                return  # its cause may be on its way
            known = said if cause is None else "; ".join(filter(None, (str(cause), said)))
            text = known or guess(code, remote.feedback, self.params.path_tolerance_rad)
            self._end(motion, "abort", code, text)

    def _arrive(self, motion: _Motion) -> None:
        """Success as intera says; it also says so when it is disabled on the way."""
        off = {
            name: abs(self._mirror.positions[name] - end)
            for name, end in goal_end(motion.handle.request).items()
            if name in self._mirror.positions
        }
        worst = max(off, key=lambda name: off[name], default="")
        if worst and off[worst] <= self.params.arrival_tolerance_rad:
            self._end(motion, "succeed", _Result.SUCCESSFUL, "")
            return
        cause = self._mirror.obstacle_since(motion.sent_at, time.monotonic())
        text = (
            f"the robot said success, but {worst or 'the arm'} is {off.get(worst, 0.0):.3f} rad off"
        )
        if cause is not None:
            text = f"{cause}; {text}"
        self._end(motion, "abort", _Result.GOAL_TOLERANCE_VIOLATED, text)

    def _tell(self, motion: _Motion) -> None:
        """Passes feedback on, each once."""
        remote = motion.remote
        if remote is None or remote.feedback is None or remote.feedback is motion.told:
            return
        motion.told = remote.feedback
        motion.handle.publish_feedback(remote.feedback)

    def _end(self, motion: _Motion, how: str, code: int, text: str) -> None:
        if motion in self._motions:
            self._motions.remove(motion)
        self.last = ": ".join(filter(None, (how, NAMES.get(code, ""), text)))
        self._node.get_logger().info(f"goal: {self.last}")

        def execute(handle: ServerGoalHandle) -> FollowJointTrajectory.Result:
            if how == "canceled" and not handle.is_cancel_requested:
                handle.abort()
            else:
                getattr(handle, how)()
            return _Result(error_code=code, error_string=text)

        motion.handle.execute(execute)
