"""The faults of `s3k bench faults`: what happens, and which ends it may have in which phase.

The ends are written down here, before any run. Several are allowed only where it is a matter of
milliseconds which of two limits is met first, or whether the task is over before a silence counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from s3k_ros.bench.fault_cell import BLOCK, FaultCell
from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.simulation.trajectory_goal import ErrorCode, GoalState

C, P = GraspCode, Phase
Codes = frozenset[GraspCode]
PHASES = (P.OBSERVE, P.APPROACH, P.ALIGN, P.CLOSE, P.LIFT, P.VERIFY)

SPIKE_N = 300.0
HIT_N = 400.0
BACK_S, LEAP_S = -7.0, 9.0


@dataclasses.dataclass(frozen=True)
class FaultKind:
    """One kind of fault.

    Attributes:
        name: in words.
        inject: lets it happen.
        ends: the codes that the goal may end with, by the phase in which it happens; phases that
            are not named are left out.
        prompt: a message tells it at once, so that times to braking and standstill count.
        latest: share of a phase after which it does not happen any more.
    """

    name: str
    inject: Callable[[FaultCell], None]
    ends: Mapping[Phase, Codes]
    prompt: bool = False
    latest: float = 0.85


def always(*codes: GraspCode) -> dict[Phase, Codes]:
    """The same ends in every phase."""
    return {phase: frozenset(codes) for phase in PHASES}


def until(last: Phase, code: GraspCode, **others: tuple[GraspCode, ...]) -> dict[Phase, Codes]:
    """One end up to a phase, SUCCESS afterwards; ``others`` for phases by name."""
    upto = PHASES.index(last)
    ends = {p: frozenset({code if i <= upto else C.SUCCESS}) for i, p in enumerate(PHASES)}
    return {**ends, **{Phase(name): frozenset(codes) for name, codes in others.items()}}


def only(**codes: tuple[GraspCode, ...]) -> dict[Phase, Codes]:
    """Ends of the phases that are named."""
    return {Phase(name): frozenset(found) for name, found in codes.items()}


# -- what happens ----------------------------------------------------------------------------------


def _perception_dies(cell: FaultCell) -> None:
    cell.keypoints.alive = False


def _keypoint_hidden(cell: FaultCell) -> None:
    cell.look.hidden = set(cell.keypoints.names)


def _arm_server_dies(cell: FaultCell) -> None:
    cell.arm.there, cell.arm.cut, cell.arm.fed = False, True, False


def _network_cut(cell: FaultCell) -> None:
    cell.arm.cut, cell.joints.alive = True, False
    cell.robot_state.connected = False


def _gateway_dies(cell: FaultCell) -> None:
    cell.arm.cut, cell.joints.alive, cell.arm.there = True, False, False
    cell.robot_state.alive = False


def _gripper_server_dies(cell: FaultCell) -> None:
    cell.gripper.hang()
    cell.gripper.there = False


def _gripper_hangs(cell: FaultCell) -> None:
    cell.gripper.hang()


def _end(code: GraspCode) -> Callable[[FaultCell], None]:
    def inject(cell: FaultCell) -> None:
        assert cell.executor is not None
        cell.executor.end(code, "told to end by the benchmark")

    return inject


def _hit(cell: FaultCell) -> None:
    body = cell.stage.cell.model.body("sawyer/l4").id
    cell.data.xfrc_applied[body, 2] = HIT_N
    cell.after_step = lambda: cell.data.xfrc_applied.fill(0.0)


def _spike(cell: FaultCell) -> None:
    cell.wrench.added = np.array([0.0, 0.0, SPIKE_N])
    left = [10]

    def count() -> None:
        left[0] -= 1
        if left[0] <= 0:
            cell.wrench.added = np.zeros(3)
            cell.after_step = None

    cell.after_step = count


def _wrench_dies(cell: FaultCell) -> None:
    cell.wrench.alive = False


def _wrench_freezes(cell: FaultCell) -> None:
    cell.wrench.frozen = True


def _wrench_nonsense(cell: FaultCell) -> None:
    cell.wrench.added = np.full(3, np.nan)


def _joints_die(cell: FaultCell) -> None:
    cell.joints.alive = False


def _state_dies(cell: FaultCell) -> None:
    cell.robot_state.alive = False


def _block_gone(cell: FaultCell) -> None:
    joint = cell.data.joint(BLOCK)
    joint.qpos[:3], joint.qvel[:] = (0.7, 0.6, 0.0), 0.0


def _path_aborted(cell: FaultCell) -> None:
    cell.simulator._arm._stop(GoalState.ABORTED, ErrorCode.PATH_TOLERANCE_VIOLATED, "off its path")


def _arm_rejects(cell: FaultCell) -> None:
    cell.arm.rejects = True


def _clock(by: float) -> Callable[[FaultCell], None]:
    def inject(cell: FaultCell) -> None:
        cell.clock.offset += by  # type: ignore[attr-defined]
        cell.keypoints._due = -np.inf  # perception begins anew, as a node with simulated time
        cell.keypoints._coming.clear()

    return inject


def _again(cell: FaultCell) -> None:
    assert cell.executor is not None
    assert cell.goal is not None
    cell.doubles.append(cell.executor.start(cell.goal))
    cell.doubles.append(cell.executor.start(cell.goal))


# The arm stands while the jaws close and while the toy is looked at: what is silent for half a
# second counts then too, but a verify of 0.6 s may be over before.
KINDS = (
    FaultKind(
        "perception dies", _perception_dies,
        until(P.APPROACH, C.LOST, observe=(C.NO_KEYPOINTS, C.STALE), align=(C.LOST, C.SUCCESS)),
        latest=0.4,
    ),
    FaultKind(
        "keypoint out of sight", _keypoint_hidden,
        until(P.APPROACH, C.LOST, observe=(C.NO_KEYPOINTS,), align=(C.LOST, C.SUCCESS)), latest=0.4,
    ),
    FaultKind("arm's action server dies", _arm_server_dies, until(P.LIFT, C.ARM_UNAVAILABLE)),
    FaultKind("network to the robot cut", _network_cut, always(C.ROBOT_DISABLED)),
    FaultKind(
        "gateway dies", _gateway_dies,
        until(
            P.LIFT, C.ARM_UNAVAILABLE, observe=(C.ROBOT_NOT_READY,),
            close=(C.ROBOT_NOT_READY, C.ARM_UNAVAILABLE), verify=(C.ROBOT_NOT_READY, C.SUCCESS),
        ),
    ),
    FaultKind(
        "gripper's action server dies", _gripper_server_dies, until(P.CLOSE, C.GRIPPER_UNAVAILABLE)
    ),
    FaultKind("gripper hangs", _gripper_hangs, until(P.CLOSE, C.GRIPPER_FAILED)),
    FaultKind("cancel", _end(C.CANCELED), always(C.CANCELED), prompt=True),
    FaultKind("emergency stop", _end(C.EMERGENCY_STOP), always(C.EMERGENCY_STOP), prompt=True),
    FaultKind("preemption", _end(C.PREEMPTED), always(C.PREEMPTED), prompt=True),
    FaultKind(
        "robot disabled", lambda cell: cell.simulator.disable_robot(), always(C.ROBOT_DISABLED),
        prompt=True,
    ),
    FaultKind(
        "robot stopped", lambda cell: cell.simulator.stop_robot(), always(C.ROBOT_DISABLED),
        prompt=True,
    ),
    FaultKind(
        "robot's own fault", lambda cell: cell.simulator.fail_robot("joint 3: temperature"),
        always(C.ROBOT_DISABLED), prompt=True,
    ),
    FaultKind("the arm is hit", _hit, always(C.ROBOT_COLLISION), prompt=True),
    FaultKind(
        "wrench spike", _spike,
        only(
            observe=(C.SUCCESS,), approach=(C.CONTACT_FORCE,), align=(C.CONTACT_FORCE,),
            lift=(C.CONTACT_FORCE,),
        ),
        prompt=True,
    ),
    FaultKind(
        "wrench dies", _wrench_dies,
        until(P.LIFT, C.NO_WRENCH, verify=(C.NO_WRENCH, C.SUCCESS)),
    ),
    FaultKind(
        "wrench freezes", _wrench_freezes,
        until(P.LIFT, C.NO_WRENCH, verify=(C.NO_WRENCH, C.SUCCESS)),
    ),
    FaultKind("wrench not finite", _wrench_nonsense, always(C.NO_WRENCH), prompt=True),
    FaultKind(
        "joint states die", _joints_die,
        until(P.LIFT, C.ROBOT_NOT_READY, verify=(C.ROBOT_NOT_READY, C.SUCCESS)),
    ),
    FaultKind(
        "robot state dies", _state_dies,
        until(P.LIFT, C.ROBOT_DISABLED, verify=(C.ROBOT_DISABLED, C.SUCCESS)),
    ),
    FaultKind(
        "object slips", _block_gone,
        only(close=(C.MISSED,), lift=(C.SLIPPED,), verify=(C.SLIPPED,)), latest=0.5,
    ),
    FaultKind(
        "controller aborts", _path_aborted,
        only(approach=(C.ARM_ABORTED,), align=(C.ARM_ABORTED,), lift=(C.ARM_ABORTED,)), prompt=True,
    ),
    FaultKind("arm rejects trajectories", _arm_rejects, until(P.CLOSE, C.ARM_ABORTED)),
    FaultKind("clock goes back", _clock(BACK_S), always(C.WATCHDOG), prompt=True),
    FaultKind("clock leaps", _clock(LEAP_S), always(C.WATCHDOG), prompt=True),
    FaultKind("same goal again, twice", _again, always(C.SUCCESS)),
)  # fmt: skip


def heal(cell: FaultCell) -> None:
    """Undoes whatever was broken; time stays as it is."""
    cell.keypoints.alive = True
    cell.look.hidden = set()
    cell.arm.there = cell.arm.fed = cell.joints.alive = cell.wrench.alive = True
    cell.arm.cut = cell.arm.rejects = cell.wrench.frozen = False
    cell.wrench.added = np.zeros(3)
    cell.gripper.hung, cell.gripper.there = False, True
    cell.robot_state.alive = cell.robot_state.connected = True
    cell.after_step = None
    cell.data.xfrc_applied.fill(0.0)
    cell.simulator.reset_robot()
    cell.simulator.enable_robot()
