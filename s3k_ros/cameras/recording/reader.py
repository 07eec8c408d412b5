"""Reads ROS 2 messages from MCAP files, of ours and of others, without ROS.

Files are read from front to back. One that was never finished, because its recorder was killed,
ends where it is cut off; one that is damaged is refused from there on.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import zstandard
from mcap.exceptions import EndOfFile, McapError
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.writer import MCAP0_MAGIC
from mcap_ros2.decoder import DecoderFactory

from s3k_ros.errors import ConfigurationError, DataError

# Larger records than this are no messages of cameras, but damage.
_MOST_BYTES = 2**30
# The record at the end: its head, two places, a checksum, and the file's magic.
_FOOTER_BYTES = 1 + 8 + 20 + 8
# What the libraries raise on bytes that are not what they should be.
_DAMAGE = (McapError, ValueError, RuntimeError, struct.error, zstandard.ZstdError, KeyError)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedMessage:
    """One message.

    Attributes:
        topic, kind: its topic and type, such as "sensor_msgs/msg/Image".
        data: CDR.
        log_ns, publish_ns: when it was received and sent.
        schema: how to read it.
        encoding: "cdr", or "json".
    """

    topic: str
    kind: str
    data: bytes
    log_ns: int
    publish_ns: int
    schema: Schema
    encoding: str = "cdr"


class Recording:
    """An MCAP file, or the folder of a bag with one.

    Attributes:
        path: the file.
        finished: False when its recorder was killed: the index and the last moments are missing.

    Raises:
        ConfigurationError: it does not exist, or is no MCAP file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = _file(Path(path))
        try:
            with self.path.open("rb") as file:
                head = file.read(len(MCAP0_MAGIC))
                file.seek(-min(len(MCAP0_MAGIC), file.seek(0, 2)), 2)
                tail = file.read()
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}") from None
        if head != MCAP0_MAGIC:
            hint = ": `ros2 bag convert` makes one of it" if self.path.suffix == ".db3" else ""
            raise ConfigurationError(f"{self.path} is no MCAP file{hint}")
        self.finished = tail == MCAP0_MAGIC and self.path.stat().st_size > _FOOTER_BYTES
        self._decoders = DecoderFactory()

    def topics(self) -> dict[str, str]:
        """Type by topic; of an unfinished file it reads all.

        Raises:
            DataError: the file is damaged.
        """
        if not self.finished:
            return {message.topic: message.kind for message in self.messages(lambda _: True)}
        try:
            with self.path.open("rb") as file:
                _check_summary(file)
                summary = make_reader(file).get_summary()
        except (*_DAMAGE, OSError) as error:
            raise self._damaged(error) from None
        if summary is None or (summary.statistics and not summary.channels):
            return {message.topic: message.kind for message in self.messages(lambda _: True)}
        kinds = {number: schema.name for number, schema in summary.schemas.items()}
        return {c.topic: kinds.get(c.schema_id, "") for c in summary.channels.values()}

    def count(self, topic: str) -> int | None:
        """How many messages of a topic the index lists; None without one."""
        if not self.finished:
            return None
        with self.path.open("rb") as file:
            summary = make_reader(file).get_summary()
        if summary is None or summary.statistics is None:
            return None
        counts = summary.statistics.channel_message_counts
        return sum(counts.get(c.id, 0) for c in summary.channels.values() if c.topic == topic)

    def messages(
        self, wanted: Callable[[str], bool], encodings: tuple[str, ...] = ("cdr",)
    ) -> Iterator[RecordedMessage]:
        """The messages of some topics, in the order in which they were written.

        Args:
            wanted: whether a topic is.
            encodings: other messages are left out.

        Raises:
            DataError: the file is damaged; what came before was sound.
        """
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = channels.get(record.channel_id)
                if channel is None:
                    raise self._damaged(f"a message of unknown channel {record.channel_id}")
                schema = schemas.get(channel.schema_id)
                if channel.message_encoding not in encodings or schema is None:
                    continue
                if wanted(channel.topic):
                    yield RecordedMessage(
                        channel.topic, schema.name, record.data, record.log_time,
                        record.publish_time, schema, channel.message_encoding,
                    )  # fmt: skip

    def decode(self, message: RecordedMessage) -> Any:
        """A message of CDR with its fields as attributes.

        Raises:
            DataError: it does not fit its definition.
        """
        try:
            decoder = self._decoders.decoder_for("cdr", message.schema)
            if decoder is None:
                raise ValueError(f"definitions of kind {message.schema.encoding!r} are not read")
            return decoder(message.data)
        except (*_DAMAGE, IndexError, MemoryError, OverflowError) as error:
            raise DataError(
                f"{self.path}: a message of {message.topic} cannot be read: {error}"
            ) from None

    def _records(self) -> Iterator[Any]:
        """Schemas, channels and messages; chunks are unpacked and checked."""
        with self.path.open("rb") as file:
            reader = StreamReader(file, emit_chunks=True, record_size_limit=_MOST_BYTES)
            records = iter(reader.records)
            while True:
                try:
                    record = next(records)
                    inner = self._unpacked(record)
                except StopIteration:
                    return
                except _DAMAGE as error:
                    # A torn record lies at the very end: reading has come there.
                    torn = isinstance(error, (EndOfFile, struct.error, ValueError))
                    if not self.finished and torn and not file.read(1):
                        return
                    raise self._damaged(error) from None
                yield from inner

    def _unpacked(self, record: Any) -> list[Any]:
        if not isinstance(record, Chunk):
            return [record]
        if record.uncompressed_size > _MOST_BYTES:
            raise ValueError(f"a chunk of {record.uncompressed_size} bytes")
        return breakup_chunk(record, validate_crc=True)

    def _damaged(self, error: object) -> DataError:
        text = str(error) or type(error).__name__
        return DataError(f"{self.path} is damaged: {text}")


def _check_summary(file: IO[bytes]) -> None:
    """Compares the index at the end with its checksum, which the library does not.

    Raises:
        ValueError: it is damaged.
    """
    file.seek(-_FOOTER_BYTES, 2)
    place = file.tell()
    start, _, checksum = struct.unpack("<QQI", file.read(_FOOTER_BYTES)[9:29])
    if start and checksum:
        if not 0 < start <= place:
            raise ValueError(f"its index begins at byte {start}")
        file.seek(start)
        if zlib.crc32(file.read()[: -len(MCAP0_MAGIC) - 4]) != checksum:
            raise ValueError("its index has another checksum")
    file.seek(0)


def _file(path: Path) -> Path:
    """The MCAP file that a path means."""
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist")
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.mcap"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ConfigurationError(f"{path} must hold one .mcap file, it holds {names}: name a file")
    return found[0]
