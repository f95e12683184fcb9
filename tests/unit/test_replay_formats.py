"""Formats are told from contents, and the same contents are the same import whatever the file is called."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from producers import formats, recordings
from producers.streams import POD_STREAM, TOKEN_STREAM
from spendstream.errors import ConfigError, RecordingError
from spendstream.events import Event, PodUsage, TokenUsage
from spendstream.ids import new_id
from spendstream.pricing import PriceBook, simulation_book

AZURE = b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44"
MOONCAKE = b'{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [0]}\n'
BITBRAINS = (
    b"vm,timestamp_s,cpu_cores,cpu_capacity_mhz,cpu_usage_mhz,memory_capacity_kb,memory_usage_kb\n"
    b"1,1375308176,2,5852.0,747.11,8388608,1308620\n"
)
TRACES = {"azure-llm": AZURE, "mooncake": MOONCAKE, "bitbrains": BITBRAINS}
CALL = TokenUsage(id=new_id(0), event_time=0, source="test", model="gpt-4")
POD = PodUsage(id=new_id(0), event_time=0, end_time=1, source="test", cluster="c", namespace="n", pod="p")


def written(directory: Path, contents: bytes, name: str = "trace") -> Path:
    path = directory / name
    path.write_bytes(contents)
    return path


def opened(path: Path, format_name: str | None = None, **given: object) -> list[Event]:
    return list(formats.open_events(path, format_name, given, simulation_book).events)


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_trace_is_told_by_its_first_line_compressed_or_not(tmp_path: Path, name: str, compress) -> None:
    path = written(tmp_path, compress(TRACES[name]))
    assert formats.detect(path) == name
    assert formats.open_events(path, None, {}, simulation_book).about == 1
    assert len(opened(path)) == 1


@pytest.mark.parametrize(("stream", "event"), [(TOKEN_STREAM, CALL), (POD_STREAM, POD)])
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".parquet"])
def test_our_own_recordings_are_told_too(tmp_path: Path, stream, event: Event, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    recordings.write(path, stream, [event])
    assert formats.detect(path) == "spendstream"
    assert opened(path) == [event]


def test_recorded_events_keep_their_ids_and_take_no_assumptions(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recordings.write(path, TOKEN_STREAM, [CALL])
    assert opened(path)[0].id == CALL.id
    with pytest.raises(ConfigError, match="--team: means nothing for format spendstream"):
        opened(path, team="search")


@pytest.mark.parametrize("name", TRACES)
def test_name_and_compression_of_a_file_are_no_part_of_its_rows_identity(tmp_path: Path, name: str) -> None:
    plain = opened(written(tmp_path, TRACES[name], "plain"))
    packed = opened(written(tmp_path, gzip.compress(TRACES[name]), "packed"))
    assert plain == packed


@pytest.mark.parametrize("name", TRACES)
def test_another_team_is_another_import(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, TRACES[name])
    [one], [other] = opened(path, team="one"), opened(path, team="other")
    assert (one.team, other.team) == ("one", "other")
    assert one.id != other.id


def test_saying_the_default_is_no_other_import(tmp_path: Path) -> None:
    path = written(tmp_path, AZURE)
    assert opened(path) == opened(path, team="replay", model="gpt-4", provider="openai")


@pytest.mark.parametrize(
    ("name", "option"), [("azure-llm", "start"), ("bitbrains", "model"), ("bitbrains", "start")]
)
def test_an_assumption_that_the_rows_make_needless_is_refused(tmp_path: Path, name: str, option: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option}: means nothing for format {name}"):
        opened(written(tmp_path, TRACES[name]), **{option: "gpt-4"})


def test_an_assumption_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="team"):
        opened(written(tmp_path, AZURE), team="x" * 513)


def test_machines_need_no_price_book(tmp_path: Path) -> None:
    def no_book() -> PriceBook:
        raise AssertionError

    opened = formats.open_events(written(tmp_path, BITBRAINS), None, {}, no_book)
    assert len(list(opened.events)) == 1


def test_a_file_of_no_known_format_is_refused_with_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"azure-llm, mooncake, bitbrains\), found b'time,cost'"):
        opened(written(tmp_path, b"time,cost\n1,2\n"))


def test_a_format_that_is_forced_and_wrong_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="row 1: expected the header TIMESTAMP"):
        opened(written(tmp_path, MOONCAKE), "azure-llm")


@pytest.mark.parametrize("name", TRACES)
def test_a_bad_last_row_is_found_before_the_first_event(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, TRACES[name].rstrip() + b"\nbad")
    with pytest.raises(RecordingError, match=r"trace: row \d: expected"):
        next(formats.open_events(path, None, {}, simulation_book).events)


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected UTF-8"):
        opened(written(tmp_path, AZURE + b"\n\xff,1,1"))
