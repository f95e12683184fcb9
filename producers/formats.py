"""The formats that can be replayed: told from a file's first bytes, opened as events in order of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from producers import files, recordings
from producers.traces import azure_llm, bitbrains, mooncake
from producers.traces.calls import CallAssumptions
from producers.traces.trace import Owner, Trace, identify
from spendstream.errors import ConfigError, RecordingError
from spendstream.events import Event
from spendstream.pricing import PriceBook

__all__ = ["FORMATS", "RECORDING", "Opened", "detect", "open_events"]

RECORDING = "spendstream"
"""The format of our own recordings."""


_Book: TypeAlias = Callable[[], PriceBook]  # called only by who needs prices: making one takes a while
_Rows: TypeAlias = Callable[[Iterable[str], Trace, Any, _Book], Iterator[Event]]


class _Importer(Struct, frozen=True, kw_only=True):
    name: str
    begins: Callable[[bytes], bool]
    header_rows: int
    streams: bool  # whether it yields events before it has read the last row
    assumptions: type[Owner]
    rows: _Rows


class Opened(Struct, frozen=True, kw_only=True):
    """A file's events, read lazily, its format, and about how many they are (blank lines count too)."""

    format: str
    events: Iterator[Event]
    about: int


def _header(*names: str) -> Callable[[bytes], bool]:
    return lambda line: [name.strip() for name in line.decode(errors="replace").split(",")] == list(names)


def _priced(rows: Callable[[Iterable[str], Trace, Any, PriceBook], Iterator[Event]]) -> _Rows:
    return lambda lines, trace, assumptions, book: rows(lines, trace, assumptions, book())


def _machines(lines: Iterable[str], trace: Trace, assumptions: Owner, book: _Book) -> Iterator[Event]:
    del book  # machines are priced by resource
    return bitbrains.rows(lines, trace, assumptions)


def _is_mooncake(line: bytes) -> bool:
    try:
        return msgspec.json.decode(line, type=dict[str, msgspec.Raw]).keys() >= {"timestamp", "hash_ids"}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


_IMPORTERS = {
    importer.name: importer
    for importer in (
        _Importer(
            name=azure_llm.NAME,
            begins=_header(*azure_llm.HEADER),
            header_rows=1,
            assumptions=CallAssumptions,
            streams=True,
            rows=_priced(azure_llm.rows),
        ),
        _Importer(
            name=mooncake.NAME,
            begins=_is_mooncake,
            header_rows=0,
            assumptions=mooncake.MooncakeAssumptions,
            streams=True,
            rows=_priced(mooncake.rows),
        ),
        _Importer(
            name=bitbrains.NAME,
            begins=_header(*bitbrains.HEADER),
            header_rows=1,
            assumptions=Owner,
            streams=False,
            rows=_machines,
        ),
    )
}
FORMATS = (RECORDING, *_IMPORTERS)
"""Every format's name."""


def detect(path: Path) -> str:
    """Return the name of a file's format; raise RecordingError for none that is known."""
    start = files.first_bytes(path)
    line = start.lstrip().split(b"\n", 1)[0]
    if not line or start.startswith(files.PARQUET_MAGIC) or recordings.stream_of_line(line):
        return RECORDING
    for importer in _IMPORTERS.values():
        if importer.begins(line):
            return importer.name
    raise RecordingError(
        f"{path}: expected a recording or a trace ({', '.join(_IMPORTERS)}), found {line[:80]!r}; "
        "name the format with --format if it is one of these"
    )


def open_events(path: Path, format_name: str | None, given: Mapping[str, object], book: _Book) -> Opened:
    """Return the events of a file, in the named format or the one that its contents are in.

    `given` holds the assumptions that the caller makes, by name; `book` is called if the format needs prices.
    Raises ConfigError for an assumption that the format does not make; of a trace, RecordingError or
    UnknownPrice for any of its rows, before the first event.
    """
    name = format_name or detect(path)
    if name == RECORDING:
        _check(name, given, known=())
        return Opened(format=name, events=recordings.read(path), about=recordings.count(path))
    importer = _IMPORTERS[name]
    _check(name, given, known=importer.assumptions.__struct_fields__)
    assumptions = _assume(importer.assumptions, given)
    found = files.contents(path)
    trace = identify(str(path), found.digest, name, assumptions)
    if importer.streams:  # what is sent must be right to the last row: a corrected file is another import
        deque(importer.rows(files.text_lines(path), trace, assumptions, book), maxlen=0)
    events = importer.rows(files.text_lines(path), trace, assumptions, book)
    return Opened(format=name, events=events, about=found.lines - importer.header_rows)


def _assume(kind: type[Owner], given: Mapping[str, object]) -> Owner:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"assumptions: {error}") from error


def _check(format_name: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    if foreign := sorted(given.keys() - set(known)):
        named = ", ".join(f"--{option}" for option in foreign)
        raise ConfigError(f"{named}: means nothing for format {format_name}, whose rows say so themselves")
