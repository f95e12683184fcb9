"""Usage events as Parquet columns and back, exactly.

Money is decimal128(38, 12) in dollars, as in ClickHouse, so that any tool that opens the file sees dollars;
in memory it is reinterpreted as integer picodollars, without passing through a float or a Python Decimal.
Times are timestamp(us, UTC), durations int64 microseconds, ids text, labels a map. Each file names its kind
of usage and the schema version in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from producers.streams import STREAMS, UsageStream
from spendstream.errors import RecordingError
from spendstream.events import SCHEMA_VERSION, Event, Micros, Pico

__all__ = ["count", "read", "schema", "stream_in", "to_batch"]

_TOPIC_KEY = b"spendstream.topic"
_IDS = ("id", "reprices")
_VERSION_KEY = b"spendstream.schema_version"
_BATCH_ROWS = 4096
_MONEY = pa.decimal128(38, 12)
_PICO = pa.decimal128(38, 0)
_TIME = pa.timestamp("us", tz="UTC")
_LABELS = pa.map_(pa.string(), pa.string())


def schema(stream: UsageStream) -> pa.Schema:
    """Return the columns of a kind of usage: one for each field of its events, in their order."""
    metadata = {_TOPIC_KEY: stream.topic.name.encode(), _VERSION_KEY: str(SCHEMA_VERSION).encode()}
    hints = get_type_hints(stream.event_type, include_extras=True)
    names = stream.event_type.__struct_fields__
    return pa.schema([_column(name, hints[name]) for name in names], metadata=metadata)


def to_batch(stream: UsageStream, events: Sequence[Event]) -> pa.RecordBatch:
    """Return events of one kind as columns."""
    columns = schema(stream)
    arrays = [_array(column, [getattr(event, column.name) for event in events]) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def count(path: Path) -> int:
    """Return how many rows a Parquet file has; raise RecordingError."""
    with _opened(path) as file:
        rows: int = file.metadata.num_rows
        return rows


def read(path: Path) -> Iterator[Event]:
    """Yield the events of a Parquet file, some thousand at a time; raise RecordingError."""
    with _opened(path) as file:
        stream = stream_in(path, file.schema_arrow)
        names = [name for name in schema(stream).names if name in file.schema_arrow.names]
        row = 1
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
            yield from _events(path, row, stream, batch)
            row += batch.num_rows


def stream_in(path: Path, columns: pa.Schema) -> UsageStream:
    """Return the kind of usage in a file with these columns; raise RecordingError for none or a newer one."""
    metadata = columns.metadata or {}
    version = metadata.get(_VERSION_KEY, str(SCHEMA_VERSION).encode())
    if not version.isdigit() or int(version) > SCHEMA_VERSION:
        raise RecordingError(
            f"{path}: schema version {version.decode(errors='replace')}: "
            f"this release reads up to {SCHEMA_VERSION}; upgrade, then replay"
        )
    for stream in STREAMS:
        if metadata.get(_TOPIC_KEY) == stream.topic.name.encode():
            return stream
    for stream in STREAMS:
        required = {field.name for field in msgspec.structs.fields(stream.event_type) if field.required}
        if required <= set(columns.names):
            return stream
    raise RecordingError(f"{path}: expected columns of usage events, found {', '.join(columns.names)}")


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path}: cannot be read as Parquet: {error}") from error


def _column(name: str, hint: Any) -> pa.Field:
    options = get_args(hint)
    nullable = type(None) in options
    kind = options[0] if nullable else hint
    return pa.field(name, _arrow_type(kind), nullable=nullable)


def _arrow_type(kind: Any) -> pa.DataType:
    if kind == Micros:
        return _TIME
    if kind == Pico:
        return _MONEY
    if kind == dict[str, str]:
        return _LABELS
    base = getattr(kind, "__origin__", kind)
    return {int: pa.int64(), float: pa.float64()}.get(base, pa.string())  # texts, ids and choices


def _array(column: pa.Field, values: list[Any]) -> pa.Array:
    if column.type == _MONEY:
        return _with_scale(pa.array(values, pa.int64()).cast(_PICO), _MONEY)
    if column.type == _LABELS:
        values = [list(labels.items()) for labels in values]
    elif column.name in _IDS:
        values = [value and str(value) for value in values]
    return pa.array(values, column.type)


def _events(path: Path, row: int, stream: UsageStream, batch: pa.RecordBatch) -> Iterator[Event]:
    expected = schema(stream)
    columns = [_values(batch.column(name).cast(expected.field(name).type)) for name in batch.schema.names]
    rows = [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
    try:
        yield from msgspec.convert(rows, list[stream.event_type])  # type: ignore[name-defined]
    except msgspec.ValidationError:
        for number, values in enumerate(rows, row):
            yield _event(path, number, stream, values)


def _event(path: Path, row: int, stream: UsageStream, values: dict[str, Any]) -> Event:
    try:
        return msgspec.convert(values, stream.event_type)
    except msgspec.ValidationError as error:
        raise RecordingError(f"{path}: row {row}: {error}") from error


def _values(array: pa.Array) -> list[Any]:
    if array.type == _MONEY:
        array = _with_scale(array, _PICO).cast(pa.int64())
    elif array.type == _TIME:
        array = array.cast(pa.int64())
    values: list[Any] = array.to_pylist()
    return [dict(labels) for labels in values] if array.type == _LABELS else values


def _with_scale(array: pa.Array, money: pa.DataType) -> pa.Array:
    """Return the same 128-bit integers as decimals of another scale: dollars as picodollars, or back."""
    return pa.Array.from_buffers(money, len(array), array.buffers(), array.null_count, array.offset)
