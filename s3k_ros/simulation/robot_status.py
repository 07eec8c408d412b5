"""What the simulated robot says of itself, as its own safety controller would decide it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class RobotStatus:
    """Whether the robot may move.

    Attributes:
        enabled: motors are on.
        stopped: it was stopped and not reset.
        error: a fault that a reset clears.
        collision: its collision detection has tripped; a reset clears it.
        reason: for people; empty when it may move.
    """

    enabled: bool = True
    stopped: bool = False
    error: bool = False
    collision: bool = False
    reason: str = ""

    @property
    def ready(self) -> bool:
        """Whether it may move."""
        return self.enabled and not (self.stopped or self.error or self.collision)


READY = RobotStatus()


def stopped(status: RobotStatus) -> RobotStatus:
    """Stop pressed: the motors are off until it is reset and enabled."""
    return dataclasses.replace(status, enabled=False, stopped=True, reason="the robot was stopped")


def disabled(status: RobotStatus) -> RobotStatus:
    """Motors switched off."""
    return dataclasses.replace(status, enabled=False, reason="the robot is disabled")


def failed(status: RobotStatus, reason: str) -> RobotStatus:
    """A fault of the robot itself."""
    return dataclasses.replace(status, enabled=False, error=True, reason=reason)


def collided(status: RobotStatus, force_n: float) -> RobotStatus:
    """The collision detection has tripped; the motors stay on and hold."""
    reason = f"collision: {force_n:.0f} N on the arm"
    return dataclasses.replace(status, collision=True, reason=reason)


def reset(status: RobotStatus) -> RobotStatus:
    """Clears stop, fault and collision; motors that are off stay off."""
    reason = "" if status.enabled else "the robot is disabled"
    return RobotStatus(enabled=status.enabled, reason=reason)


def enabled(status: RobotStatus) -> RobotStatus:
    """Motors on; nothing changes while a stop, fault or collision waits for a reset."""
    if status.stopped or status.error or status.collision:
        return status
    return READY
