"""Runs one grasp at a time: feeds the state machine with what the ports say, and obeys it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.events import (
    Command,
    Event,
    Fault,
    Finish,
    Looked,
    MakePlan,
    Move,
    MoveJaws,
    Outcome,
    Planned,
    ShowPlan,
    StopArm,
    StopJaws,
    Tare,
    Tick,
)
from s3k_ros.grasp.goal import GraspGoal, Refusal, check_names, resolve
from s3k_ros.grasp.kinematics import ArmModel
from s3k_ros.grasp.machine import transition
from s3k_ros.grasp.monitors import ContactMonitor, RestMonitor
from s3k_ros.grasp.planner import ArmState
from s3k_ros.grasp.ports import (
    ArmPort,
    Clock,
    GripperPort,
    JointReading,
    JointStateSource,
    Journal,
    KeypointSource,
    Motion,
    NoJournal,
    PlannerPort,
    PlanView,
    RobotStateSource,
    WrenchSource,
)
from s3k_ros.grasp.safety import SafetyMonitor, refused_by
from s3k_ros.grasp.state import GraspState, begin, progress
from s3k_ros.grasp.trajectory import JointTrajectory
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Array = NDArray[np.float64]

# A measured posture this near the last commanded one is the same posture: plans then start at the
# command, so that a servo's droop does not become a step.
_SAME_POSTURE_RAD = 0.02
_MOVING = (Phase.APPROACH, Phase.ALIGN, Phase.LIFT)


@dataclasses.dataclass(frozen=True)
class Ports:
    """Everything outside that a grasp needs."""

    clock: Clock
    arm: ArmPort
    gripper: GripperPort
    keypoints: KeypointSource
    joints: JointStateSource
    wrench: WrenchSource
    planner: PlannerPort
    view: PlanView
    journal: Journal = dataclasses.field(default_factory=NoJournal)
    robot_state: RobotStateSource | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Request:
    """A plan that was asked for: when, and how the arm gets to where it begins."""

    command: MakePlan
    time: float
    lead: float
    prefix: JointTrajectory | None


class GraspExecutor:
    """The thin shell around the state machine.

    Call ``tick`` 20 to 50 times a second, and ``guard`` when a message came that a gate looks at.

    Args:
        ports: everything outside.
        grasp, robot: parameters.
        arm: kinematics of its own (not the planner's) for the gates on the hand.
    """

    def __init__(
        self,
        ports: Ports,
        grasp: GraspParameters,
        robot: RobotParameters,
        arm: ArmModel | None = None,
    ) -> None:
        self._ports = ports
        self.grasp = grasp
        self.robot = robot
        self.state: GraspState | None = None
        self._rest = RestMonitor(robot.rest_speed_rad_s)
        self._contact = ContactMonitor()
        self._safety = SafetyMonitor(grasp, robot, arm)
        self._motion: Motion | None = None
        self._request: _Request | None = None
        self._commanded: Array | None = None
        self._started = 0.0
        self._seen = 0
        self._named = False
        self._fraction = 0.0
        self._noted = -np.inf

    @property
    def busy(self) -> bool:
        """Whether a grasp runs."""
        return self.state is not None and self.state.outcome is None

    @property
    def fraction(self) -> float:
        """Progress of the grasp, 0 to 1; it never goes back."""
        if self.state is not None:
            now = self._ports.clock.now()
            self._fraction = max(self._fraction, progress(self.state, now))
        return self._fraction

    def start(self, goal: GraspGoal) -> Outcome | None:
        """Begins a grasp, or says why not."""
        resolved = resolve(goal, self.grasp, self.robot)
        if self.busy:
            resolved = Refusal(GraspCode.BUSY, "another grasp is running")
        now = self._ports.clock.now()
        if isinstance(resolved, Refusal):
            outcome = Outcome(resolved.code, resolved.message, Phase.OBSERVE)
            if not self.busy:
                self._ports.journal.record(now, goal)
                self._ports.journal.record(now, outcome)
            return outcome
        self._ports.journal.record(now, resolved)
        self.state = begin(resolved, now, self.grasp)
        self._started, self._seen, self._named = now, self._ports.keypoints.sets, False
        self._motion, self._request, self._fraction = None, None, 0.0
        self._safety.reset()
        return None

    def end(self, code: GraspCode, message: str) -> None:
        """Ends the running grasp from outside: cancel, preemption, emergency stop."""
        if self.busy:
            self._feed(Fault(code, message))

    @property
    def guarded(self) -> bool:
        """Whether gates are to be asked at every message: the arm moves or may begin to."""
        return self.state is not None and self.state.moved and self.state.ending is None

    def guard(self) -> None:
        """Asks the gates alone: a failed one stops the arm now, and the next ticks end the goal."""
        self._protected(self._check_robot)

    def tick(self) -> Outcome | None:
        """Lets the grasp go on; the outcome when this tick ended it."""
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
            self._ports.journal.record(self._ports.clock.now(), self.state)
            return outcome

    def _tick(self) -> Outcome | None:
        joints = self._ports.joints.latest()
        if joints is not None:
            self._rest.update(joints)
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
        fault = self._safety.clock(now) or self._refused_by_robot(state)
        if state.ending is not None:
            self._while_ending(state, fault, now)
            return
        if fault is None and state.moved:
            fault = self._failed_gate(state, now)
        if fault is not None:
            self._feed(fault)

    def _refused_by_robot(self, state: GraspState) -> Fault | None:
        """What the robot says already ends a goal that observes; its silence may end yet."""
        source = self._ports.robot_state
        return None if source is None or state.goal.dry_run else refused_by(source.latest())

    def _while_ending(self, state: GraspState, fault: Fault | None, now: float) -> None:
        if fault is None or state.ending is None:
            return
        if fault.code == GraspCode.WATCHDOG:  # the proof of rest counts from the new time
            limit = now + self.grasp.stop_timeout_s
            self.state = dataclasses.replace(state, since=now, deadline=limit)
        elif state.ending.code == GraspCode.ARM_ABORTED:
            # The controller ended the motion without a reason, and here is the reason.
            message = f"{fault.message}; {state.ending.message}"
            ending = dataclasses.replace(state.ending, code=fault.code, message=message)
            self.state = dataclasses.replace(state, ending=ending)

    def _silent(self, state: GraspState, now: float) -> Fault | None:
        """What must be heard before anything moves and while it moves."""
        fault = self._stale_joints(now)
        if state.goal.dry_run:
            return fault
        if fault is None and self._ports.robot_state is not None:
            fault = self._safety.robot(self._ports.robot_state.latest(), now)
        return fault or self._safety.wrench(self._ports.wrench.recent(), now)

    def _failed_gate(self, state: GraspState, now: float) -> Fault | None:
        fault = self._silent(state, now)
        if fault is None and state.arm_busy and not self._ports.arm.available():
            fault = Fault(GraspCode.ARM_UNAVAILABLE, "the arm's controller vanished")
        if fault is None and state.jaws.busy and not self._ports.gripper.available():
            fault = Fault(GraspCode.GRIPPER_UNAVAILABLE, "the gripper's controller vanished")
        if fault is None and state.phase in _MOVING:
            fault = self._touched(state)
        joints = self._ports.joints.latest()
        if fault is None and state.arm_busy and joints is not None:
            fault = self._safety.motion(joints)
        return fault

    def _look(self) -> None:
        state, source = self._running(), self._ports.keypoints
        if state is None:
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
        request, result = self._request, self._ports.planner.poll()
        if request is None or result is None:
            return
        late = self._ports.clock.now() - request.time > request.lead
        if isinstance(result, Planned) and request.prefix is not None and late:
            # The arm has passed the point where the plan begins: plan again with more time.
            self._make_plan(request.command, 2.0 * request.lead)
            return
        self._feed(result)
        if self._request is request:
            self._request = None

    def _time(self, joints: JointReading | None) -> Tick:
        now = self._ports.clock.now()
        return Tick(
            at_rest=self._rest.at_rest(now),
            width=None if joints is None else joints.width,
            load=self._contact.load(self._ports.wrench.recent(), now),
        )

    def _ready(self) -> bool:
        """Holds the clock of a grasp that observes until the robot is there, or ends it."""
        state = self._running()
        if state is None or state.moved:
            return True
        now = self._ports.clock.now()
        fault = self._silent(state, now) or self._missing_controller(state)
        if fault is None:
            return True
        if now - self._started > self.grasp.robot_timeout_s:
            self._feed(fault)
        return False

    def _missing_controller(self, state: GraspState) -> Fault | None:
        if state.goal.dry_run:
            return None
        if not self._ports.arm.available():
            return Fault(GraspCode.ARM_UNAVAILABLE, "the arm's controller is not there")
        if not self._ports.gripper.available():
            return Fault(GraspCode.GRIPPER_UNAVAILABLE, "the gripper's controller is not there")
        return None

    def _stale_joints(self, now: float) -> Fault | None:
        joints = self._ports.joints.latest()
        if joints is None:
            return Fault(GraspCode.ROBOT_NOT_READY, "no joint states arrive")
        age = now - joints.received_at
        if age <= self.grasp.joint_state_max_age_s:
            return None
        return Fault(GraspCode.ROBOT_NOT_READY, f"joint states are {age:.2f} s old")

    def _touched(self, state: GraspState) -> Fault | None:
        change = self._contact.change(self._ports.wrench.recent())
        limit = state.goal.contact_force_limit_n
        if state.phase == Phase.APPROACH:
            # The hand turns, and its weight turns in the sensor's frame.
            limit += 2.0 * self.robot.tool_weight_n
        if change is None or change <= limit:
            return None
        return Fault(
            GraspCode.CONTACT_FORCE, f"force changed by {change:.0f} N, limit {limit:.0f} N"
        )

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

    def _obey(self, command: Command, now: float) -> None:
        match command:
            case MakePlan():
                self._make_plan(command, self.robot.correction_lead_s)
            case ShowPlan():
                self._ports.view.show(command.plan)
            case Move():
                self._move(command.trajectory, now)
            case MoveJaws():
                self._ports.gripper.move(command.width, command.force)
            case StopArm():
                self._motion, self._commanded = None, None
                self._ports.arm.stop()
            case StopJaws():
                self._ports.gripper.stop()
            case Tare():
                self._contact.tare(self._ports.wrench.recent(), now)
            case Finish():
                self._request = None

    def _make_plan(self, command: MakePlan, lead: float) -> None:
        state, now = self._running(), self._ports.clock.now()
        if state is None:
            return
        prefix = None
        if state.arm_busy and self._motion is not None:
            elapsed = now - self._motion.start
            prefix = self._motion.trajectory.between(elapsed, elapsed + lead)
            start = ArmState(*self._motion.trajectory.sample(elapsed + lead))
        else:
            start = ArmState.at_rest(self._posture())
        self._request = _Request(command, now, lead, prefix)
        self._ports.planner.submit(state.goal, command.target, start, command.correction)

    def _posture(self) -> Array:
        joints = self._ports.joints.latest()
        if joints is None:
            return np.array(self.robot.home_rad)
        near = self._commanded is not None and bool(
            np.abs(joints.positions - self._commanded).max() < _SAME_POSTURE_RAD
        )
        return self._commanded if near and self._commanded is not None else joints.positions

    def _move(self, trajectory: JointTrajectory, now: float) -> None:
        start = now
        if self._request is not None and self._request.prefix is not None:
            trajectory = self._request.prefix.then(trajectory)
            start = self._request.time
        self._motion = Motion(trajectory, start)
        self._ports.journal.record(start, self._motion)
        self._commanded = trajectory.end
        self._ports.arm.start(trajectory, start)

    def _running(self) -> GraspState | None:
        return self.state if self.busy else None
