"""The Native format, as the embedded endpoint reframes it for clients of later protocol versions."""

import struct

import pytest

from infra.local.clickhouse.columns import Cursor, parse_type, split_types
from infra.local.clickhouse.errors import EngineError
from infra.local.clickhouse.native import lacks_time_zone, reframe, reframe_block

INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
U64 = struct.Struct("<Q").pack


def text(value):
    return bytes([len(value)]) + value.encode()


def block(rows, *columns):
    return bytes([len(columns), rows]) + b"".join(
        text(name) + text(kind) + data for name, kind, data in columns
    )


NUMBER = ("n", "UInt16", b"\x01\x00\x02\x00")
LABEL = ("s", "String", b"\x01a\x02bc")


def test_revision_0_is_what_the_engine_writes():
    data = block(2, NUMBER, LABEL)
    assert reframe(data, 0) == reframe_block(data, 0) == data


def test_each_block_gets_its_info():
    data = block(2, NUMBER, LABEL)
    assert reframe(data + data, 54405) == (INFO + data) * 2


def test_each_column_gets_a_flag_from_54454_on():
    data = block(2, NUMBER, LABEL)
    flagged = b"\x02\x02" + b"\x01n\x06UInt16\x00" + NUMBER[2] + b"\x01s\x06String\x00" + LABEL[2]
    assert reframe_block(data, 54460) == reframe(data, 54460) == INFO + flagged


def test_a_time_zone_is_named():
    data = block(1, ("d", "DateTime", b"\0\0\0\0"), ("e", "DateTime", b"\0\0\0\0"))
    types = ["DateTime('Asia/Tokyo')", "DateTime"]
    named = b"\x02\x01\x01d\x16DateTime('Asia/Tokyo')\0\0\0\0\x01e\x08DateTime\0\0\0\0"
    assert lacks_time_zone(data, 54405)
    assert not lacks_time_zone(data, 54300)
    assert reframe_block(data, 54405, types) == INFO + named


def test_a_long_type_name_keeps_its_length():
    members = ", ".join(f"'value-{i}' = {i}" for i in range(20))
    kind = f"Enum8({members})"
    size = len(kind)
    data = b"\x01\x01\x01e" + bytes([size & 0x7F | 0x80, size >> 7]) + kind.encode() + b"\x01"
    assert reframe(data, 54405) == INFO + data


@pytest.mark.parametrize(
    ("kind", "rows", "data"),
    [
        ("Nullable(String)", 2, b"\x00\x01" + b"\x01a" + b"\x00"),
        ("String", 1, b"\xc8\x01" + b"x" * 200),
        ("Array(Array(UInt8))", 2, U64(1) + U64(2) + U64(2) + U64(3) + b"abc"),
        ("Array(String)", 1, U64(0)),
        ("Map(String, Decimal(18, 4))", 1, U64(1) + b"\x01k" + b"\0" * 8),
        ("Tuple(a UInt8, `b c` String)", 1, b"\x01" + b"\x00"),
        ("Tuple()", 2, b"\0\0"),
        ("Nested(a UInt8, b Enum8('x, y' = 1, 'it\\'s (' = 2))", 1, U64(2) + b"\x01\x02" + b"\x01\x02"),
        ("LowCardinality(String)", 2, U64(1) + U64(0x600) + U64(2) + b"\x00\x01a" + U64(2) + b"\0\x01"),
        ("LowCardinality(Nullable(UInt16))", 1, U64(1) + U64(0x601) + U64(1) + b"\0\0" + U64(1) + b"\0\0"),
        ("Array(LowCardinality(String))", 1, U64(1) + U64(1) + U64(0x600) + U64(1) + b"\0" + U64(1) + b"\0"),
        ("Variant(String, UInt8)", 3, U64(0) + b"\x01\xff\x00" + b"\x01a" + b"\x07"),
        ("Decimal(9, 2)", 1, b"\0" * 4),
        ("Decimal(38, 2)", 1, b"\0" * 16),
        ("Decimal(76, 2)", 1, b"\0" * 32),
        ("FixedString(3)", 2, b"abcdef"),
        ("DateTime64(3, 'UTC')", 1, b"\0" * 8),
        ("SimpleAggregateFunction(sum, UInt64)", 1, b"\0" * 8),
        ("IntervalSecond", 1, b"\0" * 8),
        ("Polygon", 1, U64(1) + U64(1) + b"\0" * 16),
    ],
)
def test_every_type_is_passed_over_exactly(kind, rows, data):
    cursor = Cursor(data + b"more")
    column = parse_type(kind)
    column.skip_prefix(cursor)
    column.skip_values(cursor, rows)
    assert cursor.position == len(data)


def test_a_type_of_unknown_length_may_come_last_only():
    last = block(1, ("n", "UInt8", b"\x01"), ("j", "JSON", b"whatever"))
    assert reframe_block(last, 54460).endswith(b"\x04JSON\x00whatever")
    first = block(1, ("j", "JSON", b"whatever"), ("n", "UInt8", b"\x01"))
    with pytest.raises(EngineError, match="type JSON") as refused:
        reframe_block(first, 54460)
    assert refused.value.code == 48


def test_types_split_at_outer_commas():
    listed = "UInt8, Tuple(a Int8, b Int8), Enum8('x, y' = 1, ')' = 2)"
    assert split_types(listed) == ["UInt8", "Tuple(a Int8, b Int8)", "Enum8('x, y' = 1, ')' = 2)"]
