"""A FOCUS dataset as a Parquet or CSV file, written piece by piece: memory holds one row group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq

from spendstream.focus.charge import Charge
from spendstream.focus.columns import Version, batch, schema
from spendstream.reports.lines import csv_lines

__all__ = ["FORMATS", "Writer"]

_ROWS = 50_000  # of a row group, some megabytes


class _Sink(Protocol):
    def write(self, rows: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class Writer:
    """Writes charges to `file`, in Parquet's row groups or in CSV's lines; at the end, close it."""

    def __init__(self, file: BinaryIO, version: Version, form: str) -> None:
        self._version = version
        self._sink = _SINKS[form](file, version)
        self._waiting: list[Charge] = []
        self.written = 0

    def add(self, charge: Charge) -> None:
        """Write a charge, together with others."""
        self._waiting.append(charge)
        if len(self._waiting) == _ROWS:
            self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        self._sink.close()

    def flush(self) -> None:
        """Write what waits for others."""
        if self._waiting:
            self._sink.write(batch(self._version, self._waiting))
            self.written += len(self._waiting)
            self._waiting = []


class _Parquet:
    def __init__(self, file: BinaryIO, version: Version) -> None:
        self._writer = pq.ParquetWriter(file, schema(version), compression="zstd")

    def write(self, rows: pa.RecordBatch) -> None:
        self._writer.write_batch(rows)

    def close(self) -> None:
        self._writer.close()


class _Csv:
    """Decimals without an exponent, times as in ISO 8601 with a Z, nothing where there is null."""

    def __init__(self, file: BinaryIO, version: Version) -> None:
        self._file = file
        self._file.write(csv_lines([schema(version).names]).encode())

    def write(self, rows: pa.RecordBatch) -> None:
        columns = [map(_text, column.to_pylist()) for column in rows.columns]
        self._file.write(csv_lines(zip(*columns, strict=True)).encode())

    def close(self) -> None:
        self._file.flush()


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return str(value)


_SINKS: Mapping[str, Callable[[BinaryIO, Version], _Sink]] = {"parquet": _Parquet, "csv": _Csv}
FORMATS: Sequence[str] = tuple(_SINKS)
