"""Installed packages and what is in them."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_prefix, get_package_share_directory

__all__ = ["find_executable", "find_launch_file", "get_package_prefix"]


def find_executable(package, name):
    """The path of a package's executable.

    Raises:
        LookupError: no such package or executable.
    """
    folder = Path(get_package_prefix(package)) / "lib" / package
    path = folder / name
    if not (path.is_file() and os.access(path, os.X_OK)):
        known = sorted(item.name for item in folder.glob("*") if item.is_file())
        raise LookupError(f"package '{package}' has no executable '{name}'; it has: {known}")
    return str(path)


def find_launch_file(package, name):
    """The path of a launch file, searched for in the whole share folder of its package."""
    share = Path(get_package_share_directory(package))
    for folder, _, files in os.walk(share, followlinks=True):
        if name in files:
            return os.path.join(folder, name)
    raise LookupError(
        f"file '{name}' was not found in the share directory of '{package}' ({share})"
    )
