"""Reports for machines: CSV, JSON and Parquet. Money is exact dollars in all of them, never a float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from spendstream.clock import from_micros
from spendstream.money import dollars, plain_usd
from spendstream.reports.lines import csv_lines
from spendstream.reports.table import Cell, Column, Kind, Table

__all__ = ["to_csv", "to_json", "write_parquet"]

_SHARE_DIGITS = 9
_JSON = msgspec.json.Encoder(decimal_format="number")  # exact, and a number to every reader
_TYPES: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "count": pa.int64(),
    "money": pa.decimal128(38, 12),
    "share": pa.float64(),
    "time": pa.timestamp("us", tz="UTC"),
}
_TEXTS: Mapping[Kind, Callable[[Any], str]] = {
    "money": plain_usd,
    "share": lambda cell: f"{float(cell):.{_SHARE_DIGITS}f}",
    "time": lambda cell: f"{from_micros(cell):%Y-%m-%dT%H:%M:%SZ}",
}
_VALUES: Mapping[Kind, Callable[[Any], Any]] = {
    "money": dollars,
    "share": lambda cell: round(float(cell), _SHARE_DIGITS),
    "time": lambda cell: f"{from_micros(cell):%Y-%m-%dT%H:%M:%SZ}",
}


def to_csv(table: Table) -> str:
    """Return the rows under a header of names; what is not known is empty. There is no row of totals."""
    header = [column.name for column in table.columns]
    rows = (
        ["" if cell is None else _text(column, cell) for column, cell in zip(table.columns, row, strict=True)]
        for row in table.rows
    )
    return csv_lines([header, *rows])


def to_json(table: Table) -> bytes:
    """Return an object with the rows as objects, their total, and the notes."""
    return _JSON.encode(
        {
            "report": table.name,
            "title": table.title,
            "about": table.about,
            "rows": [_record(table.columns, row) for row in table.rows],
            "total": None if table.total is None else _summed(table),
            "notes": table.notes,
        }
    )


def write_parquet(table: Table, file: BinaryIO) -> None:
    """Write the rows as Parquet: money as decimal128(38, 12) dollars, times as timestamps in UTC."""
    columns = {
        column.name: pa.array(
            [None if cell is None else _arrow(column, cell) for cell in table.column(column.name)],
            _TYPES[column.kind],
        )
        for column in table.columns
    }
    notes = {
        b"spendstream.title": table.title.encode(),
        b"spendstream.notes": "\n".join(table.notes).encode(),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(notes), file)


def _text(column: Column, cell: Cell) -> str:
    return _TEXTS.get(column.kind, str)(cell)


def _record(columns: Sequence[Column], row: Sequence[Cell]) -> Mapping[str, object]:
    return {
        column.name: None if cell is None else _VALUES.get(column.kind, _same)(cell)
        for column, cell in zip(columns, row, strict=True)
    }


def _summed(table: Table) -> Mapping[str, object]:
    """Return the total, of which only the sums mean anything to a machine."""
    record = _record(table.columns, cast("Sequence[Cell]", table.total))
    return {column.name: record[column.name] for column in table.columns if column.summed}


def _arrow(column: Column, cell: Cell) -> str | int | float | Decimal | datetime:
    if column.kind == "money":
        return dollars(cast("int", cell))
    if column.kind == "share":
        return float(cast("Fraction", cell))
    if column.kind == "time":
        return from_micros(cast("int", cell))
    return cast("str | int", cell)


def _same(cell: Any) -> Any:
    return cell
