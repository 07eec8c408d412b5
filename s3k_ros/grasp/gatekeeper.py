"""Which gates hold for a task in which state, and in which order they are asked."""

from __future__ import annotations

from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.monitors import ContactMonitor
from s3k_ros.grasp.ports import Ports
from s3k_ros.grasp.safety import SafetyMonitor, refused_by
from s3k_ros.grasp.tasks.core import contact_limit
from s3k_ros.grasp.tasks.events import Fault
from s3k_ros.grasp.tasks.state import TaskState
from s3k_ros.params.grasp import GraspParameters, RobotParameters


class Gatekeeper:
    """Asks the gates over the ports.

    Args:
        ports: where measurements come from.
        contact: the force at the wrist, tared by whoever moves the arm.
        grasp, robot: parameters.
        arm: kinematics for the gates on the hand; None leaves them out.
        weighed: whether the tool's weight is taken off the forces.
    """

    def __init__(
        self,
        ports: Ports,
        contact: ContactMonitor,
        grasp: GraspParameters,
        robot: RobotParameters,
        arm: ArmModel | None,
        *,
        weighed: bool = False,
    ) -> None:
        self._weighed = weighed
        self._ports, self._contact = ports, contact
        self._grasp, self._robot = grasp, robot
        self._safety = SafetyMonitor(grasp, robot, arm)

    def reset(self) -> None:
        """A new task begins."""
        self._safety.reset()

    def always(self, state: TaskState, now: float) -> Fault | None:
        """What ends a task at any time: the clock, and what the robot says.

        What the robot says ends also a task that has not moved yet; its silence may end by then.
        """
        fault, source = self._safety.clock(now), self._ports.robot_state
        if fault is not None or source is None or state.goal.dry_run:
            return fault
        return refused_by(source.latest())

    def before(self, state: TaskState, now: float) -> Fault | None:
        """What must be there before anything moves."""
        fault = self._silent(state, now)
        if fault is not None or state.goal.dry_run:
            return fault
        if not self._ports.arm.available():
            return Fault(GraspCode.ARM_UNAVAILABLE, "the arm's controller is not there")
        if not self._ports.gripper.available():
            return Fault(GraspCode.GRIPPER_UNAVAILABLE, "the gripper's controller is not there")
        return None

    def during(self, state: TaskState, now: float) -> Fault | None:
        """What must hold once something moves."""
        fault = self._silent(state, now)
        if fault is None and state.arm_busy and not self._ports.arm.available():
            fault = Fault(GraspCode.ARM_UNAVAILABLE, "the arm's controller vanished")
        if fault is None and state.jaws.busy and not self._ports.gripper.available():
            fault = Fault(GraspCode.GRIPPER_UNAVAILABLE, "the gripper's controller vanished")
        if fault is None:
            fault = self._touched(state)
        joints = self._ports.joints.latest()
        if fault is None and state.arm_busy and joints is not None:
            fault = self._safety.motion(joints)
        return fault

    def _silent(self, state: TaskState, now: float) -> Fault | None:
        fault = self._stale_joints(now)
        if state.goal.dry_run:
            return fault
        if fault is None and self._ports.robot_state is not None:
            fault = self._safety.robot(self._ports.robot_state.latest(), now)
        return fault or self._safety.wrench(self._ports.wrench.recent(), now)

    def _stale_joints(self, now: float) -> Fault | None:
        joints = self._ports.joints.latest()
        if joints is None:
            return Fault(GraspCode.ROBOT_NOT_READY, "no joint states arrive")
        age = now - joints.received_at
        if age <= self._grasp.joint_state_max_age_s:
            return None
        return Fault(GraspCode.ROBOT_NOT_READY, f"joint states are {age:.2f} s old")

    def _touched(self, state: TaskState) -> Fault | None:
        change = self._contact.change(self._ports.wrench.recent())
        limit = contact_limit(state, self._robot, weighed=self._weighed)
        if change is None or change <= limit:
            return None
        text = f"force changed by {change:.0f} N, limit {limit:.0f} N"
        return Fault(GraspCode.CONTACT_FORCE, text)
