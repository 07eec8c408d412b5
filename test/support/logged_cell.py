"""A kinematic cell whose executor writes goal logs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from s3k_ros.goal_logs import reader
from s3k_ros.goal_logs.folder import LogFolder
from s3k_ros.goal_logs.journal import GoalJournal
from s3k_ros.grasp.goal import GraspGoal
from support.executor_runs import GOAL
from support.kinematic_cell import URDF, Cell


class LoggedCell:
    """The cell, its executor and the journal, which `log` closes."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.cell, self.warnings = Cell(), []
        self.executor = self.cell.make_executor()
        self.folder = LogFolder(folder, **limits)
        parameters = {
            "grasp": self.executor.grasp, "robot": self.cell.robot, "urdf": URDF.read_text(),
        }  # fmt: skip
        self.journal = GoalJournal(self.folder, self.cell.robot, parameters, self.warnings.append)
        ports = dataclasses.replace(self.executor._ports, journal=self.journal)
        self.executor._ports = ports

    def grasp(self, goal: GraspGoal = GOAL, until=None):
        refused = self.executor.start(goal)
        return refused or self.cell.run(**({} if until is None else {"until": until}))

    def log(self) -> reader.GoalLog:
        self.journal.close()
        return reader.read(self.journal.newest)
