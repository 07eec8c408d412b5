"""Files that ship with the package, for those who do without ROS's index of packages."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def shared_file(path: str) -> Path:
    """The file at a path; a relative one is looked up here, then where the package is installed.

    The result need not exist: whoever reads it says so.
    """
    given = Path(path).expanduser()
    if given.is_absolute() or given.exists():
        return given
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    places = [Path(prefix) / "share" / "s3k_ros" for prefix in prefixes if prefix]
    places.append(Path(__file__).resolve().parents[2])  # a checkout
    return next((place / given for place in places if (place / given).exists()), given)
