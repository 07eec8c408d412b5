"""The fit of a camera's tick clock to the host's clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3k_ros.cameras.clock import FIRST_HALF_WIDTH_NS, TickClock

SECOND = 1_000_000_000


class Crystal:
    """A camera's true clock: ticks since it was powered on, at its own rate."""

    def __init__(self, drift_ppm: float, power_on_ns: int = 5_000 * SECOND, tick_ns: float = 1.0):
        self.drift = 1e-6 * drift_ppm
        self.power_on_ns = power_on_ns
        self.tick_ns = tick_ns

    def tick(self, host_ns: int) -> int:
        return round((host_ns - self.power_on_ns) * (1.0 + self.drift) / self.tick_ns)


def read(clock: TickClock, crystal: Crystal, host_ns: int, before_ns: int, after_ns: int) -> None:
    """One reading that began ``before_ns`` earlier and ended ``after_ns`` later."""
    middle = host_ns + (after_ns - before_ns) // 2
    clock.add(crystal.tick(host_ns), middle, (before_ns + after_ns) // 2)


def test_three_readings_that_agree_are_enough_to_begin_with() -> None:
    clock, crystal = TickClock(), Crystal(40.0)
    now = 9_000 * SECOND
    for offset_ns in (0, 40_000_000, 0):  # the second one is wrong
        assert clock.to_host(0) is None
        clock.add(crystal.tick(now), now + offset_ns, 200_000)
        now += 1_000_000
    assert clock.to_host(0) is None
    read(clock, crystal, now, 100_000, 300_000)
    guess = clock.to_host(crystal.tick(now + SECOND))
    assert guess is not None
    # 0.1 ms of asymmetry, and a second of 40 ppm: both within the bound that it states
    assert abs(guess.ns - (now + SECOND)) <= guess.error_ns < 600_000


@settings(max_examples=25, deadline=None)
@given(
    drift_ppm=st.floats(-100.0, 100.0),
    tick_ns=st.sampled_from([1.0, 8.0, 1000.0 / 125.0]),
    seed=st.integers(0, 2**32 - 1),
    outliers=st.floats(0.0, 0.2),
)
def test_the_stated_bound_holds_with_noise_and_outliers(
    drift_ppm: float, tick_ns: float, seed: int, outliers: float
) -> None:
    random = np.random.default_rng(seed)
    clock, crystal = TickClock(tick_ns=tick_ns), Crystal(drift_ppm, tick_ns=tick_ns)
    now = 100_000 * SECOND
    for i in range(60):
        now += SECOND
        if i >= 3 and random.random() < outliers:  # a reading that lies about its width
            clock.add(crystal.tick(now), now + int(random.normal(0.0, 20e6)), 50_000)
        else:
            before, after = random.exponential(150_000, 2)
            read(clock, crystal, now, int(before) + 1, int(after) + 1)
        later = now + int(random.integers(SECOND))
        guess = clock.to_host(crystal.tick(later))
        if clock.state().samples >= 10:
            assert guess is not None
            assert abs(guess.ns - later) <= max(guess.error_ns, 150_000) + 50_000
    assert clock.state().drift_ppm == pytest.approx(drift_ppm, abs=8.0)
    assert clock.restarts == 0


def test_drift_is_learned_and_the_error_falls() -> None:
    clock, crystal = TickClock(), Crystal(-80.0)
    random = np.random.default_rng(3)
    now, first = 50_000 * SECOND, None
    for _ in range(60):
        now += SECOND
        before, after = random.uniform(50_000, 250_000, 2)
        read(clock, crystal, now, int(before), int(after))
        first = first or clock.state().error_ns  # None until three agree
    state = clock.state()
    assert state.drift_ppm == pytest.approx(-80.0, abs=1.0)
    assert state.samples == 60
    assert state.error_ns is not None and first is not None
    assert state.error_ns < 0.7 * first  # the rest is the narrowest reading, never averaged out
    guess = clock.to_host(crystal.tick(now + SECOND))
    assert guess is not None
    assert abs(guess.ns - now - SECOND) < 40_000


def test_fit_restarts_when_the_camera_was_powered_off() -> None:
    clock, crystal = TickClock(), Crystal(20.0)
    now = 10_000 * SECOND
    for _ in range(20):
        now += SECOND
        read(clock, crystal, now, 100_000, 100_000)
    crystal = Crystal(20.0, power_on_ns=now)
    for _ in range(3):
        assert (clock.to_host(crystal.tick(now)) is None) == (clock.restarts == 1)
        now += SECOND
        read(clock, crystal, now, 100_000, 100_000)
    assert clock.restarts == 1
    guess = clock.to_host(crystal.tick(now))
    assert guess is not None
    assert abs(guess.ns - now) <= guess.error_ns


def test_fit_restarts_when_the_ticks_jump_forward_but_not_for_single_outliers() -> None:
    clock, crystal = TickClock(), Crystal(20.0)
    now = 10_000 * SECOND
    for i in range(30):
        now += SECOND
        read(clock, crystal, now, 100_000, 100_000)
        if i in (10, 11, 20):
            clock.add(crystal.tick(now) + 1, now + 40_000_000, 100_000)
    assert clock.restarts == 0
    assert clock.state().outliers == 3
    crystal = Crystal(20.0, power_on_ns=crystal.power_on_ns - 7 * SECOND)
    for _ in range(3):
        now += SECOND
        read(clock, crystal, now, 100_000, 100_000)
    assert clock.restarts == 1
    guess = clock.to_host(crystal.tick(now))
    assert guess is not None
    assert abs(guess.ns - now) <= guess.error_ns


def test_arrivals_alone_follow_the_least_delay() -> None:
    clock, crystal = TickClock(), Crystal(60.0)
    random = np.random.default_rng(1)
    now = 20_000 * SECOND
    errors = []
    for i in range(2000):
        now += SECOND // 30
        delay = 300_000 + int(random.exponential(4_000_000))
        clock.add_arrival(crystal.tick(now), now + delay)
        guess = clock.to_host(crystal.tick(now))
        assert guess is not None
        if i == 0:
            assert guess.error_ns >= FIRST_HALF_WIDTH_NS
        if i > 200:
            errors.append(guess.ns - now)
    # late by the least delay and what sixteen frames leave of the exponential's tail
    assert np.max(np.abs(errors)) < 1_500_000
    assert clock.state().drift_ppm == pytest.approx(60.0, abs=10.0)
    assert clock.restarts == 0
