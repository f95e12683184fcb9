"""Recordings: usage events of one kind in a file, as JSON lines (plain, .gz, .zst) or as Parquet.

JSON lines hold exactly what is on the wire; Parquet is described in `producers.parquet`. Events keep their
ids, so replaying a recording twice changes nothing. Reading and writing hold some thousand events at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from producers import files, parquet
from producers.streams import NODE_STREAM, POD_STREAM, TOKEN_STREAM, UsageStream
from spendstream.codec import MAX_EVENT_BYTES
from spendstream.errors import ConfigError, RecordingError
from spendstream.events import Event

__all__ = ["Writer", "check_name", "count", "read", "stream_of_line", "write", "writer"]

_COMPRESSIONS = {".jsonl": None, ".jsonl.gz": "gzip", ".jsonl.zst": "zstd"}
_PARQUET = ".parquet"
_ROW_GROUP = 10_000


class Writer(Protocol):
    """Takes the events of a recording in order."""

    def add(self, events: Sequence[Event]) -> None:
        """Append events, all of the recording's kind; raise RecordingError when the disk refuses them."""

    def close(self) -> None:
        """Complete the file."""


def read(path: Path) -> Iterator[Event]:
    """Yield a recording's events in their order; raise RecordingError at the first malformed row."""
    if files.first_bytes(path).startswith(files.PARQUET_MAGIC):
        return parquet.read(path)
    return _read_lines(path)


def count(path: Path) -> int:
    """Return how many events a recording has, blank lines included; raise RecordingError."""
    if files.first_bytes(path).startswith(files.PARQUET_MAGIC):
        return parquet.count(path)
    return files.contents(path).lines


def write(path: Path, stream: UsageStream, events: Iterable[Event]) -> None:
    """Write events of one kind to a recording; its name decides the format."""
    remaining = iter(events)
    with writer(path, stream) as recording:
        while some := list(islice(remaining, _ROW_GROUP)):
            recording.add(some)


@contextmanager
def writer(path: Path, stream: UsageStream) -> Iterator[Writer]:
    """Give a writer to a recording, which takes its name when the block ends without an error.

    Until then it is called NAME.partial. Raises ConfigError for a name that says no format, RecordingError
    when the file cannot be written.
    """
    suffix = check_name(path)
    partial = path.with_name(f"{path.name}.partial")
    with _telling(path):
        recording: Writer = (
            _ParquetWriter(partial, stream)
            if suffix == _PARQUET
            else _LineWriter(partial, stream, _COMPRESSIONS[suffix])
        )
    try:
        yield recording
    finally:
        recording.close()
    with _telling(path):
        partial.replace(path)


def check_name(path: Path) -> str:
    """Return the suffix of a recording's name, which says its format; raise ConfigError for another."""
    for suffix in (*_COMPRESSIONS, _PARQUET):
        if path.name.endswith(suffix):
            return suffix
    expected = ", ".join((*_COMPRESSIONS, _PARQUET))
    raise ConfigError(f"{path}: the name of a recording ends in one of {expected}")


def stream_of_line(line: bytes) -> UsageStream | None:
    """Return the kind of usage that a line of JSON is an event of, or None."""
    try:
        names = msgspec.json.decode(line, type=dict[str, msgspec.Raw]).keys()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not names >= {"id", "event_time"}:
        return None
    told_by = {"model": TOKEN_STREAM, "pod": POD_STREAM, "node": NODE_STREAM}  # a pod names its node, too
    return next((stream for name, stream in told_by.items() if name in names), None)


class _LineWriter:
    def __init__(self, path: Path, stream: UsageStream, compression: str | None) -> None:
        self._path = path
        self._encode = stream.codec.encode
        self._file: Any = pa.output_stream(str(path), compression=compression)

    def add(self, events: Sequence[Event]) -> None:
        with _telling(self._path):
            self._file.write(b"".join([self._encode(event) + b"\n" for event in events]))

    def close(self) -> None:
        with _telling(self._path):
            self._file.close()


class _ParquetWriter:
    """Gathers events into row groups, so that small additions do not make small groups."""

    def __init__(self, path: Path, stream: UsageStream) -> None:
        self._path = path
        self._stream = stream
        self._held: list[Event] = []
        self._file: Any = pq.ParquetWriter(path, parquet.schema(stream), compression="zstd")

    def add(self, events: Sequence[Event]) -> None:
        self._held.extend(events)
        while len(self._held) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        with _telling(self._path):
            self._flush()
            self._file.close()

    def _flush(self) -> None:
        group, self._held = self._held[:_ROW_GROUP], self._held[_ROW_GROUP:]
        if group:
            with _telling(self._path):
                self._file.write_batch(parquet.to_batch(self._stream, group))


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error}") from error


def _read_lines(path: Path) -> Iterator[Event]:
    stream: UsageStream | None = None
    for rows in _numbered_lines(path):
        stream = stream or _kind(path, *rows[0])
        events, _, rejected = stream.codec.decode_block([line for _, line in rows])
        good = rejected[0].index if rejected else len(events)
        yield from (event for event in events[:good] if event is not None)
        if rejected:
            raise RecordingError(f"{path}: row {rows[good][0]}: {rejected[0].reason}")


def _numbered_lines(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    """Yield blocks of (row number, line) without the blank lines; no block is empty."""
    row, rest = 1, b""
    for block in files.blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > MAX_EVENT_BYTES:
            raise RecordingError(f"{path}: row {row + len(lines)}: longer than {MAX_EVENT_BYTES} bytes")
        if numbered := [(number, line) for number, line in enumerate(lines, row) if line.strip()]:
            yield numbered
        row += len(lines)
    if rest.strip():
        yield [(row, rest)]


def _kind(path: Path, row: int, line: bytes) -> UsageStream:
    stream = stream_of_line(line)
    if stream is None:
        raise RecordingError(f"{path}: row {row}: expected a usage event as JSON, found {line[:80]!r}")
    return stream
