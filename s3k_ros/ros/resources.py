"""Files that ship with the package."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory


def find_file(path: str) -> Path:
    """The file at a path; a relative one is looked up here, then in the package's share folder.

    The result need not exist: whoever reads it says so.
    """
    given = Path(path).expanduser()
    if given.is_absolute() or given.exists():
        return given
    return Path(get_package_share_directory("s3k_ros")) / given
