"""What `s3k grasp` and its like show, and what their exit codes rest on."""

from __future__ import annotations

import argparse
import io

import numpy as np
import pytest

from s3k_ros.client import GraspCode, Holding, Keypoint, KeypointStatus, Progress, TaskResult
from s3k_ros.ros import grasp_command, task_command

PAW = Keypoint("paw", np.zeros(3), np.eye(3) * 0.003**2, 0.91, KeypointStatus.OK)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO) -> str:
    seconds = iter(np.arange(0.0, 10.0, 0.5))
    display = task_command.Display(out, lambda: float(next(seconds)))
    for phase, fraction in (("observe", 0.05), ("align", 0.5), ("align", 0.55)):
        display.show(Progress(phase, fraction, PAW))
    display.end()
    return out.getvalue()


def test_a_terminal_gets_one_line_that_changes():
    text = shown(Terminal())
    assert text.count("\n") == 1 and text.count("\r") == 3
    assert "align     [#############-----------]  55 %    1.5 s  paw: 0.91, ±3.0 mm" in text


def test_a_log_gets_a_line_a_phase():
    lines = shown(io.StringIO()).splitlines()
    assert [line.split()[2] for line in lines] == ["observe", "align"]


def test_a_keypoint_that_is_not_seen_says_why():
    nan = np.full((3, 3), np.nan)
    unseen = Keypoint("paw", nan[0], nan, 0.0, KeypointStatus.TOO_FEW_VIEWS)
    assert task_command.seen(Progress("observe", 0.0, unseen)) == "paw: TOO_FEW_VIEWS"


@pytest.mark.parametrize(
    ("holding", "must_hold", "dry_run", "code"),
    [
        (Holding.HOLDING, True, False, 0),
        (Holding.UNKNOWN, True, False, 1),
        (Holding.UNKNOWN, True, True, 0),
        (Holding.NOT_HOLDING, False, False, 0),
    ],
)
def test_the_exit_code_says_whether_it_did_what_was_asked(
    monkeypatch, capsys, holding, must_hold, dry_run, code
):
    class Cell:
        def __init__(self, *_args, **_options):
            pass

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

    class Task:
        def result(self, timeout_s, on_progress):
            return TaskResult(
                GraspCode.SUCCESS, "as told", "verify", holding, 0.02, dry_run=dry_run
            )

    monkeypatch.setattr(task_command, "Cell", Cell)
    parser = argparse.ArgumentParser()
    grasp_command.add_arguments(parser)
    args = parser.parse_args(["paw"])
    assert task_command.run_task(args, lambda cell: Task(), must_hold=must_hold) == code
    assert "SUCCESS: as told" in capsys.readouterr().out


def test_options_that_are_left_out_stay_the_servers():
    parser = argparse.ArgumentParser()
    grasp_command.add_arguments(parser)
    args = parser.parse_args(["paw", "--lift-height", "0.2", "--offset", "0", "-0.01", "0"])
    given = task_command.options_of(args, grasp_command._OPTIONS)
    assert given == {"lift_height_m": 0.2, "offset": [0.0, -0.01, 0.0], "dry_run": False}
