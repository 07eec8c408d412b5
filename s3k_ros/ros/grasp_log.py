"""Goal logs of a node: opened by its parameters, or not at all, but never in its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rclpy.node import Node

from s3k_ros.params.grasp import GraspServerParameters, RobotParameters

if TYPE_CHECKING:
    from s3k_ros.goal_logs.journal import GoalJournal

_BYTES_PER_MEGABYTE = 1_000_000


def open_log(
    node: Node,
    server: GraspServerParameters,
    robot: RobotParameters,
    parameters: Mapping[str, Any],
) -> GoalJournal | None:
    """The journal of a node's goals; None where logs are off, or the library for them is missing.

    Args:
        node: warns.
        server: folder and bounds.
        robot: names of joints and frames.
        parameters: by name, written into every log.
    """
    logger = node.get_logger()
    try:
        from s3k_ros.goal_logs.folder import LogFolder, resolved
        from s3k_ros.goal_logs.journal import GoalJournal
    except ModuleNotFoundError as error:
        if server.log_folder:
            logger.warning(f"no goal logs: {error.name} is missing (requirements/cameras.in)")
        return None
    folder = resolved(server.log_folder)
    if folder is None:
        return None
    bounds = LogFolder(folder, server.log_files, server.log_megabytes * _BYTES_PER_MEGABYTE)
    return GoalJournal(bounds, robot, parameters, lambda text: logger.warning(text))
