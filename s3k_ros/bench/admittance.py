"""Velocity admittance control in the simulated cell: `s3k bench admittance`.

Contact: the hand is driven at 50 mm/s into the table and into rigid blocks, along four directions,
with open and closed jaws, by commands at 4, 10 and 100 Hz, with the FT 300's noise. The limit on
the peak of the contact force, 40 N, was set before anything was measured: ISO/TS 15066 allows 65 N
of lasting force on the most sensitive part of a body (the face), 140 N on a hand, and an FT 300's
range is 300 N. The peer is what one would do without admittance: resolved-rate control by damped
least squares, on the same commands.

Two figures have no target. A wrench that is a cycle late (10 ms) meets a hard tool after the blow:
the simulated servos are ten times as stiff as a Sawyer's elastic joints, and press with 80 N within
25 ms. And a rigid rod against the rigid table hits in one millisecond, before any controller
at 100 Hz has heard of it.

Besides: tracking in free space, stopping, limits under random commands, calibration under noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3k_ros.bench import admittance_free
from s3k_ros.bench.admittance_cell import Case, Cell, Trace
from s3k_ros.control.law import critical_stiffness
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.admittance import AdmittanceParameters
from s3k_ros.results import Result, Target
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S

Array = NDArray[np.float64]

PEAK_LIMIT_N = 40.0
SPEED_M_S = 0.05
RATES_HZ = (4.0, 10.0, 100.0)
# Direction, and the seconds that the way there and the contact take.
DIRECTIONS = {
    "down": ((0.0, 0.0, -1.0), 8.0),
    "forwards": ((1.0, 0.0, 0.0), 5.0),
    "sideways": ((0.0, 1.0, 0.0), 5.0),
    "slanting": ((0.6, 0.0, -0.8), 5.0),
}
_STEADY_S = 1.0
_TOUCH_N = 0.5
URDF = Path("config/robots/sawyer_2f85.urdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench admittance`."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the contacts, for trials"
    )
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
    free = admittance_free.tracking(cell)
    stops = admittance_free.stopping(cell)
    limits = admittance_free.limits(urdf, params, args.limit_seconds, args.seed)
    calibration = admittance_free.calibration(args.seed)
    if args.figure is not None:
        _draw(cell, args.figure)
    peak = max(entry["peak_n"] for entry in contacts.values())
    figures: dict[str, Any] = {
        "peak_n": peak,
        "steady_n": max(entry["steady_n"] for entry in contacts.values()),
        "peak_of_peer_n": max(bare.values()),
        "peak_over_peer": peak / max(bare.values()),
        "peak_wrench_late_by_10_ms_n": {k: v["peak_n"] for k, v in late.items()},
        "peak_rigid_rod_on_table_n": _rod(urdf, params, args.seed),
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
        Target.at_most("peak force at 50 mm/s", peak, PEAK_LIMIT_N, "N"),
        *admittance_free.targets(free, stops, limits, calibration),
    )
    return Result.of_this_run("admittance", args.seed, figures, targets)


def _contacts(cell: Cell, quick: bool, delay: int = 0) -> dict[str, dict[str, Any]]:
    found = {}
    rates = RATES_HZ if delay == 0 else RATES_HZ[:1]
    for name in list(DIRECTIONS)[: 2 if quick else None]:
        for closed in (False, True):
            for rate in rates[: 1 if quick else None]:
                trace = cell.run(_push(name, rate, delay, closed))
                jaws = "closed" if closed else "open"
                found[f"{name}, {jaws}, {rate:g} Hz"] = _forces(trace)
    return found


def _push(name: str, rate_hz: float, delay: int, closed: bool) -> Case:
    direction, seconds = DIRECTIONS[name]
    return Case(_steady(direction), seconds, rate_hz, delay, closed)


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
        "touched": bool((trace.force > _TOUCH_N).any()),
        "ended": trace.ended,
    }


def _peer(cell: Cell) -> dict[str, float]:
    found = {}
    for name in DIRECTIONS:
        for closed in (False, True):
            trace = cell.run(_push(name, RATES_HZ[-1], 0, closed), peer=True)
            found[f"{name}, {'closed' if closed else 'open'}"] = float(trace.force.max())
    return found


def _rod(urdf: str, params: AdmittanceParameters, seed: int) -> dict[str, float]:
    """Peak on the rod, and from 10 ms after the touch on, when the controller has heard of it."""
    cell = Cell(urdf, params, rod=True, seed=seed)
    found = {}
    for name, peer in (("admittance", False), ("peer", True)):
        trace = cell.run(Case(_steady((0.0, 0.0, -1.0)), 6.0), peer)
        touch = int(np.argmax(trace.force > _TOUCH_N))
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
            touch = int(np.argmax(trace.force > _TOUCH_N))
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
