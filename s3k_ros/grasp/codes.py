"""Result codes, verdicts and phases of a grasp: the constants of GraspAtKeypoint."""

from __future__ import annotations

import enum


class GraspCode(enum.IntEnum):
    """Why a grasp ended; equal to the constants in ``action/GraspAtKeypoint.action``."""

    SUCCESS = 0
    UNKNOWN_KEYPOINT = 10
    INVALID_GOAL = 11
    BUSY = 12
    NO_KEYPOINTS = 20
    STALE = 21
    LOW_CONFIDENCE = 22
    TOO_UNCERTAIN = 23
    LOST = 24
    UNREACHABLE = 30
    IN_COLLISION = 31
    OUTSIDE_WORKSPACE = 32
    ARM_UNAVAILABLE = 40
    ARM_ABORTED = 41
    GRIPPER_UNAVAILABLE = 42
    GRIPPER_FAILED = 43
    MISSED = 44
    SLIPPED = 45
    ROBOT_NOT_READY = 50
    EMERGENCY_STOP = 51
    CONTACT_FORCE = 52
    WATCHDOG = 53
    ROBOT_DISABLED = 54
    ROBOT_COLLISION = 55
    NO_WRENCH = 56
    TOO_FAST = 57
    CANCELED = 60
    PREEMPTED = 61
    NOTHING_HELD = 70
    DROPPED = 71
    NOT_RELEASED = 72
    INTERNAL = 255


class Holding(enum.IntEnum):
    """Whether the jaws hold something at the end."""

    UNKNOWN = 0
    NOT_HOLDING = 1
    HOLDING = 2


class KeypointStatus(enum.IntEnum):
    """Status of one keypoint; equal to the constants in ``msg/Keypoint3D.msg``."""

    OK = 0
    PREDICTED = 1
    TOO_FEW_VIEWS = 2
    LOW_CONFIDENCE = 3
    INCONSISTENT = 4


class Phase(enum.StrEnum):
    """The phases: of a grasp in order, then those that a place and a release add."""

    IDLE = "idle"
    OBSERVE = "observe"
    APPROACH = "approach"
    ALIGN = "align"
    CLOSE = "close"
    LIFT = "lift"
    VERIFY = "verify"
    TRANSFER = "transfer"
    LOWER = "lower"
    RELEASE = "release"
    RETREAT = "retreat"
