"""Writes MCAP files that `ros2 bag` and Foxglove read.

A file is readable at every moment: what was written before the last `flush` survives a kill of the
process, without the index at the end. Closing adds that index.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from s3k_ros.cameras.recording.chunked_file import ChunkedFile
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError

# What a user chooses, and the format's name for it.
COMPRESSIONS = {"none": "", "lz4": "lz4", "zstd": "zstd"}
# So much stays free, so that a file can always be finished.
RESERVE_BYTES = 2**28
# Bytes between two looks at the free space.
_LOOK_EVERY = 2**25
# The type hash of a publisher that tells none.
UNKNOWN_HASH = ""


@dataclasses.dataclass(frozen=True)
class Topic:
    """A topic as it is written.

    Attributes:
        name: with its namespace.
        kind: message type, such as "sensor_msgs/msg/Image".
        definition: as `full_definition` gives it.
        qos: the publishers' profiles, YAML as of rosbag2.
        type_hash: RIHS01 hash of the type; empty when unknown.
        encoding: of its messages; "json" with a JSON schema as the definition.
    """

    name: str
    kind: str
    definition: str
    qos: str = "[]"
    type_hash: str = UNKNOWN_HASH
    encoding: str = "cdr"


class RecordingWriter:
    """One MCAP file of messages; not for several threads at once.

    Args:
        path: a new file.
        compression: a key of COMPRESSIONS.

    Attributes:
        messages, bytes: written so far; bytes before compression.

    Raises:
        ConfigurationError: the file exists, or its folder does not.
        DeviceUnavailableError: the disk is full or cannot be written to.
    """

    def __init__(self, path: Path | str, compression: str = "none") -> None:
        self.path = Path(path)
        self.messages = self.bytes = 0
        if compression not in COMPRESSIONS:
            raise ConfigurationError(
                f"compression {compression!r}: one of {', '.join(COMPRESSIONS)}"
            )
        self._check_space()
        self._file = self._create()
        self._looked = 0
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        with self._guarded():
            self._mcap = ChunkedFile(self._file, COMPRESSIONS[compression])

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._mcap.size if hasattr(self, "_mcap") else 0

    def add_topic(self, topic: Topic) -> int:
        """The channel of a topic; the same one for the same name."""
        if topic.name in self._channels:
            return self._channels[topic.name]
        if topic.kind not in self._schemas:
            data = topic.definition.encode()
            encoding = "jsonschema" if topic.encoding == "json" else "ros2msg"
            self._schemas[topic.kind] = self._mcap.add_schema(topic.kind, encoding, data)
        metadata = {"offered_qos_profiles": topic.qos, "topic_type_hash": topic.type_hash}
        schema = self._schemas[topic.kind]
        channel = self._mcap.add_channel(topic.name, schema, metadata, topic.encoding)
        self._channels[topic.name] = channel
        return channel

    def write(self, channel: int, data: bytes, log_ns: int, publish_ns: int) -> None:
        """Adds a message.

        Args:
            channel: from `add_topic`.
            data: CDR, as it came over the wire.
            log_ns: when it was received.
            publish_ns: when it was sent.

        Raises:
            DeviceUnavailableError: the disk is full or fails; what was written before stays
                readable.
        """
        with self._guarded():
            self._mcap.add_message(channel, log_ns, publish_ns, data)
        self.messages += 1
        self.bytes += len(data)
        if self.bytes - self._looked >= _LOOK_EVERY:
            self._looked = self.bytes
            self._check_space()

    def flush(self) -> None:
        """Hands everything to the operating system: from here on a kill loses nothing of it.

        Raises:
            DeviceUnavailableError: as `write`.
        """
        with self._guarded():
            self._mcap.end_chunk()

    def close(self) -> None:
        """Writes the index and closes the file; may be repeated.

        Raises:
            DeviceUnavailableError: as `write`.
        """
        if self._file.closed:
            return
        with self._guarded():
            self._mcap.finish()
        self._file.close()

    def _create(self) -> io.FileIO:
        try:
            return self.path.open("xb", buffering=0)
        except FileExistsError:
            raise ConfigurationError(
                f"{self.path} exists already: nothing is overwritten"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be written: {error.strerror}") from None

    def _check_space(self) -> None:
        with contextlib.suppress(OSError):  # a folder that is missing: opening will say so
            free = shutil.disk_usage(self.path.parent).free
            if free < RESERVE_BYTES:
                raise DeviceUnavailableError(
                    f"the disk of {self.path} is full: {free / 1e6:.0f} MB are free, "
                    f"{RESERVE_BYTES / 1e6:.0f} MB are kept free"
                )

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """After a failed write the file is cut back to whole records and closed."""
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self.size)
            self._file.close()
            raise DeviceUnavailableError(
                f"{self.path} cannot be written: {error.strerror}; it holds the first "
                f"{self.size / 1e6:.1f} MB"
            ) from error
