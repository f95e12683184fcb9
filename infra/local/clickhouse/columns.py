"""How long a column of the Native format is: its type, and a walk over its values.

See the serializations in ClickHouse's src/DataTypes/Serializations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from infra.local.clickhouse.errors import Code, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ColumnType", "Cursor", "parse_type", "split_types"]

_SIZES: Final = {
    "Bool": 1, "BFloat16": 2, "Date": 2, "Date32": 4, "DateTime": 4, "DateTime64": 8, "Enum8": 1, "Enum16": 2,
    "Float32": 4, "Float64": 8, "IPv4": 4, "IPv6": 16, "Int8": 1, "Int16": 2, "Int32": 4, "Int64": 8,
    "Int128": 16, "Int256": 32, "Nothing": 1, "Time": 4, "Time64": 8, "UInt8": 1, "UInt16": 2, "UInt32": 4,
    "UInt64": 8, "UInt128": 16, "UInt256": 32, "UUID": 16,
}  # fmt: skip
_ALIASES: Final = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "MultiLineString": "Array(LineString)",
    "Polygon": "Array(Ring)",
    "MultiPolygon": "Array(Polygon)",
}
_DECIMAL_SIZES: Final = ((9, 4), (18, 8), (38, 16), (76, 32))
_TYPE: Final = re.compile(r"(?P<name>\w+)(?:\((?P<arguments>.*)\))?", re.DOTALL)
_PIECES: Final = re.compile(r"[(),]|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|[^(),'`]+", re.DOTALL)
_NAMED: Final = re.compile(r"(?:`(?:[^`\\]|\\.)*`|\w+)\s+(?P<type>[A-Z].*)", re.DOTALL)


class Cursor:
    """A position in bytes that only moves on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def varint(self) -> int:
        """Read a number of seven bits a byte, the low ones first."""
        value = shift = 0
        while True:
            byte = self._data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004  (the bit that says that another byte follows)
                return value
            shift += 7

    def text(self) -> str:
        """Read a string with its length before it."""
        size = self.varint()
        self.position += size
        return self._data[self.position - size : self.position].decode()

    def fixed(self, size: int) -> int:
        """Read a little-endian number of `size` bytes."""
        self.position += size
        return int.from_bytes(self._data[self.position - size : self.position], "little")

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        self.position += size

    def skip_strings(self, count: int) -> None:
        """Pass over `count` strings."""
        data, position = self._data, self.position
        for _ in range(count):
            size = data[position]
            position += 1
            if size > 0x7F:  # noqa: PLR2004  (a longer length; short strings are the common case)
                self.position = position - 1
                size = self.varint()
                position = self.position
            position += size
        self.position = position

    def to_end(self) -> None:
        """Pass over all that is left."""
        self.position = len(self._data)

    def since(self, start: int) -> bytes:
        """Return the bytes from `start` to here."""
        return self._data[start : self.position]

    def counts(self, size: int) -> dict[int, int]:
        """Read `size` bytes and return how often each value occurs."""
        seen = self._data[self.position : self.position + size]
        self.position += size
        return {value: seen.count(value) for value in set(seen)}


class ColumnType(Protocol):
    """A type: what stands once before a column's values, and the values."""

    def skip_prefix(self, cursor: Cursor) -> None:
        """Pass over what is written once for a column."""

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        """Pass over the values of `rows` rows."""


@dataclass(frozen=True, slots=True)
class _Fixed:
    size: int

    def skip_prefix(self, cursor: Cursor) -> None:
        pass

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        cursor.skip(rows * self.size)


@dataclass(frozen=True, slots=True)
class _String:
    def skip_prefix(self, cursor: Cursor) -> None:
        pass

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        cursor.skip_strings(rows)


@dataclass(frozen=True, slots=True)
class _Nullable:
    inner: ColumnType

    def skip_prefix(self, cursor: Cursor) -> None:
        self.inner.skip_prefix(cursor)

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        cursor.skip(rows)
        self.inner.skip_values(cursor, rows)


