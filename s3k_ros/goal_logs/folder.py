"""The folder of goal logs: new names, and how much stays."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path

# Our own files alone are ever removed, whatever else lies in the folder.
_OURS = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.\d{3}_[a-z]+(_[\w-]+)?(\.\d+)?\.mcap")


@dataclasses.dataclass(frozen=True)
class LogFolder:
    """Where goal logs lie, and bounds of their number and size.

    Attributes:
        path: the folder; made when the first log is.
        most_files: more than these make way, oldest first.
        most_bytes: as `most_files`; the newest stays whatever its size.
    """

    path: Path
    most_files: int = 500
    most_bytes: int = 500_000_000

    def new(self, title: str) -> Path:
        """A file name that is free.

        Raises:
            OSError: the folder cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        path, count = self.path / f"{title}.mcap", 1
        while path.exists():
            path, count = self.path / f"{title}.{count}.mcap", count + 1
        return path

    def logs(self) -> list[Path]:
        """The logs, oldest first: their names begin with their time."""
        if not self.path.is_dir():
            return []
        found = (path for path in self.path.iterdir() if _OURS.fullmatch(path.name))
        return sorted(found, key=lambda path: path.stem)

    def tidy(self) -> None:
        """Removes the oldest logs beyond the bounds."""
        total = 0
        for index, path in enumerate(reversed(self.logs())):
            with contextlib.suppress(OSError):  # another server tidies the same folder
                total += path.stat().st_size
                if index and (index >= self.most_files or total > self.most_bytes):
                    path.unlink()


def resolved(folder: str) -> Path | None:
    """The folder that a parameter means: relative ones lie in $ROS_HOME; None for an empty one."""
    if not folder:
        return None
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    return home / Path(folder).expanduser()
