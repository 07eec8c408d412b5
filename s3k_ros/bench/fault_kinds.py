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
GRASP = (P.OBSERVE, P.APPROACH, P.ALIGN, P.CLOSE, P.LIFT, P.VERIFY)
PLACE = (P.OBSERVE, P.TRANSFER, P.LOWER, P.RELEASE, P.RETREAT)
Ends = Mapping[Phase, Codes]

SPIKE_N = 300.0
HIT_N = 400.0
BACK_S, LEAP_S = -7.0, 9.0


@dataclasses.dataclass(frozen=True)
class FaultKind:
    """One kind of fault.

    Attributes:
        name: in words.
        inject: lets it happen.
        grasp, place: the codes that a goal may end with, by the phase in which it happens; phases
            that are not named are left out. Places are to a pose: they look at no keypoint.
        prompt: a message tells it at once, so that times to braking and standstill count.
        latest: share of a phase after which it does not happen any more.
    """

    name: str
    inject: Callable[[FaultCell], None]
    grasp: Ends
    place: Ends
    prompt: bool = False
    latest: float = 0.85


def always(*codes: GraspCode) -> tuple[Ends, Ends]:
    """The same ends in every phase of both tasks."""
    ends = frozenset(codes)
    return dict.fromkeys(GRASP, ends), dict.fromkeys(PLACE, ends)


def until(
    phases: tuple[Phase, ...], last: Phase, code: GraspCode, **others: tuple[GraspCode, ...]
) -> Ends:
    """One end up to a phase, SUCCESS afterwards; ``others`` for phases by name."""
    upto = phases.index(last)
    ends = {p: frozenset({code if i <= upto else C.SUCCESS}) for i, p in enumerate(phases)}
    return {**ends, **only(**others)}


def only(**codes: tuple[GraspCode, ...]) -> Ends:
    """Ends of the phases that are named."""
    return {Phase(name): frozenset(found) for name, found in codes.items()}


def silence(code: GraspCode) -> tuple[Ends, Ends]:
    """Ends of a silence: it counts after half a second, when a short last phase may be over."""
    return (
        until(GRASP, P.VERIFY, code, verify=(code, C.SUCCESS)),
        until(PLACE, P.RETREAT, code, retreat=(code, C.SUCCESS)),
    )


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


_UNSEEN = dict.fromkeys(PLACE, frozenset({C.SUCCESS}))

KINDS = (
    FaultKind(
        "perception dies", _perception_dies,
        until(
            GRASP, P.APPROACH, C.LOST, observe=(C.NO_KEYPOINTS, C.STALE), align=(C.LOST, C.SUCCESS)
        ),
        _UNSEEN, latest=0.4,
    ),
    FaultKind(
        "keypoint out of sight", _keypoint_hidden,
        until(GRASP, P.APPROACH, C.LOST, observe=(C.NO_KEYPOINTS,), align=(C.LOST, C.SUCCESS)),
        _UNSEEN, latest=0.4,
    ),
    FaultKind(
        "arm's action server dies", _arm_server_dies, until(GRASP, P.LIFT, C.ARM_UNAVAILABLE),
        until(PLACE, P.RETREAT, C.ARM_UNAVAILABLE),
    ),
    FaultKind("network to the robot cut", _network_cut, *always(C.ROBOT_DISABLED)),
    # Whichever is met first: joint states half a second old, or a motion without a controller.
    FaultKind(
        "gateway dies", _gateway_dies,
        until(
            GRASP, P.LIFT, C.ARM_UNAVAILABLE, observe=(C.ROBOT_NOT_READY,),
            close=(C.ROBOT_NOT_READY, C.ARM_UNAVAILABLE), verify=(C.ROBOT_NOT_READY, C.SUCCESS),
        ),
        until(
            PLACE, P.RETREAT, C.ARM_UNAVAILABLE, observe=(C.ROBOT_NOT_READY,),
            release=(C.ROBOT_NOT_READY, C.ARM_UNAVAILABLE),
        ),
    ),
    FaultKind(
        "gripper's action server dies", _gripper_server_dies,
        until(GRASP, P.CLOSE, C.GRIPPER_UNAVAILABLE),
        until(PLACE, P.RELEASE, C.GRIPPER_UNAVAILABLE),
    ),
    FaultKind(
        "gripper hangs", _gripper_hangs, until(GRASP, P.CLOSE, C.GRIPPER_FAILED),
        until(PLACE, P.RELEASE, C.NOT_RELEASED),
    ),
    FaultKind("cancel", _end(C.CANCELED), *always(C.CANCELED), prompt=True),
    FaultKind("emergency stop", _end(C.EMERGENCY_STOP), *always(C.EMERGENCY_STOP), prompt=True),
    FaultKind("preemption", _end(C.PREEMPTED), *always(C.PREEMPTED), prompt=True),
    FaultKind(
        "robot disabled", lambda cell: cell.simulator.disable_robot(), *always(C.ROBOT_DISABLED),
        prompt=True,
    ),
    FaultKind(
        "robot stopped", lambda cell: cell.simulator.stop_robot(), *always(C.ROBOT_DISABLED),
        prompt=True,
    ),
    FaultKind(
        "robot's own fault", lambda cell: cell.simulator.fail_robot("joint 3: temperature"),
        *always(C.ROBOT_DISABLED), prompt=True,
    ),
    FaultKind("the arm is hit", _hit, *always(C.ROBOT_COLLISION), prompt=True),
    FaultKind(
        "wrench spike", _spike, until(GRASP, P.VERIFY, C.CONTACT_FORCE, observe=(C.SUCCESS,)),
        until(PLACE, P.RETREAT, C.CONTACT_FORCE, observe=(C.SUCCESS,)), prompt=True,
    ),
    FaultKind("wrench dies", _wrench_dies, *silence(C.NO_WRENCH)),
    FaultKind("wrench freezes", _wrench_freezes, *silence(C.NO_WRENCH)),
    FaultKind("wrench not finite", _wrench_nonsense, *always(C.NO_WRENCH), prompt=True),
    FaultKind("joint states die", _joints_die, *silence(C.ROBOT_NOT_READY)),
    FaultKind("robot state dies", _state_dies, *silence(C.ROBOT_DISABLED)),
    FaultKind(
        "object slips", _block_gone,
        only(close=(C.MISSED,), lift=(C.SLIPPED,), verify=(C.SLIPPED,)),
        only(observe=(C.NOTHING_HELD, C.DROPPED), transfer=(C.DROPPED,), lower=(C.DROPPED,)),
        latest=0.5,
    ),
    FaultKind(
        "controller aborts", _path_aborted,
        only(approach=(C.ARM_ABORTED,), align=(C.ARM_ABORTED,), lift=(C.ARM_ABORTED,)),
        only(transfer=(C.ARM_ABORTED,), lower=(C.ARM_ABORTED,), retreat=(C.ARM_ABORTED,)),
        prompt=True,
    ),
    FaultKind(
        "arm rejects trajectories", _arm_rejects, until(GRASP, P.CLOSE, C.ARM_ABORTED),
        until(PLACE, P.RELEASE, C.ARM_ABORTED),
    ),
    FaultKind("clock goes back", _clock(BACK_S), *always(C.WATCHDOG), prompt=True),
    FaultKind("clock leaps", _clock(LEAP_S), *always(C.WATCHDOG), prompt=True),
    FaultKind("same goal again, twice", _again, *always(C.SUCCESS)),
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