@dataclass(frozen=True, slots=True)
class _Array:
    inner: ColumnType

    def skip_prefix(self, cursor: Cursor) -> None:
        self.inner.skip_prefix(cursor)

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        cursor.skip(8 * (rows - 1))
        if items := cursor.fixed(8):  # the last offset counts the items of all rows
            self.inner.skip_values(cursor, items)


@dataclass(frozen=True, slots=True)
class _Tuple:
    inner: tuple[ColumnType, ...]

    def skip_prefix(self, cursor: Cursor) -> None:
        for column in self.inner:
            column.skip_prefix(cursor)

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        if not self.inner:
            cursor.skip(rows)
        for column in self.inner:
            column.skip_values(cursor, rows)


@dataclass(frozen=True, slots=True)
class _LowCardinality:
    inner: ColumnType

    def skip_prefix(self, cursor: Cursor) -> None:
        cursor.skip(8)  # version of the keys' serialization

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        index_size = 1 << (cursor.fixed(8) & 0xFF)
        self.inner.skip_values(cursor, cursor.fixed(8))
        cursor.skip(8 + rows * index_size)


@dataclass(frozen=True, slots=True)
class _Variant:
    inner: tuple[ColumnType, ...]

    def skip_prefix(self, cursor: Cursor) -> None:
        cursor.skip(8)  # mode of the discriminators
        for column in self.inner:
            column.skip_prefix(cursor)

    def skip_values(self, cursor: Cursor, rows: int) -> None:
        counts = cursor.counts(rows)
        for discriminator, column in enumerate(self.inner):
            if count := counts.get(discriminator, 0):
                column.skip_values(cursor, count)


@lru_cache(maxsize=1024)
def parse_type(text: str) -> ColumnType:
    """Return the type that `text` names.

    Raises EngineError (NOT_IMPLEMENTED) for one whose values do not tell their length: the states of
    aggregate functions, Dynamic, JSON.
    """
    text = _ALIASES.get(text, text)
    found = _TYPE.fullmatch(text)
    name, arguments = (found["name"], found["arguments"] or "") if found else (text, "")
    if size := _SIZES.get(name):
        return _Fixed(size)
    if name.startswith("Interval"):
        return _Fixed(8)
    if build := _PARAMETRIC.get(name):
        return build(arguments)
    message = (
        f"client_protocol_version: the endpoint cannot frame a column of type {text} for this client. "
        "Convert the column, for example with toString or finalizeAggregation, or select it last."
    )
    raise EngineError.raised(Code.NOT_IMPLEMENTED, message)


def _decimal(arguments: str) -> ColumnType:
    precision = int(arguments.partition(",")[0])
    return _Fixed(next(size for most, size in _DECIMAL_SIZES if precision <= most))


def _low_cardinality(arguments: str) -> ColumnType:
    nullable = arguments.startswith("Nullable(")  # the dictionary itself holds no nulls
    return _LowCardinality(parse_type(arguments[len("Nullable(") : -1] if nullable else arguments))


def _elements(arguments: str) -> tuple[ColumnType, ...]:
    """Return the types of a list, whose parts may have names before them."""
    named = ((part, _NAMED.fullmatch(part)) for part in split_types(arguments))
    return tuple(parse_type(found["type"] if found else part) for part, found in named)


_PARAMETRIC: Final[dict[str, Callable[[str], ColumnType]]] = {
    "Array": lambda arguments: _Array(parse_type(arguments)),
    "Decimal": _decimal,
    "FixedString": lambda arguments: _Fixed(int(arguments)),
    "LowCardinality": _low_cardinality,
    "Map": lambda arguments: _Array(_Tuple(_elements(arguments))),
    "Nested": lambda arguments: _Array(_Tuple(_elements(arguments))),
    "Nullable": lambda arguments: _Nullable(parse_type(arguments)),
    "SimpleAggregateFunction": lambda arguments: parse_type(split_types(arguments)[-1]),
    "String": lambda _: _String(),
    "Tuple": lambda arguments: _Tuple(_elements(arguments)),
    "Variant": lambda arguments: _Variant(_elements(arguments)),
}


def split_types(arguments: str) -> list[str]:
    """Split a list of types at the commas outside parentheses and quotes."""
    parts, depth = [""], 0
    for piece in _PIECES.findall(arguments):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts if part.strip()]
