"""Pairing by time and counter: no set mispaired, all complete sets found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3k_ros.cameras.pairing import Arrival, Paired, Pairing, Refused
from s3k_ros.cameras.port import Reason

MS = 1_000_000
PERIOD = 20 * MS


@dataclasses.dataclass(frozen=True)
class World:
    """How badly the cameras behave."""

    cameras: int = 4
    triggers: int = 200
    loss: float = 0.0
    failure: float = 0.0
    missed_trigger: float = 0.0
    reconnect: float = 0.0
    irregular: bool = False
    jitter_ns: int = 300_000
    error_ns: int = PERIOD // 6
    delay_ns: int = 25 * MS
    seed: int = 0


@dataclasses.dataclass
class Deliveries:
    """What arrives, in order of receipt, and which triggers every camera saw."""

    arrivals: list[Arrival[int] | tuple[str, int, int, int]]
    intact: dict[int, set[str]]


def simulate(world: World) -> Deliveries:
    """Draws all triggers and what becomes of them; the payload is the trigger's true number."""
    random = np.random.default_rng(world.seed)
    gaps = PERIOD * (1.0 + random.exponential(1.0, world.triggers) * world.irregular)
    times = 1_000_000 * MS + np.cumsum(gaps).astype(np.int64)
    intact: dict[int, set[str]] = {k: set() for k in range(world.triggers)}
    events: list[tuple[int, Arrival[int] | tuple[str, int, int, int]]] = []
    for c in range(world.cameras):
        name, epoch, counter, last_received = f"cam{c}", 0, int(random.integers(1000)), 0
        # The error of a fit moves slowly; its bound holds.
        phase, drift = random.uniform(0, 6.28), random.uniform(-100e-6, 100e-6)
        for k, trigger in enumerate(times):
            if random.random() < world.reconnect:
                epoch, counter = epoch + 1, int(random.integers(3))
            if random.random() < world.missed_trigger:
                continue
            counter += 1
            if random.random() < world.loss:
                continue
            exposure = int(trigger) + int(random.uniform(-1, 1) * world.jitter_ns)
            error = world.error_ns * np.sin(phase + 0.01 * k)
            delay = int(random.uniform(0.1, 1.0) * world.delay_ns)
            received = last_received = max(exposure + delay, last_received + 1)
            if random.random() < world.failure:
                events.append((received, (name, epoch, counter, received)))
                continue
            intact[k].add(name)
            device_ns = int((exposure - times[0]) * (1.0 + drift)) + 77 * c
            arrival = Arrival(
                name, epoch, counter, exposure + int(error), world.error_ns, device_ns, received, k
            )
            events.append((received, arrival))
    events.sort(key=lambda event: event[0])
    return Deliveries([event for _, event in events], intact)


def make_pairing(world: World, **options: int) -> Pairing[int]:
    names = [f"cam{c}" for c in range(world.cameras)]
    values = {"max_skew_ns": PERIOD, "timeout_ns": 10 * PERIOD, "period_ns": PERIOD, **options}
    pairing: Pairing[int] = Pairing(names, **values)
    for name in names:
        pairing.set_alive(name, True)
    return pairing


def feed(pairing: Pairing[int], deliveries: Deliveries) -> list[Paired[int] | Refused[int]]:
    outcomes: list[Paired[int] | Refused[int]] = []
    for event in deliveries.arrivals:
        if isinstance(event, Arrival):
            outcomes += pairing.add(event)
        else:
            pairing.failed(*event[:3])
    return outcomes + pairing.poll(2**62)


def sets_of(outcomes: list[Paired[int] | Refused[int]]) -> list[Paired[int]]:
    return [outcome for outcome in outcomes if isinstance(outcome, Paired)]


def check(world: World) -> tuple[list[Paired[int] | Refused[int]], Pairing[int]]:
    """The claims, for any world whose errors are within what the pairing promises to handle."""
    deliveries, pairing = simulate(world), make_pairing(world)
    outcomes = feed(pairing, deliveries)
    sets = sets_of(outcomes)
    found = []
    for paired in sets:
        triggers = {arrival.payload for arrival in paired.members.values()}
        assert len(triggers) == 1, "mispaired"
        found.append(triggers.pop())
        assert set(paired.members) | set(paired.missing) == deliveries_cameras(world)
    assert found == sorted(set(found)), "out of order or split in two"
    by_trigger = dict(zip(found, sets, strict=True))
    for trigger, cameras in deliveries.intact.items():
        if cameras:
            assert set(by_trigger[trigger].members) == cameras
    indices = [paired.index for paired in sets]
    assert indices == sorted(set(indices))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    return outcomes, pairing


