"""What the hand is like during a motion: how far its jaws are open, and what it holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
import pinocchio as pin

from s3k_ros.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Hand:
    """The hand as far as it can touch something.

    Attributes:
        opening_m: gap between the jaws; None: as wide as the description draws them.
        held_m: sides of the box around what it holds, along the axes of ``grasp_tcp`` and centred
            there; None: it holds nothing.
    """

    opening_m: float | None = None
    held_m: tuple[float, float, float] | None = None


OPEN_HAND = Hand()


class Jaws:
    """Where the gripper's shapes stand for each position of its joint.

    Followers by ``<mimic>`` move with it. A description whose gripper has no joint of that name
    draws the jaws once and for all: then nothing moves here.

    Args:
        urdf: text of the robot description.
        joints: names of the arm's joints.
        gripper_joint: the joint that drives the jaws.
    """

    def __init__(self, urdf: str, joints: Sequence[str], gripper_joint: str) -> None:
        self._full = pin.buildModelFromXML(urdf)
        self._geometry = pin.buildGeomFromUrdfString(self._full, urdf, pin.GeometryType.COLLISION)
        names = list(self._full.names)[1:]
        self._locked = [self._full.getJointId(name) for name in names if name not in joints]
        self._driven = [
            (self._full.joints[self._full.getJointId(name)].idx_q, factor, offset)
            for name, factor, offset in _followers(urdf, gripper_joint)
            if name in names
        ]
        self._known: dict[int, list[pin.SE3]] = {}

    def placements(self, position: float) -> list[pin.SE3] | None:
        """Placements of all shapes on their joints, in the reduced model's order, or None.

        Args:
            position: rad of the gripper's joint, to the hundredth.
        """
        if not self._driven:
            return None
        key = round(100 * position)
        if key not in self._known:
            q = pin.neutral(self._full)
            for index, factor, offset in self._driven:
                q[index] = factor * key / 100 + offset
            _, geometry = pin.buildReducedModel(self._full, self._geometry, self._locked, q)
            self._known[key] = [shape.placement.copy() for shape in geometry.geometryObjects]
        return self._known[key]


def _followers(urdf: str, joint: str) -> list[tuple[str, float, float]]:
    """The joint itself and those that mimic it: name, factor, offset."""
    found = [(joint, 1.0, 0.0)]
    for element in ElementTree.fromstring(urdf).iter("joint"):
        mimic = element.find("mimic")
        if mimic is not None and mimic.get("joint") == joint:
            try:
                factor, offset = (
                    float(mimic.get(key, default))
                    for key, default in (("multiplier", "1"), ("offset", "0"))
                )
            except ValueError as error:
                raise ConfigurationError(
                    f"robot description: mimic of {element.get('name')!r}: {error}"
                ) from error
            if not np.isfinite([factor, offset]).all():
                raise ConfigurationError(
                    f"robot description: mimic of {element.get('name')!r} must be finite"
                )
            found.append((str(element.get("name")), factor, offset))
    return found
