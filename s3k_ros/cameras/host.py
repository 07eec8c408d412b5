"""The host's clocks, and which rig of this host uses which camera."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from pathlib import Path
from typing import IO, Protocol

from s3k_ros.errors import DeviceUnavailableError


class HostClock(Protocol):
    """Two clocks of the host: one that never jumps, and the one that stamps are given in."""

    def monotonic_ns(self) -> int:
        """Never jumps; frames are paired on it."""

    def system_ns(self) -> int:
        """May be set by an administrator or NTP; stamps are given in it."""


class SystemClock:
    """The operating system's clocks."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def system_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()


class Claims:
    """Claims on cameras that hold across threads and processes of this host: locked files.

    The operating system releases a claim when its process ends, however it ends.

    Args:
        folder: where the files lie; all rigs of a host must use the same one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._files: dict[str, IO[str]] = {}

    def take(self, serial: str) -> None:
        """Claims a camera.

        Raises:
            DeviceUnavailableError: another rig has it; the message names its process.
        """
        if serial in self._files:
            return
        path = self._folder / f"s3k_camera_{re.sub(r'[^0-9A-Za-z]', '_', serial)}.lock"
        file = _open(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "an unknown process"
            file.close()
            raise DeviceUnavailableError(
                f"camera {serial} is in use by another rig, process {holder}"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._files[serial] = file

    def release(self, serial: str) -> None:
        """Gives a camera back; does nothing when it is not ours."""
        if file := self._files.pop(serial, None):
            file.close()


def _open(path: Path) -> IO[str]:
    """Opens a lock file that other users may have made, and that others may open."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        if os.stat(descriptor).st_uid == os.getuid():
            os.fchmod(descriptor, 0o666)  # whatever the umask
    return os.fdopen(descriptor, "r+")
