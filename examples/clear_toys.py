"""Clears three toys into a bin, one after the other, with the cell's public actions alone.

    ros2 launch s3k_ros clear_toys.launch.xml sim:=true
    python examples/clear_toys.py

Each toy has a model of its own. The perception runs one of them at a time, and goes over to the
next by its service `load_model`: a cell whose computer runs three at once has no need of that.
What may go wrong is answered by code: another keypoint where one is hidden or out of reach,
another try where the grip failed, the end of all where a person is needed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable

from s3k_ros.client import Cell, GraspCode, Progress, TaskResult
from s3k_ros.errors import S3kError


@dataclasses.dataclass(frozen=True)
class Toy:
    """What to clear.

    Attributes:
        object_id: as the model says.
        model: its file, as in the package's share folder.
        grips: keypoint and toward, the best first.
        offset: m, base frame, from the keypoint to where the fingers go.
        spot: m, base frame, where in the bin its middle belongs.
        limp: it hangs straight below the fingers, a stiff one stays as it was gripped.
    """

    object_id: str
    model: str
    grips: tuple[tuple[str, str], ...]
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spot: tuple[float, float] = (0.0, 0.0)
    limp: bool = False


# The stiff ones first: a fox that lies in the bin already would turn them away.
TOYS = (
    Toy(
        "box",
        "models/cell_box.onnx",
        (("corner_a", "corner_b"), ("corner_b", "corner_a")),
        spot=(0.0, -0.06),
    ),
    Toy(
        "toy_boot",
        "models/cell_boot.onnx",
        (("tongue", "heel"),),
        offset=(0.0, 0.0, -0.02),
        spot=(0.0, 0.04),
    ),
    Toy(
        "plush_fox",
        "models/plush_fox.onnx",
        (("right_front_paw", "body"), ("left_front_paw", "body"), ("tail", "body")),
        limp=True,
    ),
)
# Base frame, m: over the middle of the bin's floor. The toy hangs below the fingers, so the hand
# goes down until it touches, and no further than this.
BIN = (0.56, 0.54, -0.02)
# m: so high above grasp and bin that a toy which hangs by its paw clears the bin's walls.
LIFT, OVER_THE_BIN = 0.25, 0.25
TRIES = 3
# These ask for a person: the next toy would fare no better.
SERIOUS = {
    GraspCode.EMERGENCY_STOP, GraspCode.ROBOT_DISABLED, GraspCode.ROBOT_COLLISION,
    GraspCode.ROBOT_NOT_READY, GraspCode.NO_WRENCH, GraspCode.ARM_UNAVAILABLE,
    GraspCode.GRIPPER_UNAVAILABLE, GraspCode.NOT_RELEASED, GraspCode.INTERNAL,
}  # fmt: skip


class SeriousError(Exception):
    """Somebody has to look at the cell."""


def clear(cell: Cell, toys: Iterable[Toy], bin_position: tuple[float, float, float]) -> list[str]:
    """Clears the toys; gives the object_ids of those that lie in the bin.

    Raises:
        SeriousError: a result that asks for a person.
    """
    cleared = []
    for toy in toys:
        print(f"{toy.object_id}: loading {toy.model}")
        cell.load_model(toy.model)
        if any(carry(cell, toy, number, bin_position) for number in range(TRIES)):
            cleared.append(toy.object_id)
        else:
            print(f"{toy.object_id}: given up after {TRIES} tries")
    return cleared


def carry(cell: Cell, toy: Toy, number: int, bin_position: tuple[float, float, float]) -> bool:
    """One try: grasp at the first keypoint that can be, and put it into the bin."""
    aside = grip(cell, toy, number)
    if aside is None:
        return False
    x, y, z = bin_position
    placed = told(
        toy,
        cell.place(
            (x + toy.spot[0] - aside[0], y + toy.spot[1] - aside[1], z),
            approach_distance_m=OVER_THE_BIN,
            until_contact=True,
            on_progress=Phases(),
        ),
    )
    if placed:
        return True
    # Still in the jaws, and no way to the bin: do not carry it about.
    if placed.held:
        told(toy, cell.release())
    return False


def grip(cell: Cell, toy: Toy, number: int) -> tuple[float, float] | None:
    """Grasps; later tries begin with another keypoint.

    Returns:
        How far the toy's middle hangs aside from the fingers, m in x and y; None without a grip.
    """
    turn = number % len(toy.grips)
    for keypoint, toward in toy.grips[turn:] + toy.grips[:turn]:
        print(f"{toy.object_id}: grasping at {keypoint}")
        aside = middle_from(cell, keypoint)
        result = told(
            toy,
            cell.grasp(
                keypoint,
                toward,
                object_id=toy.object_id,
                offset=toy.offset,
                lift_height_m=LIFT,
                on_progress=Phases(),
            ),
        )
        if result.held:
            return (0.0, 0.0) if toy.limp else aside
        if result.code in (GraspCode.MISSED, GraspCode.SLIPPED):
            return None  # it may lie differently now: look again
    return None


def middle_from(cell: Cell, keypoint: str) -> tuple[float, float]:
    """From a keypoint to the middle of all that are seen, m in x and y of the base frame."""
    seen = {name: found.position for name, found in cell.keypoints().items() if found.valid}
    if keypoint not in seen:
        return 0.0, 0.0
    x, y, _ = sum(seen.values()) / len(seen) - seen[keypoint]
    return float(x), float(y)


def told(toy: Toy, result: TaskResult) -> TaskResult:
    """Prints a result; stops everything on a serious one."""
    print(f"{toy.object_id}: {result}")
    if result.code in SERIOUS:
        raise SeriousError(str(result))
    return result


class Phases:
    """Prints each phase once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, progress: Progress) -> None:
        """Takes progress."""
        if progress.phase != self._last:
            self._last = progress.phase
            print(f"  {progress.phase}")


def main() -> int:
    """Exit code 0 when every toy lies in the bin."""
    parser = argparse.ArgumentParser(description="three toys into a bin")
    parser.add_argument("--bin", type=float, nargs=3, default=BIN, metavar=("X", "Y", "Z"))
    parser.add_argument("--only", nargs="+", metavar="OBJECT_ID", help="of the three")
    args = parser.parse_args()
    toys = [toy for toy in TOYS if not args.only or toy.object_id in args.only]
    try:
        with Cell(timeout_s=60.0) as cell:
            cleared = clear(cell, toys, tuple(args.bin))
    except (SeriousError, S3kError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    print(f"in the bin: {', '.join(cleared) or 'nothing'} ({len(cleared)} of {len(toys)})")
    return 0 if len(cleared) == len(toys) else 1


if __name__ == "__main__":
    sys.exit(main())
