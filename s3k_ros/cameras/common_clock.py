"""One fit for cameras whose clocks PTP keeps together.

Each camera's own fit is as good as the readings of its clock, a fraction of a millisecond; the
clocks themselves differ by microseconds. So the fit of one camera dates the frames of all that
agree with it, and what the fits differ by no longer looks like skew. A camera that does not agree
with most of them, because PTP has not synchronised it, is dated by its own fit, and said so.
"""

from __future__ import annotations

from collections.abc import Mapping

from s3k_ros.cameras.clock import HostTime, TickClock
from s3k_ros.cameras.port import EventKind

# Another camera's fit takes over when its error is so many times smaller: each change shifts all
# stamps by what the two differ.
MUCH_BETTER = 0.5
# Agreement beyond the errors of both fits: PTP in ordinary networks, some tens of microseconds.
TOLERANCE_NS = 100_000
# What is told is told again when it is true for so many frames running.
NEWS_AFTER = 5
# Frames between two choices of the fit to use.
CHOOSE_EVERY = 64

News = tuple[EventKind, str, str]


class CommonClock:
    """Dates frames by one fit of several. No threads: callers hold a lock.

    Attributes:
        offsets_ns: by camera, by how much its own fit differs from the common one.
    """

    def __init__(self) -> None:
        self.offsets_ns: dict[str, int] = {}
        self._reference = ""
        self._stamped = 0
        self._apart: dict[str, bool] = {}
        self._doubts: dict[str, int] = {}
        self._news: list[News] = []

    def stamp(self, camera: str, tick: int, clocks: Mapping[str, TickClock]) -> HostTime | None:
        """The host's time at a tick of one camera; None while its own clock is unknown.

        Args:
            camera: whose frame.
            tick: start of its exposure.
            clocks: of all cameras that are connected.
        """
        own = clocks[camera].to_host(tick)
        if own is None:
            return None
        if self._stamped % CHOOSE_EVERY == 0 or self._reference not in clocks:
            self._reference = self._choose(tick, clocks)
        self._stamped += 1
        reference = clocks[self._reference]
        common = reference.to_host(tick)
        if common is None or reference.tick_ns != clocks[camera].tick_ns:
            return own
        offset = self.offsets_ns[camera] = own.ns - common.ns
        apart = not _agree(own, common)
        self._judge(camera, apart, offset)
        return own if apart else HostTime(common.ns, max(own.error_ns, common.error_ns))

    def take_news(self) -> list[News]:
        """Who came apart from the others, or together with them, since the last call."""
        news, self._news = self._news, []
        return news

    def forget(self, camera: str) -> None:
        """A camera is gone."""
        for known in (self.offsets_ns, self._apart, self._doubts):
            known.pop(camera, None)

    def _choose(self, tick: int, clocks: Mapping[str, TickClock]) -> str:
        """The camera that most agree with: the present one, unless another is much better."""
        times = {name: time for name, c in clocks.items() if (time := c.to_host(tick))}
        votes = {
            n: sum(_agree(time, other) for other in times.values()) for n, time in times.items()
        }
        most = max(votes.values())
        errors = {name: time.error_ns for name, time in times.items() if votes[name] == most}
        best = min(errors, key=lambda name: errors[name])
        present = errors.get(self._reference)
        keeps = present is not None and errors[best] >= MUCH_BETTER * present
        return self._reference if keeps else best

    def _judge(self, camera: str, apart: bool, offset_ns: int) -> None:
        if apart == self._apart.get(camera, False):
            self._doubts[camera] = 0
            return
        self._doubts[camera] = self._doubts.get(camera, 0) + 1
        if self._doubts[camera] < NEWS_AFTER:
            return
        self._apart[camera] = apart
        if apart:
            text = f"its clock is {1e-6 * offset_ns:.3f} ms from that of the others: no PTP yet"
            self._news.append((EventKind.CLOCK_APART, camera, text))
        else:
            text = "its clock agrees with that of the others"
            self._news.append((EventKind.CLOCK_TOGETHER, camera, text))


def _agree(one: HostTime, other: HostTime) -> bool:
    return abs(one.ns - other.ns) <= one.error_ns + other.error_ns + TOLERANCE_NS
