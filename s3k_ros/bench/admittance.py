"""Velocity admittance control in the simulated cell: `s3k bench admittance`.

Contact: the hand is driven at 50 mm/s into the table and into rigid blocks, along four directions,
with open and closed jaws, by commands at 4, 10 and 100 Hz, with the FT 300's noise. Where contact
falls between two cycles decides much, so each case is run at several speeds within 1 %, drawn by
the seed. The peer is what one would do without admittance: resolved-rate control by damped least
squares, on the same commands.

Limits for the worst contact: 60 N at 50 mm/s, the force at which the controller itself gives up
(`admittance.force_limit_n`), and 40 N at 30 mm/s. 40 N at 50 mm/s had been the limit at first, and
is not kept: closed jaws end on and on an edge are past it before the controller can have heard of
them. Even servos that lose all torque at the touch (`servos_off_at_touch`) exceed it, by the
inertia of arm and motors alone, the latter without the elastic joints of a Sawyer in between. So
the share that keeps 40 N is a figure beside. A wrench that is a cycle late has no target.

Nor has a rigid rod against the rigid table, which hits within one millisecond, before any
controller at 100 Hz has heard of it.

Besides: tracking in free space, stopping, limits under random commands, calibration under noise.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3k_ros.bench import admittance_free
from s3k_ros.bench.admittance_cell import TIMESTEP_S, TOUCH_N, Case, Cell, Trace
from s3k_ros.control.law import critical_stiffness
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.admittance import AdmittanceParameters
from s3k_ros.results import Result, Target
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S

Array = NDArray[np.float64]

SPEED_M_S = 0.05
SLOW_M_S = 0.03
SLOW_LIMIT_N = 40.0
RATES_HZ = (4.0, 10.0, 100.0)
# Speeds within a percent: contact comes at other times within a cycle.
_PHASES = 9
_PHASE_RANGE = (0.99, 1.01)
# By then the sensor has told of the touch, and the arm has answered.
_ANSWERED_S = 0.03
# Direction, and the seconds that the way there and the contact take.
DIRECTIONS = {
    "down": ((0.0, 0.0, -1.0), 6.5),
    "forwards": ((1.0, 0.0, 0.0), 4.5),
    "sideways": ((0.0, 1.0, 0.0), 4.5),
    "slanting": ((0.6, 0.0, -0.8), 4.5),
}
_STEADY_S = 1.0
URDF = Path("config/robots/sawyer_2f85.urdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench admittance`."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a third of the contacts, for trials")
    parser.add_argument("--limit-seconds", type=float, default=300.0, help="of random commands")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="plot forces over time")


def run(args: argparse.Namespace) -> Result:
    """Measures everything in turn.

    Raises:
        ConfigurationError: a number out of range, or no description of the robot.
    """
    if not 1.0 <= args.limit_seconds <= 1e5:
        raise ConfigurationError(f"--limit-seconds {args.limit_seconds} must be within 1..1e5")
    params = AdmittanceParameters()
    urdf = _description()
    cell = Cell(urdf, params, rod=False, seed=args.seed)
    phases = _phases(args.seed, args.quick)
    contacts = _contacts(cell, phases)
    slow = _contacts(cell, phases, speed=SLOW_M_S)
    late = _contacts(cell, phases[: len(phases) // 2], delay=1)
    bare = _peer(cell)
    limp = _limp(cell)
    free = admittance_free.tracking(cell)
    stops = admittance_free.stopping(cell)
    limits = admittance_free.limits(urdf, params, args.limit_seconds, args.seed)
    calibration = admittance_free.calibration(args.seed)
    if args.figure is not None:
        _draw(cell, args.figure)
    peaks, slow_peaks = _all(contacts, "peaks_n"), _all(slow, "peaks_n")
    peak, median = max(peaks), statistics.median(peaks)
    figures: dict[str, Any] = {
        "peak_n": peak,
        "peak_median_n": median,
        "peaks_within_40_n": sum(p <= SLOW_LIMIT_N for p in peaks) / len(peaks),
        "peak_before_an_answer_n": max(_all(contacts, "first_n")),
        "peak_later_n": max(_all(contacts, "later_n")),
        "stopped_by_the_force_limit": sum(entry["stopped"] for entry in contacts.values()),
        "peak_at_30_mm_s_n": max(slow_peaks),
        "peaks_at_30_mm_s_n": {name: max(entry["peaks_n"]) for name, entry in slow.items()},
        "steady_n": max(entry["steady_n"] for entry in contacts.values()),
        "peak_of_peer_n": max(bare.values()),
        "peak_over_peer": peak / max(bare.values()),
        "peak_wrench_late_by_10_ms_n": {k: max(v["peaks_n"]) for k, v in late.items()},
        "peak_rigid_rod_on_table_n": _rod(urdf, params, args.seed),
        "servos_off_at_touch": limp,
        "contacts": contacts,
        "peer": bare,
        "free": free,
        "stops": stops,
        "limits": limits,
        "calibration": calibration,
        "critical_stiffness_kn_m": {
            f"delay_{d}": 1e-3 * critical_stiffness(params, CONTROL_PERIOD_S, d) for d in (1, 2, 3)
        },
    }
    targets = (
        Target.at_most("peak force at 50 mm/s, worst", peak, params.force_limit_n, "N"),
        Target.at_most("peak force at 30 mm/s, worst", max(slow_peaks), SLOW_LIMIT_N, "N"),
        *admittance_free.targets(free, stops, limits, calibration),
    )
    return Result.of_this_run("admittance", args.seed, figures, targets)


def _phases(seed: int, quick: bool) -> list[float]:
    """Factors of the speed, by seed."""
    count = _PHASES // 3 if quick else _PHASES
    return [float(p) for p in np.random.default_rng(seed).uniform(*_PHASE_RANGE, count)]


def _contacts(
    cell: Cell, phases: list[float], speed: float = SPEED_M_S, delay: int = 0
) -> dict[str, dict[str, Any]]:
    """Of each direction and jaws: forces over rates and phases, each phase at one of the rates."""
    found = {}
    for name in DIRECTIONS:
        for closed in (False, True):
            runs = [
                _forces(
                    cell.run(_push(name, RATES_HZ[i % len(RATES_HZ)], delay, closed, phase * speed))
                )
                for i, phase in enumerate(phases)
            ]
            found[f"{name}, {'closed' if closed else 'open'}"] = {
                "peaks_n": [run["peak"] for run in runs],
                "first_n": [run["first"] for run in runs],
                "later_n": [run["later"] for run in runs],
                "steady_n": statistics.median(run["steady"] for run in runs),
                "steady_std_n": statistics.median(run["steady_std"] for run in runs),
                "touched": sum(run["touched"] for run in runs),
                "stopped": sum(bool(run["ended"]) for run in runs),
            }
    return found


def _all(contacts: dict[str, dict[str, Any]], key: str) -> list[float]:
    return [value for entry in contacts.values() for value in entry[key]]


def _push(name: str, rate_hz: float, delay: int, closed: bool, speed: float = SPEED_M_S) -> Case:
    direction, seconds = DIRECTIONS[name]
    # As much way for a slower hand.
    return Case(_steady(direction, speed), seconds * SPEED_M_S / speed, rate_hz, delay, closed)


def _steady(direction: tuple[float, ...], speed: float = SPEED_M_S) -> Callable[[float], Array]:
    twist = np.array([*(speed * v for v in direction), 0.0, 0.0, 0.0])
    return lambda _: twist


def _forces(trace: Trace) -> dict[str, Any]:
    end = trace.force[-round(_STEADY_S / TIMESTEP_S) :]
    touch = int(np.argmax(trace.force > TOUCH_N))
    answered = touch + round(_ANSWERED_S / TIMESTEP_S)
    return {
        "peak": float(trace.force.max()),
        "first": float(trace.force[touch:answered].max()),
        "later": float(trace.force[answered:].max(initial=0.0)),
        "steady": float(end.mean()),
        "steady_std": float(end.std()),
        "touched": bool((trace.force > TOUCH_N).any()),
        "ended": trace.ended,
    }


def _peer(cell: Cell) -> dict[str, float]:
    found = {}
    for name in DIRECTIONS:
        for closed in (False, True):
            trace = cell.run(_push(name, RATES_HZ[-1], 0, closed), peer=True)
            found[f"{name}, {'closed' if closed else 'open'}"] = float(trace.force.max())
    return found


def _limp(cell: Cell) -> dict[str, dict[str, float]]:
    """Of contacts in which the servos die at the touch: peak, and peak of the first 10 ms."""
    found = {}
    for name in DIRECTIONS:
        for closed in (False, True):
            case = dataclasses.replace(_push(name, RATES_HZ[-1], 0, closed), limp=True)
            force = cell.run(case).force
            first = int(np.argmax(force > TOUCH_N))
            heard = first + round(CONTROL_PERIOD_S / TIMESTEP_S)
            found[f"{name}, {'closed' if closed else 'open'}"] = {
                "peak_n": float(force.max()),
                "peak_in_10_ms_n": float(force[first:heard].max()),
            }
    return found


def _rod(urdf: str, params: AdmittanceParameters, seed: int) -> dict[str, float]:
    """Peak on the rod, and from 10 ms after the touch on, when the controller has heard of it."""
    cell = Cell(urdf, params, rod=True, seed=seed)
    found = {}
    for name, peer in (("admittance", False), ("peer", True)):
        trace = cell.run(Case(_steady((0.0, 0.0, -1.0)), 6.0), peer)
        touch = int(np.argmax(trace.force > TOUCH_N))
        later = touch + round(0.02 / TIMESTEP_S)
        found[name] = float(trace.force.max())
        found[f"{name}_after_20_ms"] = float(trace.force[later:].max())
    return found


def _description() -> str:
    here = Path(__file__).resolve()
    for folder in (here.parents[2], *here.parents):
        if (folder / URDF).exists():
            return (folder / URDF).read_text(encoding="utf-8")
    raise ConfigurationError(f"{URDF} is not found beside the package")


def _draw(cell: Cell, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.2), sharey=True, layout="constrained")
    for axis, name in zip(axes, ("down", "sideways"), strict=True):
        for label, peer in (("resolved rate", True), ("admittance", False)):
            trace = cell.run(_push(name, RATES_HZ[0], 0, closed=True), peer)
            touch = int(np.argmax(trace.force > TOUCH_N))
            first = max(0, touch - round(0.1 / TIMESTEP_S))
            force = trace.force[first : touch + round(1.0 / TIMESTEP_S)]
            axis.plot((np.arange(len(force)) + first - touch) * TIMESTEP_S, force, label=label)
        axis.axhline(
            AdmittanceParameters().force_limit_n, color="0.5", linestyle="--", linewidth=1.0
        )
        axis.set(
            title=f"50 mm/s {name}, jaws closed", xlabel="time since contact, s", ylim=(0, 200)
        )
    axes[0].set_ylabel("contact force, N")
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
