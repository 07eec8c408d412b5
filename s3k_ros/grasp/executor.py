"""Runs one task at a time: feeds the state machine with what the ports say, and obeys it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.driver import ArmDriver
from s3k_ros.grasp.gatekeeper import Gatekeeper
from s3k_ros.grasp.goal import Goal, GraspGoal, PlaceGoal, Refusal, check_names, resolve
from s3k_ros.grasp.monitors import ContactMonitor, RestMonitor
from s3k_ros.grasp.ports import JointReading, Motion, Ports
from s3k_ros.grasp.tasks.events import (
    Command,
    Event,
    Fault,
    Finish,
    Looked,
    MakePlan,
    MakeRetract,
    Move,
    MoveJaws,
    Outcome,
    ShowPlan,
    StopArm,
    StopJaws,
    Tare,
    Tick,
)
from s3k_ros.grasp.tasks.machine import transition
from s3k_ros.grasp.tasks.state import Grip, Retract, TaskState, WatchingState, begin, progress
from s3k_ros.grasp.tool_weight import ToolWeight, WeighedWrench
from s3k_ros.params.admittance import ToolLoadParameters
from s3k_ros.params.grasp import GraspParameters, RobotParameters

__all__ = ["GraspExecutor", "Ports"]

# These lead away from where the hand came: a way back does not go past their beginning.
_AWAY = (Phase.LIFT, Phase.RETREAT)


class GraspExecutor:
    """The thin shell around the state machine, for grasps, places and releases.

    Call ``tick`` 20 to 50 times a second, and ``guard`` when a message came that a gate looks at.

    Args:
        ports: everything outside.
        grasp, robot: parameters.
        arm: kinematics of its own (not the planner's) for the gates on the hand.
        tool: what hangs on the force sensor, by its calibration; with a mass, and with ``arm``, its
            weight is taken off the forces.
    """

    def __init__(
        self,
        ports: Ports,
        grasp: GraspParameters,
        robot: RobotParameters,
        arm: ArmModel | None = None,
        tool: ToolLoadParameters | None = None,
    ) -> None:
        weighed = False
        if arm is not None and tool is not None and tool.mass_kg > 0.0:
            weighed, weight = True, ToolWeight(arm, robot.wrench_frame, tool)
            wrench = WeighedWrench(ports.wrench, ports.joints, weight)
            ports = dataclasses.replace(ports, wrench=wrench)
        self._ports = ports
        self.grasp = grasp
        self.robot = robot
        self.state: TaskState | None = None
        self.grip = Grip(opening=robot.gripper_opening_m)
        self._rest = RestMonitor(robot.rest_speed_rad_s)
        self._contact = ContactMonitor()
        self._driver = ArmDriver(ports.arm, ports.joints, ports.planner, robot)
        self._gates = Gatekeeper(ports, self._contact, grasp, robot, arm, weighed=weighed)
        self._started = 0.0
        self._seen = 0
        self._named = False
        self._fraction = 0.0
        self._noted = -np.inf

    @property
    def busy(self) -> bool:
        """Whether a task runs."""
        return self.state is not None and self.state.outcome is None

    @property
    def fraction(self) -> float:
        """Progress of the task, 0 to 1; it never goes back."""
        if self.state is not None:
            now = self._ports.clock.now()
            self._fraction = max(self._fraction, progress(self.state, now))
        return self._fraction

    @property
    def motion(self) -> Motion | None:
        """What the arm follows, or followed last; None once it was stopped."""
        return self._driver.motion

    def start(self, goal: Goal) -> Outcome | None:
        """Begins a task, or says why not."""
        resolved: Goal | Refusal = resolve(goal, self.grasp, self.robot)
        if self.busy:
            resolved = Refusal(GraspCode.BUSY, "another task is running")
        now = self._ports.clock.now()
        if isinstance(resolved, Refusal):
            phase = Phase.OBSERVE if isinstance(goal, GraspGoal | PlaceGoal) else Phase.RELEASE
            outcome = Outcome(resolved.code, resolved.message, phase)
            if not self.busy:
                self._ports.journal.record(now, goal)
                self._ports.journal.record(now, outcome)
            return outcome
        if isinstance(resolved, PlaceGoal) and math.isfinite(self.grip.width):
            resolved = dataclasses.replace(resolved, held_width_m=self.grip.width)
        self._ports.journal.record(now, resolved)
        self.state = begin(resolved, now, self.grasp, self.grip)
        self._started, self._seen, self._named = now, self._ports.keypoints.sets, False
        self._fraction = 0.0
        self._driver.reset()
        self._gates.reset()
        return None

    def end(self, code: GraspCode, message: str) -> None:
        """Ends the running task from outside: cancel, preemption, emergency stop."""
        if self.busy:
            self._feed(Fault(code, message))

    @property
    def guarded(self) -> bool:
        """Whether gates are to be asked at every message: the arm moves or may begin to."""
        state = self.state
        return state is not None and state.moved and (state.ending is None or state.arm_busy)

    def guard(self) -> None:
        """Asks the gates alone: a failed one stops the arm now, and the next ticks end the goal."""
        self._protected(self._check_robot)

    def tick(self) -> Outcome | None:
        """Lets the task go on; the outcome when this tick ended it."""
        return self._protected(self._tick)

    def _protected(self, work: Callable[[], Outcome | None]) -> Outcome | None:
        """A defect in here must not leave an arm moving: it stops all and ends as INTERNAL."""
        try:
            return work()
        except Exception as error:
            if self.state is None:
                raise
            self._ports.arm.stop()
            self._ports.gripper.stop()
            message = f"{type(error).__name__}: {error}; arm and gripper were told to stop"
            outcome = Outcome(GraspCode.INTERNAL, message, self.state.phase)
            self.state = dataclasses.replace(self.state, outcome=outcome)
            self.grip = self.grip.after(self.state)
            self._ports.journal.record(self._ports.clock.now(), self.state)
            return outcome

    def _tick(self) -> Outcome | None:
        joints = self._ports.joints.latest()
        if joints is not None:
            self._rest.update(joints)
            self._driver.measured(joints.positions)
        if self.state is None or self.state.outcome is not None:
            return None
        self._note_inputs(joints)
        for step in (self._check_robot, self._poll_devices, self._look):
            step()
            if self.state.outcome is not None:
                return self.state.outcome
        if self._ready():
            self._poll_planner()
            self._feed(self._time(joints))
        return self.state.outcome

    def _note_inputs(self, joints: JointReading | None) -> None:
        """Hands the journal the readings that came since the last time."""
        readings = [r for r in self._ports.wrench.recent() if r.received_at > self._noted]
        if joints is not None and joints.received_at > self._noted:
            self._ports.journal.record(joints.received_at, joints)
        for reading in readings:
            self._ports.journal.record(reading.received_at, reading)
        source = self._ports.robot_state
        robot = None if source is None else source.latest()
        if robot is not None and robot.received_at > self._noted:
            self._ports.journal.record(robot.received_at, robot)
        self._noted = self._ports.clock.now()

    # -- events --------------------------------------------------------------------------------

    def _poll_devices(self) -> None:
        for report in (self._ports.arm.poll(), self._ports.gripper.poll()):
            if report is not None:
                self._feed(report)

    def _check_robot(self) -> None:
        """All gates, in the order in which a cause comes before its effects."""
        state, now = self._running(), self._ports.clock.now()
        if state is None:
            return
        fault = self._gates.always(state, now)
        if fault is None and (state.arm_busy or (state.moved and state.ending is None)):
            fault = self._gates.during(state, now)
        if fault is None:
            return
        if state.ending is None or state.retract != Retract.NONE:
            self._feed(fault)
        if state.ending is not None and self.state is not None:
            self._while_ending(self.state, fault, now)

    def _while_ending(self, state: TaskState, fault: Fault, now: float) -> None:
        if state.ending is None or state.outcome is not None:
            return
        if fault.code == GraspCode.WATCHDOG:  # the proof of rest counts from the new time
            limit = now + self.grasp.stop_timeout_s
            self.state = dataclasses.replace(state, since=now, deadline=limit)
        elif state.ending.code == GraspCode.ARM_ABORTED:
            # The controller ended the motion without a reason, and here is the reason.
            message = f"{fault.message}; {state.ending.message}"
            ending = dataclasses.replace(state.ending, code=fault.code, message=message)
            self.state = dataclasses.replace(state, ending=ending)

    def _look(self) -> None:
        state, source = self._running(), self._ports.keypoints
        if not isinstance(state, WatchingState) or not state.goal.keypoint:
            return
        if not self._named and source.names:
            self._named = True
            refusal = check_names(state.goal, source.object_id, source.names)
            if refusal is not None:
                self._feed(Fault(refusal.code, refusal.message))
                return
        if source.sets == self._seen:
            return
        self._seen = source.sets
        toward = state.goal.toward_keypoint
        self._feed(
            Looked(source.latest(state.goal.keypoint), source.latest(toward) if toward else None)
        )

    def _poll_planner(self) -> None:
        state, request = self._running(), self._driver.request
        result = self._driver.poll(
            self._ports.clock.now(), moving=state is not None and state.arm_busy
        )
        if result is None:
            return
        self._feed(result)
        if self._driver.request is request:
            self._driver.forget()

    def _time(self, joints: JointReading | None) -> Tick:
        now = self._ports.clock.now()
        return Tick(
            at_rest=self._rest.at_rest(now),
            width=None if joints is None else joints.width,
            load=self._contact.load(self._ports.wrench.recent(), now),
            force=self._contact.change(self._ports.wrench.recent()),
        )

    def _ready(self) -> bool:
        """Holds the clock of a task that has not moved until the robot is there, or ends it."""
        state = self._running()
        if state is None or state.moved:
            return True
        now = self._ports.clock.now()
        fault = self._gates.before(state, now)
        if fault is None:
            return True
        if now - self._started > self.grasp.robot_timeout_s:
            self._feed(fault)
        return False

    # -- commands ------------------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        if self.state is None:
            return
        now = self._ports.clock.now()
        self.state, commands = transition(self.state, event, now, self.grasp)
        self._ports.journal.record(now, event)
        self._ports.journal.record(now, self.state)
        for command in commands:
            self._obey(command, now)
            self._ports.journal.record(now, command)
        if self.state is not None and self.state.outcome is not None:
            self.grip = self.grip.after(self.state)

    def _obey(self, command: Command, now: float) -> None:
        match command:
            case MakePlan():
                self._make_plan(command, now)
            case MakeRetract():
                self._driver.plan_retract(command.distance, now)
            case ShowPlan():
                self._ports.view.show(command.plan)
            case Move():
                anew = self.state is not None and self.state.phase in _AWAY
                motion = self._driver.move(command.trajectory, now, anew=anew)
                self._ports.journal.record(motion.start, motion)
            case MoveJaws():
                self._ports.gripper.move(command.width, command.force)
            case StopArm():
                self._driver.stop()
            case StopJaws():
                self._ports.gripper.stop()
            case Tare():
                self._contact.tare(self._ports.wrench.recent(), now)
            case Finish():
                self._driver.forget()

    def _make_plan(self, command: MakePlan, now: float) -> None:
        state = self._running()
        if state is not None:
            goal = command.goal or state.goal
            self._driver.plan(goal, command, now, moving=state.arm_busy)

    def _running(self) -> TaskState | None:
        return self.state if self.busy else None
