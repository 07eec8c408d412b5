"""Pairing of 2 to 8 cameras, ours against message_filters: `s3k bench sync`.

Cameras in simulated time (`camera_world.py`) send frames whose triggers are known. Ours is what the
rig does with them: clock readings and fits (`cameras/clock.py`), stamps, pairing
(`cameras/pairing.py`), with the parameters that the rig has by default. ApproximateTime of
message_filters gets the same frames in the same order, three times:

- ``arrival``: stamped by their arrival, as camera drivers do, with 5 ms of slop, the usual choice
  for cameras that are triggered together;
- ``arrival_wide``: the same with half a period, the widest slop that could still be unambiguous;
- ``exposure``: with the stamps of our fits and 5 ms, as `camera_rig` publishes them.

Possible are the triggers of which every camera's frame arrived intact; a frame that cannot be
stamped because its camera's clock is not known yet counts against ``rig`` and ``exposure``.
message_filters knows complete sets only; the rig also hands on the others, with the reason for
every camera that is missing. What a set costs is processor time for all that the host does with its
frames: ours reads and fits clocks as well.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import math
import time
from collections.abc import Iterable, Sequence

from s3k_ros.bench import camera_world
from s3k_ros.bench.camera_world import Camera, Happening, World
from s3k_ros.cameras.clock import TickClock
from s3k_ros.cameras.link import FIRST_READINGS, GOOD_ERROR_NS, SOON_NS
from s3k_ros.cameras.pairing import Arrival, Paired, Pairing, Refused
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import CameraRigParameters
from s3k_ros.results import Result, Target

LEAST_COMPLETE_PERCENT = 99.9
SLOP_S = 0.005
# Triggers of one start of the rig: clocks, offsets and drifts are drawn anew with each.
STINT = 5000

Outcome = Paired[int] | Refused[int]
Stamped = tuple[int, int, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench sync`."""
    parser.add_argument("--sets", type=int, default=100_000, help="for each number of cameras")
    parser.add_argument("--cameras", type=int, nargs="+", default=list(range(2, 9)))
    parser.add_argument("--rate", type=float, default=30.0, help="of the trigger, Hz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-ros", action="store_true", help="no message_filters")


def run(args: argparse.Namespace) -> Result:
    """Simulates every number of cameras and pairs its frames in all ways.

    Raises:
        ConfigurationError: a number out of range.
    """
    if args.sets < 1 or not 1.0 <= args.rate <= 200.0:
        raise ConfigurationError("--sets must be positive and --rate within 1..200")
    if not all(1 <= n <= 64 for n in args.cameras):
        raise ConfigurationError("--cameras must be within 1..64")
    world = World(rate_hz=args.rate)
    scores = {
        n: measure(world, n, args.sets, args.seed, not args.without_ros) for n in args.cameras
    }
    ways = list(scores[args.cameras[0]])

    def table(name: str) -> dict[str, list[float]]:
        return {way: [getattr(scores[n][way], name) for n in args.cameras] for way in ways}

    ours = [score["rig"] for score in scores.values()]
    figures = {
        "message_filters": "none" if args.without_ros else _whose_message_filters(),
        "cameras": args.cameras,
        "rate_hz": args.rate,
        "possible": [score.possible for score in ours],
        "complete_percent": table("percent"),
        "mispaired": table("mispaired"),
        "us_a_set": {
            **table("us_a_set"),
            "of_the_rig_for_clocks": [
                1e6 * score.clock_seconds / max(score.sets, 1) for score in ours
            ],
        },
        "refused_frames_of_the_rig": [dict(score.refused) for score in ours],
        "world": dataclasses.asdict(world),
    }
    return Result.of_this_run(
        name="sync",
        seed=args.seed,
        figures=figures,
        targets=(
            Target.at_most("mispaired by the rig", sum(s.mispaired for s in ours), 0, "sets"),
            Target.at_least(
                "possible complete sets delivered by the rig, least of all",
                min(score.percent for score in ours), LEAST_COMPLETE_PERCENT, "%",
            ),
        ),
    )  # fmt: skip


@dataclasses.dataclass
class Score:
    """What one way of pairing made of the frames of one number of cameras.

    Attributes:
        possible: triggers of which every camera's frame arrived intact.
        complete: sets of all cameras and one trigger, each trigger once.
        sets: all that were delivered, also those with cameras missing.
        mispaired: sets with frames of two triggers or more.
        seconds: of processor time.
        clock_seconds: of them for reading and fitting clocks.
        refused: frames by the reason why they joined no set.
    """

    possible: int = 0
    complete: int = 0
    sets: int = 0
    mispaired: int = 0
    seconds: float = 0.0
    clock_seconds: float = 0.0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def percent(self) -> float:
        """Complete sets of those possible."""
        return 100.0 * self.complete / self.possible if self.possible else math.nan

    @property
    def us_a_set(self) -> float:
        """Processor time a set, microseconds."""
        return 1e6 * self.seconds / self.sets if self.sets else math.nan

    def add(self, possible: set[int], found: Iterable[set[int]], complete: Iterable[int]) -> None:
        """Takes over the sets of one stint: the triggers in each, and those of complete ones."""
        found = list(found)
        self.possible += len(possible)
        self.sets += len(found)
        self.mispaired += sum(len(triggers) != 1 for triggers in found)
        self.complete += len(possible.intersection(complete))