def deliveries_cameras(world: World) -> set[str]:
    return {f"cam{c}" for c in range(world.cameras)}


worlds = st.builds(
    World,
    cameras=st.integers(2, 8),
    loss=st.sampled_from([0.0, 0.02, 0.3]),
    failure=st.sampled_from([0.0, 0.05]),
    missed_trigger=st.sampled_from([0.0, 0.02, 0.3]),
    reconnect=st.sampled_from([0.0, 0.01]),
    irregular=st.booleans(),
    jitter_ns=st.integers(0, PERIOD // 21),
    error_ns=st.integers(0, PERIOD // 5),
    delay_ns=st.integers(1, 4 * PERIOD),
    seed=st.integers(0, 2**32 - 1),
)


@settings(max_examples=150, deadline=None)
@given(worlds)
def test_no_set_is_mispaired_and_every_intact_frame_is_in_its_set(world: World) -> None:
    check(world)


def test_a_lost_frame_costs_its_view_and_shifts_nobody() -> None:
    world = World(loss=0.1, seed=4)
    outcomes, pairing = check(world)
    lost = sum(n for (_, reason), n in pairing.missed.items() if reason is Reason.LOST)
    reasons = [reason for paired in sets_of(outcomes) for reason in paired.missing.values()]
    # what is lost at the very end leaves no gap behind
    assert lost == pytest.approx(world.cameras * world.triggers * 0.1, abs=30)
    # the first frames of a camera and its last ones have no neighbours to tell
    assert set(reasons) <= {Reason.LOST, Reason.TIMEOUT, Reason.ABSENT}
    assert reasons.count(Reason.LOST) >= 0.95 * lost


def test_a_missed_trigger_is_told_from_a_lost_frame() -> None:
    outcomes, pairing = check(World(missed_trigger=0.05, seed=5))
    reasons = {reason for paired in sets_of(outcomes)[:-5] for reason in paired.missing.values()}
    assert reasons == {Reason.MISSED_TRIGGER}
    kinds = {reason for (_, reason), n in pairing.missed.items() if n}
    assert kinds == {Reason.MISSED_TRIGGER}


def test_damaged_frames_are_counted_once_and_named() -> None:
    world = World(failure=0.1, seed=6)
    outcomes, pairing = check(world)
    failures = sum(not isinstance(event, Arrival) for event in simulate(world).arrivals)
    assert sum(pairing.missed.values()) == failures
    reasons = [reason for paired in sets_of(outcomes)[:-5] for reason in paired.missing.values()]
    assert set(reasons) == {Reason.FAILED}


def test_uncertain_times_are_paired_by_counter_or_refused_but_never_mispaired() -> None:
    """After a good start the times of one camera are uncertain by more than half a period."""
    world = World(loss=0.05, missed_trigger=0.05, error_ns=0, jitter_ns=50_000, seed=7)
    pairing = make_pairing(world)
    random = np.random.default_rng(8)
    outcomes: list[Paired[int] | Refused[int]] = []
    uncertain = 0
    for event in simulate(world).arrivals:
        assert isinstance(event, Arrival)
        if event.camera == "cam3" and event.payload > 50:
            uncertain += 1
            error = int(random.uniform(-0.7, 0.7) * PERIOD)
            event = dataclasses.replace(event, time_ns=event.time_ns + error, error_ns=PERIOD)
        outcomes += pairing.add(event)
    sets = sets_of(outcomes)
    assert all(len({a.payload for a in paired.members.values()}) == 1 for paired in sets)
    paired_uncertain = sum(
        "cam3" in paired.members and paired.members["cam3"].payload > 50 for paired in sets
    )
    refused = [o for o in outcomes if isinstance(o, Refused)]
    assert {o.reason for o in refused} <= {Reason.AMBIGUOUS, Reason.LATE}
    assert paired_uncertain > 0.3 * uncertain
    assert paired_uncertain + len(refused) == uncertain


def test_uncertain_times_of_an_unknown_counter_are_refused() -> None:
    pairing = make_pairing(World(cameras=2))
    time = 1000 * PERIOD
    assert pairing.add(Arrival("cam0", 0, 5, time, 0, 0, time, 1)) == []
    [refused] = pairing.add(Arrival("cam1", 0, 9, time, PERIOD // 2, 0, time + 1, 1))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.AMBIGUOUS


def test_skew_above_the_limit_is_refused_and_measured() -> None:
    pairing = make_pairing(World(cameras=2), max_skew_ns=MS)
    time = 1000 * PERIOD
    pairing.add(Arrival("cam0", 0, 0, time, 0, 0, time, 0))
    [paired] = pairing.add(Arrival("cam1", 0, 0, time + 3 * MS, 0, 0, time + 4 * MS, 0))
    assert isinstance(paired, Paired)
    assert paired.refused is Reason.SKEW
    assert paired.skew_ns == 3 * MS


def test_sets_do_not_wait_for_a_camera_that_is_not_alive() -> None:
    pairing = make_pairing(World(cameras=3))
    pairing.set_alive("cam2", False)
    time = 1000 * PERIOD
    assert pairing.add(Arrival("cam0", 0, 0, time, 0, 0, time, 0)) == []
    [paired] = pairing.add(Arrival("cam1", 0, 0, time, 0, 0, time + 1, 0))
    assert isinstance(paired, Paired)
    assert paired.missing == {"cam2": Reason.ABSENT}


def test_a_silent_camera_costs_a_timeout_and_its_late_frame_is_refused() -> None:
    pairing = make_pairing(World(cameras=2), min_cameras=2)
    time = 1000 * PERIOD
    pairing.add(Arrival("cam0", 0, 0, time, 0, 0, time, 0))
    assert pairing.poll(time + 9 * PERIOD) == []
    [paired] = pairing.poll(time + 10 * PERIOD)
    assert isinstance(paired, Paired)
    assert paired.missing == {"cam1": Reason.TIMEOUT}
    assert paired.refused is Reason.TOO_FEW
    [late] = pairing.add(Arrival("cam1", 0, 0, time, 0, 0, time + 11 * PERIOD, 0))
    assert isinstance(late, Refused)
    assert late.reason is Reason.LATE


def test_a_frame_without_a_time_is_not_counted_as_lost() -> None:
    pairing = make_pairing(World(cameras=1))
    time = 1000 * PERIOD
    pairing.add(Arrival("cam0", 0, 0, time, 0, 0, time, 0))
    pairing.undated("cam0", 0, 1)
    pairing.add(Arrival("cam0", 0, 2, time + 2 * PERIOD, 0, 0, time + 2 * PERIOD, 2))
    assert not +pairing.missed


def test_a_loss_is_counted_also_when_the_clock_begins_anew_in_between() -> None:
    pairing = make_pairing(World(cameras=1))
    time = 1000 * PERIOD
    pairing.add(Arrival("cam0", 4, 7, time, 0, 0, time, 0, stream=2))
    later = time + 3 * PERIOD
    pairing.add(Arrival("cam0", 5, 10, later, 0, 0, later, 3, stream=2))
    assert pairing.missed["cam0", Reason.LOST] == 2
    # With a new stream the counter is another one.
    later += 5 * PERIOD
    pairing.add(Arrival("cam0", 6, 3, later, 0, 0, later, 8, stream=3))
    assert pairing.missed["cam0", Reason.LOST] == 2


def test_flush_refuses_what_waits_and_forgets_the_times() -> None:
    pairing = make_pairing(World(cameras=2))
    time = 1000 * PERIOD
    pairing.add(Arrival("cam0", 0, 0, time, 0, 0, time, 0))
    [paired] = pairing.flush()
    assert isinstance(paired, Paired)
    assert paired.refused is Reason.STOPPED
    earlier = time - 500 * PERIOD
    pairing.add(Arrival("cam0", 1, 0, earlier, 0, 0, earlier, 0))
    [paired] = pairing.add(Arrival("cam1", 1, 0, earlier, 0, 0, earlier, 0))
    assert isinstance(paired, Paired)
    assert paired.refused is None
