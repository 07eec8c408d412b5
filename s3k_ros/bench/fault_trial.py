"""One trial of `s3k bench faults`: a task, a fault in it, its end, and the next task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from s3k_ros.bench import fault_kinds
from s3k_ros.bench.fault_cell import BLOCK, X_M, Y_M, FaultCell
from s3k_ros.bench.fault_kinds import FaultKind
from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.goal import GraspGoal, PlaceGoal
from s3k_ros.grasp.tasks.events import Outcome
from s3k_ros.simulation.grasp_cell import TICK_S

GOAL = GraspGoal("middle", toward_keypoint="end")
RISEN_M = 0.1
_LIMIT_S = 40.0
# A robot that cannot be reached ends its own trajectory, which may last this long.
_LONGEST_TRAJECTORY_S = 12.0
_QUIET_S = 0.3
# A standstill, in distinction to the turning point of a swing.
_STANDS_S = 0.05
# Where a block is put down: over the middle of the table, so high over it (the grasp's own height).
_PLACE_Z_M = -0.128
_PLACED_M = 0.04
# Seconds that phases without a motion last at least, of which a share passes before the fault.
_WAITS = {Phase.OBSERVE: 0.5, Phase.CLOSE: 0.3, Phase.VERIFY: 0.5, Phase.RELEASE: 0.3}
_PLACE_OBSERVES_S = 0.25
# Of five faults of a kind, so many happen during a place.
_PLACES_OF_FIVE = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """What happens when, and how it may end.

    Attributes:
        number: of the trial; its scene follows from the seed and this.
        kind: index into `fault_kinds.KINDS`.
        placing: during a place, after a grasp that went well.
        phase: in which it happens.
        share: of the phase that has passed then.
        expected: codes that it may end with.
    """

    number: int
    seed: int
    kind: int
    placing: bool
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
    task: str
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
    """The case of a number: kinds in turn, task, phase and moment at random."""
    rng = np.random.default_rng([seed, number])
    round_, kind = divmod(number, len(fault_kinds.KINDS))
    fault = fault_kinds.KINDS[kind]
    placing = (round_ + kind) % 5 < _PLACES_OF_FIVE
    ends = fault.place if placing else fault.grasp
    phase = sorted(ends)[int(rng.integers(len(ends)))]
    share = float(rng.uniform(0.05, fault.latest))
    return Case(number, seed, kind, placing, phase, share, tuple(sorted(ends[phase])))


def empty_report(case: Case) -> Report:
    """The report of a case that has not run."""
    names = [code.name for code in case.expected]
    task = "place" if case.placing else "grasp"
    return Report(case.number, task, case.fault.name, str(case.phase), names)


def run(case: Case, cell: FaultCell) -> Report:
    """Runs a case on a cell."""
    report = empty_report(case)
    executor = cell.begin(case.seed + 1000 * case.number)
    if case.placing and not _grasp(cell):
        report.problems.append("the grasp before the place failed")
        return report
    cell.goal = _place_goal(cell) if case.placing else GOAL
    cell.doubles.clear()
    refused = executor.start(cell.goal)
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


def _grasp(cell: FaultCell) -> bool:
    executor = cell.executor
    assert executor is not None
    if executor.start(GOAL) is not None or not _drive(cell, lambda: not executor.busy):
        return False
    state = executor.state
    done = state is not None and state.outcome is not None
    return done and state.outcome.code == GraspCode.SUCCESS and cell.height > RISEN_M  # type: ignore[union-attr]


def _place_goal(cell: FaultCell) -> PlaceGoal:
    x, y = cell.rng.uniform(*X_M), cell.rng.uniform(*Y_M)
    return PlaceGoal(position=(float(x), float(y), _PLACE_Z_M))


class _Watch:
    """When the arm began to brake, and when it stood."""

    def __init__(self, cell: FaultCell) -> None:
        self.braked_at = float("nan")
        self.still_at = cell.time
        self._stood = False

    def __call__(self, cell: FaultCell) -> None:
        if cell.braking and np.isnan(self.braked_at):
            self.braked_at = cell.time
        if self._stood:  # it may be drawn back afterwards
            return
        if not cell.still:
            self.still_at = cell.time
        self._stood = cell.time - self.still_at > _STANDS_S


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
    if case.placing and case.phase == Phase.OBSERVE:
        return now - state.since >= case.share * _PLACE_OBSERVES_S
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
    if case.placing and outcome.code == GraspCode.SUCCESS and not _placed(cell):
        report.problems.append("it says that the block was placed, which lies elsewhere")
    for answer in cell.doubles:
        if answer is None or answer.code != GraspCode.BUSY:
            report.problems.append("a second goal was not BUSY")


def _placed(cell: FaultCell) -> bool:
    goal = cell.goal
    if not isinstance(goal, PlaceGoal):
        return False
    there = cell.data.body(BLOCK).xpos[:2] - np.array(goal.position[:2])
    return bool(np.linalg.norm(there) < _PLACED_M and cell.height < _PLACED_M)


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