def measure(world: World, cameras: int, sets: int, seed: int, with_ros: bool) -> dict[str, Score]:
    """Scores by way of pairing, for one number of cameras."""
    scores: dict[str, Score] = collections.defaultdict(Score)
    for begun in range(0, sets, STINT):
        triggers = min(STINT, sets - begun)
        rig = camera_world.make(
            world, cameras, triggers, seed * 10_000_019 + cameras * 1009 + begun
        )
        possible = set.intersection(*(camera.sent for camera in rig))
        paired = PairedByRig(rig, world)
        score = scores["rig"]
        score.seconds += paired.seconds
        score.clock_seconds += paired.clock_seconds
        score.refused += paired.refused
        score.add(possible, paired.found, paired.complete)
        if with_ros:
            _score_message_filters(scores, world, rig, paired.stamped, possible)
    return dict(scores)


def _score_message_filters(
    scores: dict[str, Score],
    world: World,
    rig: Sequence[Camera],
    stamped: Sequence[Stamped],
    possible: set[int],
) -> None:
    from s3k_ros.bench import ros_sync

    happenings = _in_order(rig)
    arrivals = [(h.camera, h.at_ns, h.trigger) for h in happenings if h.kind == "frame"]
    for way, frames, slop_s in (
        ("arrival", arrivals, SLOP_S),
        ("arrival_wide", arrivals, 0.5 / world.rate_hz),
        ("exposure", stamped, SLOP_S),
    ):
        found, seconds = ros_sync.match(len(rig), frames, slop_s)
        scores[way].seconds += seconds
        scores[way].add(possible, found, (min(t) for t in found if len(t) == 1))


def _whose_message_filters() -> str:
    from s3k_ros.bench import ros_sync

    return ros_sync.implementation()


def _in_order(rig: Sequence[Camera]) -> list[Happening]:
    return sorted((h for camera in rig for h in camera.happenings), key=lambda h: h.at_ns)


class PairedByRig:
    """What the rig's own clocks and pairing make of all that reaches the host.

    Attributes:
        found: the triggers of each set that is not refused.
        complete: the triggers of those with all cameras.
        refused: frames that joined no set, by reason.
        stamped: frames in order of receipt with the stamps of the fits.
        seconds: processor time of all of it, reading the simulated clocks included.
        clock_seconds: the share of readings and fits.
    """

    def __init__(self, rig: Sequence[Camera], world: World) -> None:
        parameters = CameraRigParameters()
        self._links = [_Link(camera, parameters.clock_period_s) for camera in rig]
        self._pairing: Pairing[int] = Pairing(
            [link.name for link in self._links],
            period_ns=world.period_ns,
            max_skew_ns=round(1e9 * parameters.max_skew_s),
            timeout_ns=round(1e9 * parameters.set_timeout_s),
            min_cameras=parameters.min_views,
        )
        self.stamped: list[Stamped] = []
        self.refused: collections.Counter[str] = collections.Counter()
        outcomes: list[Outcome] = []
        happenings = _in_order(rig)
        begun = time.thread_time()
        for happening in happenings:
            outcomes += self._take(happening, self._links[happening.camera])
        outcomes += self._pairing.poll(2**62)
        self.seconds = time.thread_time() - begun
        self.clock_seconds = sum(link.seconds for link in self._links)
        self._sort_out(outcomes)

    def _take(self, happening: Happening, link: _Link) -> list[Outcome]:
        if happening.kind != "frame":
            if happening.kind == "damaged":
                self._pairing.failed(link.name, link.epoch, happening.counter)
            else:
                if back := happening.kind == "back":
                    link.connect(happening.at_ns)
                self._pairing.set_alive(link.name, back)
            return []
        link.keep_reading(happening.at_ns)
        time_ = link.clock.to_host(happening.tick)
        if time_ is None:
            self._pairing.undated(link.name, link.epoch, happening.counter)
            self.refused["CLOCK"] += 1
            return []
        self.stamped.append((happening.camera, time_.ns, happening.trigger))
        return self._pairing.add(
            Arrival(
                link.name, link.epoch, happening.counter, time_.ns, time_.error_ns, happening.tick,
                happening.at_ns, happening.trigger,
            )
        )  # fmt: skip

    def _sort_out(self, outcomes: Iterable[Outcome]) -> None:
        self.found: list[set[int]] = []
        self.complete: list[int] = []
        for outcome in outcomes:
            if isinstance(outcome, Refused):
                self.refused[outcome.reason.name] += 1
            elif outcome.refused:
                self.refused[outcome.refused.name] += len(outcome.members)
            else:
                self.found.append({arrival.payload for arrival in outcome.members.values()})
                if not outcome.missing and len(self.found[-1]) == 1:
                    self.complete += self.found[-1]


class _Link:
    """The host's end of one camera: when its clock is read, as `cameras/link.py` does it."""

    def __init__(self, camera: Camera, clock_period_s: float) -> None:
        self.name = f"camera{camera.number}"
        self.epoch = 0
        self.clock = TickClock()
        self._camera = camera
        self._period_ns = round(1e9 * clock_period_s)
        self._next_ns = 0
        self.seconds = 0.0

    def connect(self, now_ns: int) -> None:
        self.epoch += 1
        self.clock = TickClock()
        for _ in range(FIRST_READINGS):
            now_ns = self._read(now_ns)

    def keep_reading(self, now_ns: int) -> None:
        if now_ns >= self._next_ns:
            self._read(now_ns)

    def _read(self, now_ns: int) -> int:
        """One reading; the time when it is done."""
        begun = time.thread_time()
        restarts = self.clock.restarts
        tick, before_ns, after_ns = self._camera.read(now_ns)
        self.clock.add(tick, (before_ns + after_ns) // 2, (after_ns - before_ns) // 2 + 1)
        self.epoch += self.clock.restarts != restarts
        error_ns = self.clock.state().error_ns
        soon = error_ns is None or error_ns > GOOD_ERROR_NS
        self._next_ns = after_ns + (SOON_NS if soon else self._period_ns)
        self.seconds += time.thread_time() - begun
        return after_ns
