"""One trial of `s3k bench faults`: a task, a fault in it, its end, and the next task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from s3k_ros.bench import fault_kinds
from s3k_ros.bench.fault_cell import FaultCell
from s3k_ros.bench.fault_kinds import FaultKind
from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.events import Outcome
from s3k_ros.grasp.goal import GraspGoal
from s3k_ros.simulation.grasp_cell import TICK_S

GOAL = GraspGoal("middle", toward_keypoint="end")
RISEN_M = 0.1
_LIMIT_S = 40.0
# A robot that cannot be reached ends its own trajectory, which may last this long.
_LONGEST_TRAJECTORY_S = 12.0
_QUIET_S = 0.3
# Seconds that phases without a motion last at least, of which a share passes before the fault.
_WAITS = {Phase.OBSERVE: 0.5, Phase.CLOSE: 0.3, Phase.VERIFY: 0.5}


@dataclasses.dataclass(frozen=True)
class Case:
    """What happens when, and how it may end.

    Attributes:
        number: of the trial; its scene follows from the seed and this.
        kind: index into `fault_kinds.KINDS`.
        phase: in which it happens.
        share: of the phase that has passed then.
        expected: codes that it may end with.
    """

    number: int
    seed: int
    kind: int
    phase: Phase
    share: float
    expected: tuple[GraspCode, ...]

    @property
    def fault(self) -> FaultKind:
        """The kind of fault."""
        return fault_kinds.KINDS[self.kind]


@dataclasses.dataclass
class Report:
    """How a trial went; times in simulated s, NaN where there is none."""

    number: int
    fault: str
    phase: str
    expected: list[str]
    code: str = ""
    message: str = ""
    next_code: str = ""
    brake_s: float = float("nan")
    still_s: float = float("nan")
    end_s: float = float("nan")
    problems: list[str] = dataclasses.field(default_factory=list)


def draw(number: int, seed: int) -> Case:
    """The case of a number: kinds in turn, phase and moment at random."""
    rng = np.random.default_rng([seed, number])
    kind = number % len(fault_kinds.KINDS)
    fault = fault_kinds.KINDS[kind]
    phases = [phase for phase in fault_kinds.PHASES if phase in fault.ends]
    phase = phases[(number // len(fault_kinds.KINDS) + int(rng.integers(6))) % len(phases)]
    share = float(rng.uniform(0.05, fault.latest))
    return Case(number, seed, kind, phase, share, tuple(sorted(fault.ends[phase])))


def run(case: Case, cell: FaultCell) -> Report:
    """Runs a case on a cell."""
    report = Report(case.number, case.fault.name, str(case.phase), [c.name for c in case.expected])
    executor = cell.begin(case.seed + 1000 * case.number)
    cell.goal = GOAL
    cell.doubles.clear()
    refused = executor.start(GOAL)
    if refused is not None or not _drive(cell, lambda: _is_time(cell, case)):
        report.problems.append("the moment of the fault never came")
        return report
    moving = not cell.still and not cell.braking
    injected_at = cell.time
    case.fault.inject(cell)
    watch = _Watch(cell)
    ended = _drive(cell, lambda: not executor.busy, watch)
    outcome = executor.state.outcome if executor.state is not None else None
    if not ended or outcome is None:
        report.problems.append("the goal never ended")
        return report
    report.code, report.message = outcome.code.name, outcome.message
    report.end_s = cell.time - injected_at
    _judge(cell, case, outcome, report)
    _rest(cell, watch, report)
    if moving and case.fault.prompt:
        report.brake_s, report.still_s = watch.braked_at - injected_at, watch.still_at - injected_at
    _next(cell, report)
    return report


class _Watch:
    """When the arm began to brake, and when it stood."""

    def __init__(self, cell: FaultCell) -> None:
        self.braked_at = float("nan")
        self.still_at = cell.time

    def __call__(self, cell: FaultCell) -> None:
        if cell.braking and np.isnan(self.braked_at):
            self.braked_at = cell.time
        if not cell.still:
            self.still_at = cell.time


def _drive(
    cell: FaultCell, done: Callable[[], bool], watch: Callable[[FaultCell], None] | None = None
) -> bool:
    """Steps and ticks until something holds; False when it does not in time."""
    assert cell.executor is not None
    end, ticked = cell.time + _LIMIT_S, -np.inf
    while cell.time < end:
        cell.step()
        if cell.time - ticked >= TICK_S - 1e-9:
            ticked = cell.time
            cell.executor.tick()
        if watch is not None:
            watch(cell)
        if done():
            return True
        if not cell.executor.busy:
            return False
    return False


def _is_time(cell: FaultCell, case: Case) -> bool:
    executor = cell.executor
    assert executor is not None
    state, motion = executor.state, executor.motion
    if state is None or state.phase != case.phase or state.ending is not None:
        return False
    now = cell.clock.now()
    if case.phase in _WAITS:
        return now - state.since >= case.share * _WAITS[case.phase]
    return motion is not None and now - motion.start >= case.share * motion.trajectory.duration


def _judge(cell: FaultCell, case: Case, outcome: Outcome, report: Report) -> None:
    """Code, statements about arm and gripper, and the answers to goals that came twice."""
    if outcome.code not in case.expected:
        report.problems.append(f"ended {outcome.code.name}")
    moved = case.phase != Phase.OBSERVE or outcome.code == GraspCode.SUCCESS
    if moved and "gripper" not in outcome.message:
        report.problems.append("the gripper's state is not stated")
    if "arm at rest" in outcome.message and not cell.still:
        report.problems.append("it says that the arm rests, but it moves")
    lifted = outcome.holding == Holding.HOLDING
    if lifted and outcome.code == GraspCode.SUCCESS and cell.height < RISEN_M:
        report.problems.append("it says that it holds the block, which lies on the table")
    for answer in cell.doubles:
        if answer is None or answer.code != GraspCode.BUSY:
            report.problems.append("a second goal was not BUSY")


def _rest(cell: FaultCell, watch: _Watch, report: Report) -> None:
    """The arm must stand, at the latest when its own trajectory is over, and stay so."""
    end = cell.time + _LONGEST_TRAJECTORY_S
    quiet_since = cell.time
    while cell.time < end and cell.time - quiet_since < _QUIET_S:
        cell.step()
        watch(cell)
        if not cell.still:
            quiet_since = cell.time
    if cell.time - quiet_since < _QUIET_S:
        report.problems.append("the arm does not come to rest")


def _next(cell: FaultCell, report: Report) -> None:
    """All is well again, the jaws are opened, the block lies elsewhere: the next goal works."""
    fault_kinds.heal(cell)
    executor = cell.executor
    assert executor is not None
    cell.gripper.move(cell.robot.gripper_opening_m, cell.grasp.grip_force_n)
    cell.wait(1.0)
    cell.gripper.poll()
    cell.lay_again()
    cell.wait(0.3)
    refused = executor.start(GOAL)
    if refused is None:
        _drive(cell, lambda: not executor.busy)
    state = executor.state
    outcome = refused or (None if state is None else state.outcome)
    if outcome is None:
        report.problems.append("the next goal never ended")
        return
    report.next_code = outcome.code.name
    if outcome.code != GraspCode.SUCCESS or cell.height < RISEN_M:
        report.problems.append(f"the next goal ended {outcome.code.name}: {outcome.message}")
