"""`/diagnostics` at 1 Hz (REP-107) and the small helpers that fill it.

A node registers checks; each gives a level, a sentence and values. A change of a check's level is
logged once, so that a fault shows up without anyone watching the topic and never floods the log.
"""

from __future__ import annotations

import dataclasses
import enum
import statistics
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

TOPIC = "/diagnostics"
PERIOD_S = 1.0
# Other nodes may start this much later than we without being reported as silent.
GRACE_S = 8.0
# Figures of a stream describe its last messages, up to this many.
_WINDOW = 50


class Level(enum.Enum):
    """Levels of a diagnostic status, in rising order of trouble."""

    OK = DiagnosticStatus.OK
    WARN = DiagnosticStatus.WARN
    ERROR = DiagnosticStatus.ERROR


@dataclasses.dataclass(frozen=True)
class Report:
    """What one check says: a level, a sentence and values."""

    level: Level = Level.OK
    message: str = "ok"
    values: Mapping[str, object] = dataclasses.field(default_factory=dict)


class Diagnostics:
    """Publishes the reports of a node's checks once a second, by the wall clock.

    The wall clock, because a simulation that stands still must show as stale inputs.

    Args:
        node: the node that reports.

    Attributes:
        instance: identifies this process among nodes of the same name; an older one's sorts first.
    """

    def __init__(self, node: Node) -> None:
        self.instance = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        self._node = node
        self._checks: dict[str, Callable[[], Report]] = {}
        self._levels: dict[str, Level] = {}
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD_S, self.publish, clock=steady)

    def add(self, name: str, check: Callable[[], Report]) -> None:
        """Adds a check; ``name`` is unique within the node."""
        self._checks[name] = check

    def stream(self, name: str, timeout_s: float) -> Stream:
        """Adds the check of an input that should arrive at least every ``timeout_s``."""
        stream = Stream(timeout_s)
        self.add(name, stream.report)
        return stream

    def publish(self) -> None:
        """Runs all checks and publishes what they say."""
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        running = Report(values={"instance": self.instance})
        array.status = [self._status("node", running)]
        for name, check in self._checks.items():
            report = check()
            self._log_change(name, report)
            array.status.append(self._status(name, report))
        self._publisher.publish(array)

    def is_other_instance(self, status: DiagnosticStatus) -> bool:
        """True when a status comes from another node of this node's full name."""
        other = instance_of(status)
        own_name = status.hardware_id == self._node.get_fully_qualified_name()
        return own_name and other is not None and other != self.instance

    def _status(self, name: str, report: Report) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=report.level.value,
            name=f"{self._node.get_name()}: {name}",
            message=report.message,
            hardware_id=self._node.get_fully_qualified_name(),
            values=[KeyValue(key=k, value=_text(v)) for k, v in report.values.items()],
        )

    def _log_change(self, name: str, report: Report) -> None:
        before = self._levels.get(name, Level.OK)
        self._levels[name] = report.level
        if report.level is before:
            return
        logger, text = self._node.get_logger(), f"{name}: {report.message}"
        # rclpy ties a severity to the line of the call, so each needs its own.
        if report.level is Level.ERROR:
            logger.error(text)
        elif report.level is Level.WARN:
            logger.warning(text)
        else:
            logger.info(f"{name}: good again")


def instance_of(status: DiagnosticStatus) -> str | None:
    """The `Diagnostics.instance` that a status names, if it does."""
    return next((v.value for v in status.values if v.key == "instance"), None)


class Stream:
    """Rate, latency, skew, drops and staleness of one input or output.

    Args:
        timeout_s: silence after which the stream counts as stale, by the wall clock.
        clock: the wall clock, seconds; an argument for tests.
    """

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self.received = 0
        self.dropped = 0
        self._clock = clock
        self._started = clock()
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        self._skews: deque[float] = deque(maxlen=_WINDOW)
        self._refusal: tuple[float, str] | None = None

    def tick(self, *, latency_s: float | None = None, skew_s: float | None = None) -> None:
        """Counts one message.

        Args:
            latency_s: receipt minus stamp; negative when the sender's clock is ahead.
            skew_s: largest difference of the stamps within a set.
        """
        self.received += 1
        self._times.append(self._clock())
        if latency_s is not None:
            self._latencies.append(latency_s)
        if skew_s is not None:
            self._skews.append(skew_s)

    def drop(self, count: int = 1) -> None:
        """Counts messages that were not used, only because there was no time for them."""
        self.dropped += count

    def refuse(self, reason: str) -> None:
        """Counts a message that could not be used; the reason is reported for a while."""
        self.dropped += 1
        self._refusal = (self._clock(), reason)

    @property
    def silence_s(self) -> float:
        """Seconds since the last message, or since the start when none came."""
        return self._clock() - (self._times[-1] if self._times else self._started)

    @property
    def rate_hz(self) -> float:
        """Messages per second over the window, 0 while stale."""
        if len(self._times) < 2 or self.silence_s > self.timeout_s:
            return 0.0
        span = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def report(self) -> Report:
        """The stream's diagnostic report."""
        values: dict[str, object] = {
            "rate_hz": self.rate_hz,
            "received": self.received,
            "dropped": self.dropped,
        }
        # Copies: another thread may tick while this one reports.
        if latencies := list(self._latencies):
            values["latency_ms_median"] = 1e3 * statistics.median(latencies)
            values["latency_ms_max"] = 1e3 * max(latencies)
        if skews := list(self._skews):
            values["skew_ms_max"] = 1e3 * max(skews)
        if self._refusal and self._clock() - self._refusal[0] < self.timeout_s + PERIOD_S:
            return Report(Level.ERROR, self._refusal[1], values)
        if not self.received and self.silence_s < max(self.timeout_s, GRACE_S):
            return Report(Level.OK, "waiting for the first message", values)
        if self.silence_s > self.timeout_s:
            what = "stale: no message" if self.received else "no message yet"
            return Report(Level.ERROR, f"{what} for {self.silence_s:.1f} s", values)
        return Report(Level.OK, f"{self.rate_hz:.1f} Hz", values)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
