"""A goal log as one page for people, which refers to nothing outside it."""

from __future__ import annotations

import dataclasses
import datetime
import json
from importlib import resources
from typing import Any

import jinja2
import numpy as np

from s3k_ros.goal_logs import measures, plots
from s3k_ros.goal_logs.drawing import style_sheet
from s3k_ros.goal_logs.reader import GoalLog
from s3k_ros.grasp.advice import ADVICE, Advice
from s3k_ros.grasp.codes import GraspCode

# Parameters that are text files, and would fill the page.
_LONG = ("urdf",)


@dataclasses.dataclass(frozen=True)
class Tile:
    """A figure and what it is."""

    value: str
    text: str


def render(log: GoalLog) -> str:
    """The page as HTML."""
    outcome = log.outcome or {}
    code = str(outcome.get("code", "no outcome"))
    keypoint = str(log.request.get("keypoint") or "")
    source = resources.files("s3k_ros.goal_logs").joinpath("templates/goal.html.j2")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        css=style_sheet(),
        title=_title(log),
        when=_when(log),
        code=code,
        good=_good(log),
        outcome=outcome,
        advice=advice_for(code),
        finished=log.finished,
        tiles=tiles(log),
        timeline=plots.timeline(log),
        space=plots.space(log, measures.tool_way(log)),
        keypoints=[(name, plots.keypoint(log, name)) for name in log.keypoints if name == keypoint],
        joints=plots.joints(log),
        happened=happened(log),
        request=_table(log.request),
        parameters={name: _table(values) for name, values in log.parameters.items()
                    if isinstance(values, dict)},
        versions=", ".join(f"{name} {value}" for name, value in log.parameters.items()
                           if not isinstance(value, dict) and name not in _LONG),
        file=log.path.name,
    )  # fmt: skip


def advice_for(code: str) -> Advice | None:
    """Of a code by its name; None for one that is not known here."""
    known = {each.name: each for each in GraspCode}
    return ADVICE[known[code]] if code in known else None


def tiles(log: GoalLog) -> list[Tile]:
    """The figures at the top."""
    outcome, found = log.outcome or {}, [Tile(f"{log.ended:.1f} s", "from goal to result")]
    found.append(Tile(str(outcome.get("holding", "–")).replace("_", " ").lower(), "in the jaws"))
    width = outcome.get("width")
    found.append(Tile("–" if width is None else f"{1e3 * width:.0f} mm", "between the jaws"))
    _, changes = measures.force_changes(log)
    if len(changes):
        found.append(Tile(f"{float(changes.max()):.0f} N", "largest change of force"))
    error = measures.tracking_error(log)
    if np.isfinite(error).any():
        worst = int(np.nanargmax(error))
        text = f"largest error of a joint ({log.joint_names[worst]})"
        found.append(Tile(f"{1e3 * error[worst]:.0f} mrad", text))
    keypoint = log.keypoints.get(str(log.request.get("keypoint") or ""))
    if keypoint is not None:
        spread = np.sqrt(np.maximum(np.linalg.eigvalsh(_finite(keypoint.covariances))[:, -1], 0.0))
        if len(spread):
            found.append(Tile(f"{1e3 * float(np.median(spread)):.1f} mm", "keypoint, largest σ"))
    if len(log.plans) > 1:
        found.append(Tile(f"{len(log.plans)}", "plans, the later ones corrections"))
    return found


def happened(log: GoalLog) -> list[tuple[float, str, str]]:
    """Time, kind and text of all that happened and was asked for, in order."""
    rows = [(time, "phase", name) for name, time, _ in log.phases]
    for kind, entries in (("event", log.events), ("command", log.commands)):
        for time, values in entries:
            rest = {name: value for name, value in values.items() if name not in (kind, "target")}
            rows.append((time, kind, " ".join(filter(None, (values[kind], _short(rest))))))
    before: dict[str, Any] = {}
    for time, values in log.robot:
        if values != before:
            true = [name for name, value in values.items() if value is True]
            rows.append((time, "robot", ", ".join([*true, values["reason"]]).strip(", ")))
        before = values
    for time, state in log.states:
        if state["refusal"]:
            rows.append((time, "keypoint", str(state["refusal"])))
    return sorted(rows, key=lambda row: row[0])


def _finite(covariances: Any) -> Any:
    return covariances[np.isfinite(covariances).all(axis=(1, 2))]


def _good(log: GoalLog) -> bool:
    outcome = log.outcome or {}
    held = outcome.get("holding") == "HOLDING" or log.request.get("dry_run") is True
    return outcome.get("code") == "SUCCESS" and (held or log.request["kind"] != "GraspGoal")


def _title(log: GoalLog) -> str:
    kind = log.request["kind"].removesuffix("Goal")
    aim = log.request.get("keypoint") or ""
    return f"{kind} at {aim}" if aim else kind


def _when(log: GoalLog) -> str:
    """The time of the server's clock; a simulated one counts from its own start."""
    if log.started < 1e9:
        return f"{log.started:.2f} s of simulated time"
    local = datetime.datetime.fromtimestamp(log.started).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S %Z")


def _table(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, _short(value)) for name, value in values.items() if name != "kind"]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(entry)}" for name, entry in value.items())
    if isinstance(value, str):
        return value
    return json.dumps(value)
