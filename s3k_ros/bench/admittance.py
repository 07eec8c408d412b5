"""Velocity admittance control in the simulated cell: `s3k bench admittance`.

Contact: the hand is driven at 50 mm/s into the table and into rigid blocks, along four directions,
with open and closed jaws, by commands at 4, 10 and 100 Hz, with the FT 300's noise. Where contact
falls between two cycles decides much, so each case is run at several speeds within 1 %. The peer is
what one would do without admittance: resolved-rate control by damped least squares, on the same
commands.

Limit: 40 N for the worst contact, set before anything was measured. A third of the contacts miss
it, so this bench fails. Closed jaws end on and the hand's side on an edge are past it before the
controller can have heard of them: even servos that lose all torque at the touch
(`servos_off_at_touch`) exceed it, by the inertia of arm and motors alone, the latter without the
elastic joints of a Sawyer in between. A wrench that is a cycle late costs much; it has no target.

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
from s3k_ros.bench.admittance_cell import TOUCH_N, Case, Cell, Trace
from s3k_ros.control.law import critical_stiffness
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.admittance import AdmittanceParameters
from s3k_ros.results import Result, Target
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S

Array = NDArray[np.float64]

PEAK_LIMIT_N = 40.0
SPEED_M_S = 0.05
RATES_HZ = (4.0, 10.0, 100.0)
# Speeds within a percent: contact comes at other times within a cycle.
PHASES = (0.99, 0.994, 0.998, 1.002, 1.006, 1.01)
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
    contacts = _contacts(cell, args.quick)
    late = _contacts(cell, args.quick, delay=1)
    bare = _peer(cell)
    limp = _limp(cell)
    free = admittance_free.tracking(cell)
    stops = admittance_free.stopping(cell)
    limits = admittance_free.limits(urdf, params, args.limit_seconds, args.seed)
    calibration = admittance_free.calibration(args.seed)
    if args.figure is not None:
        _draw(cell, args.figure)
    peaks = [peak for entry in contacts.values() for peak in entry["peaks_n"]]
    peak, median = max(peaks), statistics.median(peaks)
    figures: dict[str, Any] = {
        "peak_n": peak,
        "peak_median_n": median,
        "peaks_within_40_n": sum(p <= PEAK_LIMIT_N for p in peaks) / len(peaks),
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
        Target.at_most("peak force at 50 mm/s, worst", peak, PEAK_LIMIT_N, "N"),
        *admittance_free.targets(free, stops, limits, calibration),
    )
    return Result.of_this_run("admittance", args.seed, figures, targets)


def _contacts(cell: Cell, quick: bool, delay: int = 0) -> dict[str, dict[str, Any]]:
    """Of each direction and jaws: forces over rates and phases, each phase at one of the rates."""
    found = {}
    phases = PHASES[:: 3 if quick else 1]
    for name in DIRECTIONS:
        for closed in (False, True):
            runs = [
                _forces(cell.run(_push(name, RATES_HZ[i % len(RATES_HZ)], delay, closed, phase)))
                for i, phase in enumerate(phases)
            ]
            found[f"{name}, {'closed' if closed else 'open'}"] = {
                "peaks_n": [run["peak_n"] for run in runs],
                "steady_n": statistics.median(run["steady_n"] for run in runs),
                "steady_std_n": statistics.median(run["steady_std_n"] for run in runs),
                "touched": sum(run["touched"] for run in runs),
                "ended_by": sorted({run["ended"] for run in runs} - {""}),
            }
    return found


def _push(name: str, rate_hz: float, delay: int, closed: bool, phase: float = 1.0) -> Case:
    direction, seconds = DIRECTIONS[name]
    return Case(_steady(direction, phase * SPEED_M_S), seconds, rate_hz, delay, closed)


def _steady(direction: tuple[float, ...], speed: float = SPEED_M_S) -> Callable[[float], Array]:
    twist = np.array([*(speed * v for v in direction), 0.0, 0.0, 0.0])
    return lambda _: twist


def _forces(trace: Trace) -> dict[str, Any]:
    steps = len(trace.force) / (len(trace.wanted) * CONTROL_PERIOD_S)
    end = trace.force[-round(_STEADY_S * steps) :]
    return {
        "peak_n": float(trace.force.max()),
        "steady_n": float(end.mean()),
        "steady_std_n": float(end.std()),
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
            heard = first + round(CONTROL_PERIOD_S / 0.00125)
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
        later = touch + round(0.02 / 0.00125)
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
            force = trace.force[max(0, touch - 80) : touch + 800]
            axis.plot((np.arange(len(force)) - min(touch, 80)) * 1.25e-3, force, label=label)
        axis.axhline(PEAK_LIMIT_N, color="0.5", linestyle="--", linewidth=1.0)
        axis.set(
            title=f"50 mm/s {name}, jaws closed", xlabel="time since contact, s", ylim=(0, 200)
        )
    axes[0].set_ylabel("contact force, N")
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
