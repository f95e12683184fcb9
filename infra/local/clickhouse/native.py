"""The Native format for a client's protocol version.

A server frames each block of Native by the revision that `client_protocol_version` names; the embedded
engine always writes revision 0. This adds what the later ones have:

* from 1 on, a block begins with its info (not an overflow, no bucket);
* from 54337 on, a column's type names the time zone of a DateTime;
* from 54454 on, a byte after each column's type says whether its values are serialized in a special way:
  here never.

To place that byte the length of every column must be known, which this reads from the types and, where
they vary, from the values. See ClickHouse's src/Formats/NativeWriter.cpp and src/Core/ProtocolDefines.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.local.clickhouse.columns import Cursor, parse_type

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["lacks_time_zone", "reframe", "reframe_block"]

_TIME_ZONES: Final = 54337
_SERIALIZATION_FLAG: Final = 54454

# Field 1: is_overflows = 0; field 2: bucket_num = -1; end of fields.
_BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"


def lacks_time_zone(block: bytes, revision: int) -> bool:
    """Whether `block` may have a DateTime column whose time zone the client's revision would be told."""
    return revision >= _TIME_ZONES and b"\x08DateTime" in block


def reframe(data: bytes, revision: int) -> bytes:
    """Return the blocks of `data`, written at revision 0, as a client of `revision` expects them.

    Raises EngineError (NOT_IMPLEMENTED) for a column whose length cannot be told.
    """
    cursor, parts = Cursor(data), list[bytes]()
    while revision and cursor.position < len(data):
        _block(cursor, revision, (), parts, last=False)
    return b"".join(parts) if revision else data


def reframe_block(block: bytes, revision: int, types: Sequence[str] = ()) -> bytes:
    """Return the one block that `block` is, as `reframe` does; its last column may be of any type.

    `types` are the full types of the columns, to name time zones by; empty when they are not known.
    """
    if not types and revision < _SERIALIZATION_FLAG:
        return _BLOCK_INFO + block if revision else block
    parts: list[bytes] = []
    _block(Cursor(block), revision, types, parts, last=True)
    return b"".join(parts)


def _block(cursor: Cursor, revision: int, types: Sequence[str], parts: list[bytes], *, last: bool) -> None:
    """Append the next block to `parts`; `last` says that nothing follows it."""
    start = cursor.position
    columns, rows = cursor.varint(), cursor.varint()
    parts += _BLOCK_INFO, cursor.since(start)
    for index in range(columns):
        start = cursor.position
        cursor.skip(cursor.varint())
        parts.append(cursor.since(start))
        name = cursor.text()
        parts.append(_text(types[index] if name == "DateTime" and len(types) == columns else name))
        if revision >= _SERIALIZATION_FLAG:
            parts.append(b"\x00")
        start = cursor.position
        if last and index == columns - 1:
            cursor.to_end()
        elif rows:
            column = parse_type(name)
            column.skip_prefix(cursor)
            column.skip_values(cursor, rows)
        parts.append(cursor.since(start))


def _text(value: str) -> bytes:
    encoded = value.encode()
    length, size = bytearray(), len(encoded)
    while size > 0x7F:  # noqa: PLR2004  (a varint's seven bits)
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes(length) + encoded
