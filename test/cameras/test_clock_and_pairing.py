"""Clock fits and pairing together, in simulated time: drifting clocks, readings with outliers,
losses, missed triggers, cameras that lose power."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from s3k_ros.cameras.clock import TickClock
from s3k_ros.cameras.pairing import Arrival, Paired, Pairing, Refused
from s3k_ros.cameras.port import Reason

MS = 1_000_000
RATE_HZ = 54.0
PERIOD = round(1e9 / RATE_HZ)


class Camera:
    """A camera with a crystal of its own, and the host's fit of it."""

    def __init__(self, name: str, random: np.random.Generator, latency_ns: int) -> None:
        self.name, self.random, self.latency_ns = name, random, latency_ns
        self.drift = random.uniform(-100e-6, 100e-6)
        self.clock, self.epoch = TickClock(), 0
        self.last_received = 0
        self.connect(0)

    def connect(self, now: int) -> None:
        """Powered on anew: ticks and counter from zero, and the first readings of the clock."""
        self.power_on, self.counter, self.next_reading = now - 50 * MS, -1, now
        self.epoch += 1
        self.clock.restart()
        for i in range(8):
            self.read(now + i * MS)

    def tick(self, at: int) -> int:
        return round((at - self.power_on) * (1.0 + self.drift))

    def read(self, now: int) -> None:
        """Reads the clock: the answer comes late, and one in twenty is nonsense."""
        width = int(self.random.exponential(self.latency_ns)) + 50_000
        at = now + int(self.random.uniform(0.0, width))
        if self.random.random() < 0.05:
            at += int(self.random.uniform(0.0, 40.0) * MS)
        self.clock.add(self.tick(at), now + width // 2, width // 2 + 1)
        error_ns = self.clock.state().error_ns
        self.next_reading = (
            now + (1000 if error_ns is not None and error_ns < MS // 2 else 100) * MS
        )


def simulate(seed: int, cameras: int, latency_ns: int, loss: float) -> None:
    random = np.random.default_rng(seed)
    rig = [Camera(f"cam{i}", random, latency_ns) for i in range(cameras)]
    pairing: Pairing[int] = Pairing(
        [c.name for c in rig], period_ns=PERIOD, max_skew_ns=PERIOD, timeout_ns=500 * MS
    )
    for camera in rig:
        pairing.set_alive(camera.name, True)
    arrivals: list[Arrival[int]] = []
    sent: dict[int, set[str]] = {}
    for k in range(600):
        trigger = 100 * MS + k * PERIOD
        for camera in rig:
            if random.random() < 0.002:
                camera.connect(trigger - 10 * MS)
            elif trigger >= camera.next_reading:
                camera.read(trigger - 5 * MS)
            if random.random() < loss:  # a missed trigger
                continue
            camera.counter += 1
            if random.random() < loss:
                continue
            exposed = trigger + int(random.uniform(0.0, 0.3) * MS)
            received = exposed + int(random.uniform(5.0, 40.0) * MS)
            camera.last_received = received = max(received, camera.last_received + 1)
            tick = camera.tick(exposed)
            time = camera.clock.to_host(tick)
            assert time is not None
            sent.setdefault(k, set()).add(camera.name)
            arrivals.append(
                Arrival(
                    camera.name, camera.epoch, camera.counter, time.ns, time.error_ns, tick,
                    received, k,
                )
            )  # fmt: skip
    arrivals.sort(key=lambda a: a.received_ns)
    outcomes = [o for arrival in arrivals for o in pairing.add(arrival)] + pairing.poll(2**62)
    sets = [o for o in outcomes if isinstance(o, Paired)]
    for paired in sets:
        assert len({a.payload for a in paired.members.values()}) == 1, "mispaired"
    refused = [o for o in outcomes if isinstance(o, Refused)]
    # Only a wrong first reading may cost frames, and the next readings mend it.
    assert {o.reason for o in refused} <= {Reason.AMBIGUOUS, Reason.LATE}
    assert len(refused) <= 0.01 * len(arrivals)
    found = {s.members[n].payload for s in sets for n in s.members if len(s.members) == cameras}
    complete = {k for k, names in sent.items() if len(names) == cameras}
    assert len(complete - found) <= 0.01 * len(complete) + len(refused)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cameras=st.integers(2, 8),
    latency_ns=st.sampled_from([100_000, 500_000, 1_500_000]),
    loss=st.sampled_from([0.0, 0.01, 0.1]),
)
def test_no_set_is_mispaired_whatever_clocks_and_cameras_do(
    seed: int, cameras: int, latency_ns: int, loss: float
) -> None:
    simulate(seed, cameras, latency_ns, loss)
