"""Joint velocities to the robot, with a watchdog.

For tests and for slow control only: rosbridge's JSON does not suit 100 Hz, and what it adds in
delay nobody bounds. A controller that needs more runs beside the robot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from s3k_ros.ros.sawyer import JOINT_COMMAND

# intera_core_msgs/JointCommand
_VELOCITY_MODE = 2
# Zeros that follow the last command: one alone might be throttled or lost on the way.
_ZEROS = 5


class VelocityForwarder:
    """Sends the newest velocities at a limited rate, and zeros when they stop.

    Args:
        joints: of the arm, in the commands' order.
        rate_hz: highest rate of messages.
        timeout_s: velocities older than this are not sent any more.
        publish: sends a message on a topic of the ROS 1 side; False when it could not.

    Attributes:
        refused: commands that were not forwarded.
        reason: why not, for the newest of them.
    """

    def __init__(
        self,
        joints: Sequence[str],
        rate_hz: float,
        timeout_s: float,
        publish: Callable[[str, dict[str, Any]], bool],
    ) -> None:
        self._joints = list(joints)
        self._period_s = 1.0 / rate_hz
        self._timeout_s = timeout_s
        self._publish = publish
        self._newest: list[float] = []
        self._received_at = self._sent_at = -math.inf
        self._zeros = 0
        self.refused, self.reason = 0, ""

    @property
    def active(self) -> bool:
        """Whether velocities are being sent, the zeros at the end included."""
        return bool(self._newest) or self._zeros > 0

    def take(self, velocities: Sequence[float], now: float, obstacle: str) -> None:
        """A command in rad/s.

        Args:
            velocities: one a joint.
            now: s, monotonic.
            obstacle: why the arm may not move; empty when it may.
        """
        if not obstacle and len(velocities) != len(self._joints):
            obstacle = f"{len(velocities)} velocities for {len(self._joints)} joints"
        elif not obstacle and not all(map(math.isfinite, velocities)):
            obstacle = "velocities that are not finite"
        if obstacle:
            self.refused, self.reason = self.refused + 1, obstacle
            self.end(now)
            return
        self._newest, self._received_at = list(map(float, velocities)), now
        self.tick(now)

    def end(self, now: float) -> None:
        """Zeros from now on, and then nothing."""
        if self._newest:
            self._newest, self._zeros, self._sent_at = [], _ZEROS, -math.inf
            self.tick(now)

    def tick(self, now: float) -> None:
        """Sends what is due; called at least as often as messages shall go out."""
        if self._newest and now - self._received_at > self._timeout_s:
            self.end(now)
            return
        # Half a period early is nearer than a whole tick late.
        if not self.active or now - self._sent_at < 0.9 * self._period_s:
            return
        self._sent_at = now
        if not self._newest:
            self._zeros -= 1
        self._publish(
            JOINT_COMMAND,
            # The header is left to rosbridge, which stamps it with the robot's clock.
            {
                "mode": _VELOCITY_MODE,
                "names": self._joints,
                "position": [],
                "velocity": self._newest or [0.0] * len(self._joints),
                "acceleration": [],
                "effort": [],
            },
        )
