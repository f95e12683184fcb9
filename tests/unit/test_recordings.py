"""What is recorded is read again, whatever the events and the format, and never more or less."""

from __future__ import annotations

import gzip
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers import recordings
from producers.streams import POD_STREAM, STREAMS, TOKEN_STREAM, UsageStream
from spendstream.codec import TOKENS
from spendstream.errors import ConfigError, RecordingError
from spendstream.events import Event, TokenUsage
from spendstream.ids import derived_id
from tests.fixtures.samples import samples

PLAIN = {
    UUID: st.uuids(),
    dict[str, str]: st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
}
SUFFIXES = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"]


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Every value that an event's field of this type can have."""
    options = get_args(hint)
    if NoneType in options:
        return st.none() | values_of(options[0])
    if get_origin(hint) is Literal:
        return st.sampled_from(options)
    if hint in PLAIN:
        return PLAIN[hint]
    kind, meta = hint.__origin__, hint.__metadata__[0]
    if kind is int:
        return st.integers(meta.ge, meta.le if meta.le is not None else meta.lt - 1)
    return st.floats(meta.ge, meta.le) if kind is float else st.text(max_size=20)


def events_of(stream: UsageStream) -> st.SearchStrategy[Event]:
    hints = get_type_hints(stream.event_type, include_extras=True)
    names = stream.event_type.__struct_fields__
    fields = {name: values_of(hints[name]) for name in names if name not in {"event_time", "end_time"}}
    if "end_time" in names:
        return samples(stream.event_type, **fields)
    return st.builds(stream.event_type, **fields, event_time=values_of(hints["event_time"]))


def calls(count: int) -> list[TokenUsage]:
    return [
        TokenUsage(
            id=derived_id(row, b"test", row),
            event_time=row,
            source="test",
            model="gpt-4",
            cost=row * 10**9 + 1,
        )
        for row in range(count)
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.topic.name)
@settings(max_examples=30)
@given(data=st.data())
def test_events_come_back_equal(suffix: str, stream: UsageStream, data: st.DataObject) -> None:
    events = data.draw(st.lists(events_of(stream), max_size=8))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, f"recording{suffix}")
        recordings.write(path, stream, events)
        assert list(recordings.read(path)) == events
        assert recordings.count(path) == len(events)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_events_than_are_held_at_once_come_back_in_order(tmp_path: Path, suffix: str) -> None:
    path, events = tmp_path / f"many{suffix}", calls(25_000)
    recordings.write(path, TOKEN_STREAM, iter(events))
    assert list(recordings.read(path)) == events


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_is_told_by_its_contents_and_not_by_its_name(tmp_path: Path, suffix: str) -> None:
    written, renamed = tmp_path / f"a{suffix}", tmp_path / "recording.bin"
    recordings.write(written, TOKEN_STREAM, calls(3))
    written.rename(renamed)
    assert list(recordings.read(renamed)) == calls(3)


def test_an_empty_file_is_a_recording_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    assert list(recordings.read(path)) == []


def test_money_in_parquet_is_dollars_and_times_are_utc_for_any_tool(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    recordings.write(path, TOKEN_STREAM, calls(2))
    row = pq.read_table(path).to_pylist()[1]
    assert row["cost"] == Decimal("0.001000000001")
    assert row["list_cost"] is None
    assert row["event_time"] == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


def test_parquet_of_another_tool_needs_only_the_required_columns(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    event = calls(1)[0]
    columns = {
        "note": ["not ours"],
        "id": [str(event.id)],
        "event_time": pa.array([event.event_time * 1000], pa.timestamp("ns", tz="UTC")),
        "source": ["test"],
        "model": ["gpt-4"],
        "cost": pa.array([Decimal("0.000000000001")], pa.decimal128(20, 12)),
    }
    pq.write_table(pa.table(columns), path)
    assert list(recordings.read(path)) == [event]


def test_lines_without_the_default_fields_and_with_blank_ones_between_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([b"", TOKENS.encode(calls(1)[0]) + b"\r", b"  ", b""]))
    assert list(recordings.read(path)) == calls(1)


def read_until_error(path: Path) -> tuple[int, str]:
    events, count = recordings.read(path), 0
    try:
        for _ in events:
            count += 1
    except RecordingError as error:
        return count, str(error)
    raise AssertionError(f"{path} was read to its end")


def test_the_first_malformed_line_is_named_after_the_good_ones_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = TOKENS.encode(calls(1)[0])
    path.write_bytes(b"\n".join([good, b"", good, b'{"id": 1}', good]))
    count, message = read_until_error(path)
    assert count == 2
    assert message.startswith(f"{path}: row 4: ")


def test_a_parquet_row_that_is_no_event_is_named_after_the_good_ones_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    events = calls(5000)
    events[4500] = msgspec.structs.replace(events[4500], status=1000)
    recordings.write(path, TOKEN_STREAM, events)
    count, message = read_until_error(path)
    assert count == 4500
    assert message.startswith(f"{path}: row 4501: ")
    assert "status" in message


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_a_file_that_was_cut_off_is_an_error_and_not_a_short_recording(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    recordings.write(path, TOKEN_STREAM, calls(10_000))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RecordingError, match="cannot be read"):
        list(recordings.read(path))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": "' + b"x" * (5 << 20)))
    with pytest.raises(RecordingError, match="row 1: longer than"):
        list(recordings.read(path))


@pytest.mark.parametrize(
    ("name", "expected"), [("nothing.jsonl", "found nothing there"), ("", "found a directory")]
)
def test_what_is_no_file_is_named(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(RecordingError, match=expected):
        list(recordings.read(tmp_path / name))


def test_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    recordings.write(path, TOKEN_STREAM, calls(1))
    table = pq.read_table(path)
    newer = table.replace_schema_metadata(table.schema.metadata | {b"spendstream.schema_version": b"99"})
    pq.write_table(newer, path)
    with pytest.raises(RecordingError, match=r"version 99.*upgrade"):
        list(recordings.read(path))


def test_parquet_of_something_else_is_refused_with_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"city": ["Ulm"]}), path)
    with pytest.raises(RecordingError, match="found city"):
        list(recordings.read(path))


def test_a_name_that_says_no_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"ends in one of \.jsonl"),
        recordings.writer(tmp_path / "a.csv", POD_STREAM),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_has_its_name_only_when_it_is_complete(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with recordings.writer(path, TOKEN_STREAM) as recording:
        recording.add(calls(3))
        assert [found.name for found in tmp_path.iterdir()] == [f"a{suffix}.partial"]
    assert [found.name for found in tmp_path.iterdir()] == [f"a{suffix}"]


def broken_off(path: Path) -> None:
    with recordings.writer(path, TOKEN_STREAM) as recording:
        recording.add(calls(3))
        raise KeyError


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_that_was_broken_off_replaces_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    recordings.write(path, TOKEN_STREAM, calls(5))
    with pytest.raises(KeyError):
        broken_off(path)
    assert list(recordings.read(path)) == calls(5)


def test_a_folder_that_is_not_there_is_an_error_with_the_files_name(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be written"):
        recordings.write(tmp_path / "no" / "a.jsonl", TOKEN_STREAM, calls(1))
