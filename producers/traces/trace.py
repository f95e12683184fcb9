"""What importers share: whose spend a trace is taken for, the identity of its rows, and strict parsing."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from spendstream.errors import RecordingError
from spendstream.ids import derived_id

__all__ = [
    "MAX_COUNT",
    "Name",
    "Owner",
    "Trace",
    "count",
    "decimal",
    "identify",
    "table",
]

MAX_COUNT = 2**53
"""The largest amount an event can hold."""

_DECIMAL = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,30}))?(?:[eE]([+-]?[0-9]{1,2}))?")
_SHOWN = 80  # characters of a bad row that its error repeats

Name = Annotated[str, Meta(max_length=512)]


class Owner(Struct, frozen=True, kw_only=True):
    """Whose spend the rows are taken for: what every trace leaves open."""

    org: Name = ""
    team: Name = "replay"
    project: Name = ""
    environment: Name = ""


class Trace(Struct, frozen=True, kw_only=True):
    """A trace that is being imported: what errors and events call it, and what its rows' ids derive from."""

    name: str
    source: str
    digest: bytes

    def row_id(self, event_time: int, row: int) -> UUID:
        """Return the id of a row's event (time in microseconds since 1970 UTC)."""
        return derived_id(event_time, self.digest, row)

    def malformed(self, row: int, expected: str, found: object) -> RecordingError:
        """Return the error for a row that cannot be an event; rows count from 1, a header included."""
        text = repr(found)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        return RecordingError(f"{self.name}: row {row}: expected {expected}, found {shown}")


def identify(name: str, contents: bytes, importer: str, assumptions: Owner) -> Trace:
    """Return the trace with these contents (their digest) under these assumptions.

    Neither the file's name nor its compression is part of the identity. The assumptions are: the same file
    for another team or model is another import.
    """
    digest = blake2b(contents, digest_size=32)
    digest.update(msgspec.json.encode([importer, assumptions]))
    return Trace(name=name, source=f"replay/{importer}", digest=digest.digest())


def table(lines: Iterable[str], header: Sequence[str], trace: Trace) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, values) of a CSV file with this header, which is row 1; blank lines are skipped."""
    reader = csv.reader(lines, strict=True)
    try:
        found = [name.strip() for name in next(reader, [])]
        if found != list(header):
            raise trace.malformed(1, f"the header {','.join(header)}", ",".join(found))
        for values in reader:
            if values and len(values) != len(header):
                raise trace.malformed(reader.line_num, f"{len(header)} values", ",".join(values))
            if values:
                yield reader.line_num, values
    except csv.Error as error:
        raise RecordingError(f"{trace.name}: row {reader.line_num}: {error}") from error


def count(text: str, most: int = MAX_COUNT) -> int | None:
    """Return a whole number from 0 to `most` written in ASCII digits, or None."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if number <= most else None


def decimal(text: str) -> tuple[int, int] | None:
    """Return a decimal such as 747.11 or 2.5e-3 as an exact ratio such as (74711, 100), or None."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    whole, fraction, exponent = match[1], match[2] or "", int(match[3] or 0)
    shift = exponent - len(fraction)
    return int(whole + fraction) * 10 ** max(shift, 0), 10 ** max(-shift, 0)
