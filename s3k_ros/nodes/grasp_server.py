"""`grasp_server`: grasps, places and releases over an arm, a gripper and 3D keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType
from std_msgs.msg import Bool, String
from visualization_msgs.msg import MarkerArray

from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.arm.world import Scene, load_scene
from s3k_ros.grasp.codes import Phase
from s3k_ros.grasp.executor import GraspExecutor, Ports
from s3k_ros.grasp.goal import GraspGoal
from s3k_ros.grasp.planning.place_planner import Plan
from s3k_ros.grasp.planning.planner import GraspPlanner
from s3k_ros.grasp.planning.task_planner import TaskPlanner
from s3k_ros.grasp.planning.worker import ThreadedPlanner
from s3k_ros.grasp.ports import Journal, NoJournal
from s3k_ros.params.admittance import ToolLoadParameters
from s3k_ros.params.grasp import GraspParameters, GraspServerParameters, RobotParameters
from s3k_ros.params.moveit import MoveItParameters
from s3k_ros.ros import qos
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
from s3k_ros.ros.plan_markers import plan_markers
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.task_server import TaskServer

if TYPE_CHECKING:
    from s3k_ros.goal_logs.journal import GoalJournal

_SHIPPED_ROBOT = "config/robots/sawyer_2f85.urdf"


class GraspServerNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("grasp_server")
        self._params = self.declare(GraspServerParameters)
        self.grasp = self.declare(GraspParameters, "grasp", on_change=self._on_grasp)
        self.robot = self.declare(RobotParameters, "robot", on_change=self._on_robot)
        self._tool = self.declare(ToolLoadParameters, "wrench")
        self._make_ports()
        self._planner: ThreadedPlanner | None = None
        self._log: GoalJournal | None = None
        self.runner = self._make_executor()
        self._changed = False
        self._make_server()

    def close(self) -> None:
        # After a signal the context is gone, and with it the way to the arm: it ends its
        # trajectory, or its own watchdog stops it.
        if self._tasks.running and self.context.ok():
            self._arm.stop()
            self._gripper.stop()
        if self._planner is not None:
            self._planner.close()
        if self._log is not None:
            self._log.close()

    def show(self, plan: Plan) -> None:
        """Publishes a plan: the executor's `PlanView`."""
        state = self.runner.state
        opening = self.grasp.opening_width_m
        if state is not None:
            goal = state.goal
            grasps = isinstance(goal, GraspGoal)
            opening = goal.opening_width_m if grasps else goal.release_width_m
        self._markers.publish(plan_markers(plan, opening, self._tasks.header()))

    def prepare(self) -> None:
        """Changed parameters hold from the next goal on."""
        if self._changed:
            self._changed = False
            self._arm.stamped = self.robot.stamp_trajectories
            self._gripper.robot = self.robot
            grip = self.runner.grip
            try:
                self.runner = self._make_executor()
            except ConfigurationError as error:
                # For instance a home posture that stands in the scene: a running server lives on.
                self.get_logger().error(f"the parameters before the last change hold on: {error}")
                return
            self.runner.grip = grip

    # -- set-up --------------------------------------------------------------------------------

    def _make_ports(self) -> None:
        p, robot = self._params, self.robot
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
            self, self._seconds, p.wrench, p.input_timeout_s, self._on_measured,
            robot.wrench_frame if self._tool.mass_kg > 0.0 else "",
        )  # fmt: skip
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
        robot = self.robot
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
        grasps = GraspPlanner(arm, self.grasp, robot, self._load_scene())
        if self._planner is not None:
            self._planner.close()
        if self._moveit is not None:
            self._moveit.time_s = self.grasp.free_space_time_s
            grasps.motion.free_space = self._moveit
        self._planner = ThreadedPlanner(TaskPlanner(grasps, self.grasp, robot))
        ports = Ports(
            self._seconds, self._arm, self._gripper, self._keypoints, self._joints, self._wrench,
            self._planner, self, self._open_log(urdf), robot_state=self._robot_state,
        )  # fmt: skip
        return GraspExecutor(ports, self.grasp, robot, own, self._tool)

    def _open_log(self, urdf: Path) -> Journal:
        if self._log is not None:
            self._log.close()
        values = {
            "server": self._params, "grasp": self.grasp, "robot": self.robot, "wrench": self._tool,
            "urdf": urdf.read_text(encoding="utf-8"),
        }  # fmt: skip
        self._log = open_log(self, self._params, self.robot, values)
        return NoJournal() if self._log is None else self._log

    def _load_scene(self) -> Scene:
        if not self._params.scene:
            return Scene()
        return load_scene(find_file(self._params.scene), self.robot.base_frame, load_rig)

    def _make_server(self) -> None:
        self.diagnostics.add("grasp", self._report_grasp)
        self.diagnostics.add("controllers", self._report_controllers)
        self.listen(Bool, "emergency_stop", self._on_emergency_stop, qos.keypoints())
        self._tasks = TaskServer(self, self, self._seconds, self._params)
        # Not on the node's clock: one that goes back would hold the ticks until it has caught up.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / self._params.tick_rate_hz, self._tasks.tick, clock=steady)

    def _on_grasp(self, values: GraspParameters) -> None:
        self.grasp, self._changed = values, True

    def _on_robot(self, values: RobotParameters) -> None:
        self.robot, self._changed = values, True

    # -- messages ------------------------------------------------------------------------------

    def _on_emergency_stop(self, message: Bool) -> None:
        self._tasks.emergency_stop(message.data)

    def _on_measured(self) -> None:
        """Joint states or a wrench came: gates act now, not at the next tick."""
        if self.runner.guarded:
            self.runner.guard()

    def _on_robot_state(self) -> None:
        if self.runner.busy:
            self.runner.guard()

    # -- reports -------------------------------------------------------------------------------

    def _report_grasp(self) -> Report:
        state = self.runner.state
        running = self._tasks.running and state is not None
        phase = str(state.phase) if running and state is not None else str(Phase.IDLE)
        level = Level.WARN if self._tasks.emergency else Level.OK
        message = "emergency stop is on" if self._tasks.emergency else phase
        return Report(level, message, {"phase": phase, "last": self._tasks.last})

    def _report_controllers(self) -> Report:
        ports = {"arm": self._arm, "gripper": self._gripper}
        missing = [name for name, port in ports.items() if not port.available()]
        if missing:
            return Report(Level.ERROR, f"no action server of the {' and the '.join(missing)}")
        return Report()


def main() -> int:
    return run_node(GraspServerNode)
