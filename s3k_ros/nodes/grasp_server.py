"""`grasp_server`: the action `grasp_at_keypoint` over an arm, a gripper and 3D keypoints.

Goals are always accepted and end with a code and a message, because ROS carries no reason with a
rejected goal. A goal's status stays ACCEPTED while it runs: rclpy's executor spins without pause as
long as an execute callback awaits something, so the callback runs only once the outcome is known.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.time import Time
from std_msgs.msg import Bool, Header, String
from tf2_ros import Buffer, TransformException, TransformListener
from visualization_msgs.msg import MarkerArray

from s3k_ros.action import GraspAtKeypoint
from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.events import Outcome
from s3k_ros.grasp.executor import GraspExecutor, Ports
from s3k_ros.grasp.kinematics import ArmModel
from s3k_ros.grasp.planner import GraspPlan, GraspPlanner
from s3k_ros.grasp.ports import Journal, NoJournal
from s3k_ros.grasp.task_planner import TaskPlanner
from s3k_ros.grasp.worker import ThreadedPlanner
from s3k_ros.grasp.world import Scene, load_scene
from s3k_ros.params.grasp import GraspParameters, GraspServerParameters, RobotParameters
from s3k_ros.params.moveit import MoveItParameters
from s3k_ros.ros import conversions, qos
from s3k_ros.ros import grasp_messages as messages
from s3k_ros.ros.arm import TrajectoryArm
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.grasp_inputs import (
    JointStateTopic,
    KeypointTopic,
    NodeClock,
    RobotStateTopic,
    WrenchTopic,
)
from s3k_ros.ros.grasp_log import open_log
from s3k_ros.ros.gripper import ActionGripper
from s3k_ros.ros.moveit import MoveItWays
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file

if TYPE_CHECKING:
    from s3k_ros.goal_logs.journal import GoalJournal

_SHIPPED_ROBOT = "config/robots/sawyer_2f85.urdf"


@dataclasses.dataclass
class _Session:
    """One goal from its arrival to its result."""

    handle: ServerGoalHandle
    started: bool = False
    ended: bool = False
    deadline: float = 0.0
    listener: TransformListener | None = None
    buffer: Buffer | None = None
    phase: Phase | None = None
    told_at: float = 0.0


class GraspServerNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("grasp_server")
        self._params = self.declare(GraspServerParameters)
        self._grasp = self.declare(GraspParameters, "grasp", on_change=self._on_grasp)
        self._robot = self.declare(RobotParameters, "robot", on_change=self._on_robot)
        self._session: _Session | None = None
        self._next: _Session | None = None
        self._emergency = False
        self._last = "no grasp yet"
        self._make_ports()
        self._planner: ThreadedPlanner | None = None
        self._log: GoalJournal | None = None
        self._runner = self._make_executor()
        self._changed = False
        self._make_server()

    def close(self) -> None:
        # After a signal the context is gone, and with it the way to the arm: it ends its
        # trajectory, or its own watchdog stops it.
        if self._session is not None and self.context.ok():
            self._arm.stop()
            self._gripper.stop()
        if self._planner is not None:
            self._planner.close()
        if self._log is not None:
            self._log.close()

    def show(self, plan: GraspPlan) -> None:
        """Publishes a plan: the executor's `PlanView`."""
        state = self._runner.state
        opening = self._grasp.opening_width_m if state is None else state.goal.opening_width_m
        self._markers.publish(messages.plan_markers(plan, opening, self._header()))

    # -- set-up --------------------------------------------------------------------------------

    def _make_ports(self) -> None:
        p, robot = self._params, self._robot
        self._seconds = NodeClock(self)
        self._arm = TrajectoryArm(
            self, p.arm_action, robot.arm_joints, stamped=robot.stamp_trajectories
        )
        self._gripper = ActionGripper(self, p.gripper_action, robot)
        self._keypoints = KeypointTopic(self, self._seconds, robot.base_frame, p.input_timeout_s)
        self._joints = JointStateTopic(
            self, self._seconds, p.joint_states, robot, p.input_timeout_s, self._on_measured
        )
        self._wrench = WrenchTopic(
            self, self._seconds, p.wrench, p.input_timeout_s, self._on_measured
        )
        self._robot_state = (
            RobotStateTopic(
                self, self._seconds, p.robot_state, p.input_timeout_s, self._on_robot_state
            )
            if p.robot_state
            else None
        )
        moveit = self.declare(MoveItParameters, "moveit")
        wanted = p.free_space_planner == "moveit"
        self._moveit = MoveItWays(self, moveit, robot.arm_joints) if wanted else None
        self._markers = self.advertise(MarkerArray, "grasp_plan_markers", qos.latched())
        # Not `robot_description`: the robot's driver and its controllers own that one.
        self._description = self.advertise(String, "grasp_server/robot_description", qos.latched())

    def _make_executor(self) -> GraspExecutor:
        robot = self._robot
        urdf = find_file(robot.robot_description or _SHIPPED_ROBOT)
        arm, own = (
            ArmModel.from_file(
                urdf,
                robot.arm_joints,
                base_frame=robot.base_frame,
                tcp_frame=robot.tcp_frame,
                limit_margin=robot.limit_margin_rad,
            )
            for _ in ("the planner's thread", "the gates, here")
        )
        self._description.publish(String(data=urdf.read_text(encoding="utf-8")))
        if self._planner is not None:
            self._planner.close()
        grasps = GraspPlanner(arm, self._grasp, robot, self._load_scene())
        if self._moveit is not None:
            self._moveit.time_s = self._grasp.free_space_time_s
            grasps.motion.free_space = self._moveit
        self._planner = ThreadedPlanner(TaskPlanner(grasps, self._grasp, robot))
        ports = Ports(
            self._seconds, self._arm, self._gripper, self._keypoints, self._joints, self._wrench,
            self._planner, self, self._open_log(), robot_state=self._robot_state,
        )  # fmt: skip
        return GraspExecutor(ports, self._grasp, robot, own)

    def _open_log(self) -> Journal:
        if self._log is not None:
            self._log.close()
        values = {"server": self._params, "grasp": self._grasp, "robot": self._robot}
        self._log = open_log(self, self._params, self._robot, values)
        return NoJournal() if self._log is None else self._log

    def _load_scene(self) -> Scene:
        if not self._params.scene:
            return Scene()
        return load_scene(find_file(self._params.scene), self._robot.base_frame, load_rig)

    def _make_server(self) -> None:
        self.diagnostics.add("grasp", self._report_grasp)
        self.diagnostics.add("controllers", self._report_controllers)
        self.listen(Bool, "emergency_stop", self._on_emergency_stop, qos.keypoints())
        self._server = ActionServer(
            self, GraspAtKeypoint, "grasp_at_keypoint", self._result,
            handle_accepted_callback=self._on_goal, cancel_callback=self._on_cancel,
        )  # fmt: skip
        self.create_timer(1.0 / self._params.tick_rate_hz, self._on_timer)

    def _on_grasp(self, values: GraspParameters) -> None:
        self._grasp, self._changed = values, True

    def _on_robot(self, values: RobotParameters) -> None:
        self._robot, self._changed = values, True

    def _apply_parameters(self) -> None:
        """Changed parameters hold from the next goal on."""
        if self._changed:
            self._changed = False
            self._arm.stamped = self._robot.stamp_trajectories
            self._gripper.robot = self._robot
            self._runner = self._make_executor()

    # -- goals ---------------------------------------------------------------------------------

    def _on_goal(self, handle: ServerGoalHandle) -> None:
        session = _Session(handle)
        if self._emergency:
            self._refuse(session, GraspCode.EMERGENCY_STOP, "the emergency stop is on")
        elif self._session is None:
            self._begin(session)
        elif self._grasp.second_goal == "reject":
            self._refuse(session, GraspCode.BUSY, "another grasp is running")
        else:
            if self._next is not None:
                self._refuse(self._next, GraspCode.PREEMPTED, "another goal came")
            self._next = session
            self._stop(GraspCode.PREEMPTED, "another goal came")

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._session is not None and self._session.handle == handle:
            self._stop(GraspCode.CANCELED, "canceled by the client")
        return CancelResponse.ACCEPT

    def _on_emergency_stop(self, message: Bool) -> None:
        self._emergency = message.data
        if self._emergency:
            self._stop(GraspCode.EMERGENCY_STOP, "emergency stop")

    def _on_measured(self) -> None:
        """Joint states or a wrench came: gates act now, not at the next tick."""
        if self._runner.guarded:
            self._runner.guard()

    def _on_robot_state(self) -> None:
        if self._runner.busy:
            self._runner.guard()

    def _begin(self, session: _Session) -> None:
        self._session = session
        if self._seconds.now() == 0.0:
            return  # simulated time has not begun: the timer begins when it does
        self._apply_parameters()
        session.started = True
        goal = session.handle.request
        v, frame = goal.approach.vector, goal.approach.header.frame_id
        if frame in ("", self._robot.base_frame) or (v.x, v.y, v.z) == (0.0, 0.0, 0.0):
            self._start(session, None)
            return
        session.deadline = self._seconds.now() + self._params.tf_timeout_s
        session.buffer = Buffer()
        session.listener = TransformListener(session.buffer, self)

    def _start(self, session: _Session, base_from_frame: Transform | None) -> None:
        goal = messages.goal_from_message(session.handle.request, base_from_frame)
        outcome = self._runner.start(goal)
        if outcome is not None:
            self._session = None
            self._finish(session, outcome)

    def _look_up(self, session: _Session, buffer: Buffer) -> None:
        """Tries to get the frame of the goal's approach, until the deadline."""
        frame, base = session.handle.request.approach.header.frame_id, self._robot.base_frame
        try:
            found = buffer.lookup_transform(base, frame, Time())
        except TransformException as error:
            if self._seconds.now() > session.deadline:
                text = f"approach is in frame {frame!r}: {error}"
                self._give_up(session, GraspCode.INVALID_GOAL, text)
            return
        self._forget_frames(session)
        self._start(session, conversions.transform_from_message(found.transform))

    def _forget_frames(self, session: _Session) -> None:
        if session.listener is not None:
            session.listener.unregister()
        session.buffer = session.listener = None

    def _stop(self, code: GraspCode, message: str) -> None:
        session = self._session
        if session is None:
            return
        if session.started and session.buffer is None:
            self._runner.end(code, message)
        elif code == GraspCode.CANCELED:
            session.ended = True  # its status changes after this callback: the timer tells the end
        else:
            self._give_up(session, code, message)

    def _give_up(self, session: _Session, code: GraspCode, message: str) -> None:
        """Ends a session whose grasp has not begun."""
        self._forget_frames(session)
        self._session = None
        self._refuse(session, code, message)

    # -- time ----------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        if self._next is not None and self._next.handle.is_cancel_requested:
            session, self._next = self._next, None
            self._refuse(session, GraspCode.CANCELED, "canceled by the client")
        session = self._session
        if session is not None and session.ended:
            self._give_up(session, GraspCode.CANCELED, "canceled by the client")
        elif session is not None and not session.started:
            self._begin(session)
        elif session is not None and session.buffer is not None:
            self._look_up(session, session.buffer)
        elif session is not None:
            self._run(session)
        if self._session is None and self._next is not None:
            session, self._next = self._next, None
            self._begin(session)

    def _run(self, session: _Session) -> None:
        self._runner.tick()
        state = self._runner.state
        if state is None:
            return
        if state.outcome is not None:
            self._session = None
            self._finish(session, state.outcome)
            return
        now = self._seconds.now()
        if (
            state.phase != session.phase
            or now - session.told_at >= 1 / self._params.feedback_rate_hz
        ):
            session.phase, session.told_at = state.phase, now
            feedback = messages.feedback_to_message(state, self._runner.fraction)
            session.handle.publish_feedback(feedback)

    def _refuse(self, session: _Session, code: GraspCode, message: str) -> None:
        self._finish(session, Outcome(code, message, Phase.OBSERVE))

    def _finish(self, session: _Session, outcome: Outcome) -> None:
        self._last = f"{outcome.code.name} in {outcome.phase}: {outcome.message}"
        self.get_logger().info(self._last)
        session.handle.execute(lambda handle: self._result(handle, outcome))

    def _result(
        self, handle: ServerGoalHandle, outcome: Outcome | None = None
    ) -> GraspAtKeypoint.Result:
        if outcome is None:  # nobody executes a goal without one
            outcome = Outcome(GraspCode.INTERNAL, "executed without an outcome", Phase.IDLE)
        if outcome.code == GraspCode.SUCCESS:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return messages.result_to_message(outcome, self._header())

    # -- reports -------------------------------------------------------------------------------

    def _report_grasp(self) -> Report:
        state = self._runner.state
        running = self._session is not None and state is not None
        phase = str(state.phase) if running and state is not None else str(Phase.IDLE)
        level = Level.WARN if self._emergency else Level.OK
        message = "emergency stop is on" if self._emergency else phase
        return Report(level, message, {"phase": phase, "last": self._last})

    def _report_controllers(self) -> Report:
        ports = {"arm": self._arm, "gripper": self._gripper}
        missing = [name for name, port in ports.items() if not port.available()]
        if missing:
            return Report(Level.ERROR, f"no action server of the {' and the '.join(missing)}")
        return Report()

    def _header(self) -> Header:
        now = int(self.get_clock().now().nanoseconds)
        return conversions.header(now, self._robot.base_frame)


def main() -> int:
    return run_node(GraspServerNode)
