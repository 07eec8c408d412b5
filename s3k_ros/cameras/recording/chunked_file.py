"""The layout of an MCAP file, written without a copy of the messages.

The library's writer copies every message three times, which at 300 MB/s of images is most of a
core. Here large messages go from the wire's bytes to the disk; the forms of records are the
library's.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import lz4.frame
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.writer import MCAP0_MAGIC

# A larger chunk ends. So an image is a chunk of its own; smaller messages gather until then.
CHUNK_BYTES = 2**20
# Smaller messages are copied together.
_SMALL_BYTES = 2**16

# As IOV_MAX of Linux.
_MOST_PIECES = 1024

# Bytes after which the kernel is told to write them.
_HAND_OVER_BYTES = 2**25

Pieces = list[bytes | bytearray]


def _lz4(pieces: Pieces) -> Pieces:
    compressor = lz4.frame.LZ4FrameCompressor()
    return [compressor.begin(), *map(compressor.compress, pieces), compressor.flush()]


def _zstd(pieces: Pieces) -> Pieces:
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=sum(map(len, pieces)))
    return [*map(compressor.compress, pieces), compressor.flush()]


# By the name that the format has for each; "" is none.
COMPRESSORS: Mapping[str, Callable[[Pieces], Pieces]] = {
    "lz4": _lz4,
    "zstd": _zstd,
    "": lambda pieces: pieces,
}


@dataclasses.dataclass
class _Chunk:
    """Records that are not written yet: schemas, channels and messages."""

    pieces: Pieces = dataclasses.field(default_factory=list)
    size: int = 0
    first_ns: int = 0
    last_ns: int = 0
    # Of each channel, time and place of its messages.
    places: dict[int, list[tuple[int, int]]] = dataclasses.field(default_factory=dict)

    def add(self, data: bytes) -> None:
        if len(data) >= _SMALL_BYTES:
            self.pieces.append(data)
        elif self.pieces and isinstance(self.pieces[-1], bytearray):
            self.pieces[-1].extend(data)
        else:
            self.pieces.append(bytearray(data))
        self.size += len(data)

    def add_message(self, channel: int, log_ns: int) -> None:
        """Notes a message that is about to be added."""
        self.first_ns = min(self.first_ns, log_ns) if self.places else log_ns
        self.last_ns = max(self.last_ns, log_ns)
        self.places.setdefault(channel, []).append((log_ns, self.size))


class ChunkedFile:
    """An MCAP file of profile "ros2" that grows chunk by chunk.

    Args:
        file: empty and unbuffered.
        compression: a key of COMPRESSORS.

    Attributes:
        size: bytes in the file, always whole records.

    Raises:
        OSError: as all methods, when the file cannot be written; it may end in a torn record.
    """

    def __init__(self, file: io.FileIO, compression: str) -> None:
        self.size = self._handed_over = 0
        self._file, self._compression = file, compression
        self._chunk = _Chunk()
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._chunks: list[ChunkIndex] = []
        self._counts: dict[int, int] = {}
        self._write([MCAP0_MAGIC, _bytes(Header(profile="ros2", library="s3k_ros"))])

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """The number of a new message definition."""
        schema = Schema(id=len(self._schemas) + 1, name=name, encoding=encoding, data=data)
        self._schemas.append(schema)
        self._chunk.add(_bytes(schema))
        return len(self._schemas)

    def add_channel(
        self, topic: str, schema: int, metadata: Mapping[str, str], encoding: str = "cdr"
    ) -> int:
        """The number of a new topic."""
        channel = Channel(
            id=len(self._channels) + 1, topic=topic, message_encoding=encoding,
            metadata=dict(metadata), schema_id=schema,
        )  # fmt: skip
        self._channels.append(channel)
        self._chunk.add(_bytes(channel))
        return len(self._channels)

    def add_message(self, channel: int, log_ns: int, publish_ns: int, data: bytes) -> None:
        """Adds a message; written with the next chunk that ends."""
        count = self._counts[channel] = self._counts.get(channel, 0) + 1
        self._chunk.add_message(channel, log_ns)
        length = 2 + 4 + 8 + 8 + len(data)
        head = (Opcode.MESSAGE, length, channel, count & 0xFFFFFFFF, log_ns, publish_ns)
        self._chunk.add(struct.pack("<BQHIQQ", *head))
        self._chunk.add(data)
        if self._chunk.size > CHUNK_BYTES:
            self.end_chunk()

    def end_chunk(self) -> None:
        """Writes what has gathered, if there are messages in it."""
        chunk = self._chunk
        if not chunk.places:
            return
        checksum = 0
        for piece in chunk.pieces:
            checksum = zlib.crc32(piece, checksum)
        packed = COMPRESSORS[self._compression](chunk.pieces)
        name, length = self._compression.encode(), sum(map(len, packed))
        head = struct.pack(
            f"<BQQQQII{len(name)}sQ",
            *(Opcode.CHUNK, 8 + 8 + 8 + 4 + 4 + len(name) + 8 + length),
            *(chunk.first_ns, chunk.last_ns, chunk.size, checksum, len(name), name, length),
        )
        start = self.size
        chunk_length = len(head) + length
        places: dict[int, int] = {}
        indexes: Any = RecordBuilder()
        for channel, records in chunk.places.items():
            places[channel] = start + chunk_length + indexes.count
            MessageIndex(channel_id=channel, records=records).write(indexes)
        index_length = indexes.count
        self._write([head, *packed, indexes.end()])
        self._chunks.append(
            ChunkIndex(
                chunk_length=chunk_length,
                chunk_start_offset=start,
                compression=self._compression,
                compressed_size=length,
                message_end_time=chunk.last_ns,
                message_index_length=index_length,
                message_index_offsets=places,
                message_start_time=chunk.first_ns,
                uncompressed_size=chunk.size,
            )
        )
        self._chunk = _Chunk()

    def finish(self) -> None:
        """Writes the last chunk and the index."""
        self.end_chunk()
        self._write([_bytes(DataEnd(data_section_crc=0))])
        start = self.size
        summary: Any = RecordBuilder()
        offsets: Any = RecordBuilder()
        groups: Sequence[tuple[Opcode, Iterable[McapRecord]]] = (
            (Opcode.SCHEMA, self._schemas),
            (Opcode.CHANNEL, self._channels),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, self._chunks),
        )
        for opcode, records in groups:
            group_start = summary.count
            for record in records:
                record.write(summary)
            length = summary.count - group_start
            if length:
                SummaryOffset(
                    group_opcode=opcode, group_start=start + group_start, group_length=length
                ).write(offsets)
        offsets_start = start + summary.count
        text = summary.end() + offsets.end()
        # The checksum covers the footer too, up to itself.
        head = struct.pack("<BQQQ", Opcode.FOOTER, 8 + 8 + 4, start, offsets_start)
        checksum = zlib.crc32(head, zlib.crc32(text))
        footer = Footer(
            summary_start=start, summary_offset_start=offsets_start, summary_crc=checksum
        )
        self._write([text, _bytes(footer), MCAP0_MAGIC])

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_end_time=max((c.message_end_time for c in self._chunks), default=0),
            message_start_time=min((c.message_start_time for c in self._chunks), default=0),
            metadata_count=0,
            schema_count=len(self._schemas),
        )

    def _write(self, pieces: Pieces) -> None:
        """All of some bytes, in as few calls as the system allows."""
        left = [memoryview(piece) for piece in pieces if piece]
        total = sum(map(len, left))
        while left:
            written = os.writev(self._file.fileno(), left[:_MOST_PIECES])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]
        self.size += total
        if self.size - self._handed_over >= _HAND_OVER_BYTES:
            # The kernel begins to write now, and forgets what is written. Left alone it gathers a
            # good part of the memory, and then stops whoever writes until that is on the disk.
            os.posix_fadvise(self._file.fileno(), 0, self.size, os.POSIX_FADV_DONTNEED)
            self._handed_over = self.size


def _bytes(record: McapRecord) -> bytes:
    builder: Any = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())
