"""Mooncake's traces: timestamp (ms since the start), input_length, output_length, hash_ids; JSON lines.

https://github.com/kvcache-ai/Mooncake. `hash_ids` name the blocks of 512 tokens that the prompt begins with;
an id covers everything before it, so equal ids mean an equal prefix. The leading blocks that an earlier
request had are read from the cache: 512 tokens each, and at most the whole input, since the last block can be
partial. The cache is taken to be unlimited, as its model here is: a set with one number per distinct block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import ROUND_DOWN, Context, Decimal
from itertools import takewhile
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from producers.traces.calls import MAX_TOKENS, Call, CallAssumptions, token_usage
from producers.traces.trace import Trace
from spendstream.events import TokenUsage
from spendstream.pricing import PriceBook

__all__ = ["BLOCK_TOKENS", "DEFAULT_START", "NAME", "MooncakeAssumptions", "rows"]

NAME = "mooncake"
BLOCK_TOKENS = 512
DEFAULT_START = 1_704_067_200_000_000
"""2024-01-01T00:00:00Z in microseconds: the trace has no date of its own."""

_EXPECTED = "an object with timestamp, input_length, output_length and hash_ids"
_YEAR_2100 = 4_102_444_800_000_000
_CUT = Context(prec=60, rounding=ROUND_DOWN)  # what is finer than a microsecond is cut off, never rounded up
_MICROS = Decimal(1000)  # in a millisecond


class MooncakeAssumptions(CallAssumptions, frozen=True, kw_only=True):
    """What the trace leaves open; `start` is the time of its timestamp 0, in microseconds since 1970 UTC."""

    start: Annotated[int, Meta(ge=0, lt=_YEAR_2100)] = DEFAULT_START


class _Request(Struct, frozen=True, kw_only=True):
    timestamp: Decimal
    input_length: Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
    output_length: Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
    hash_ids: list[int]


_DECODER = msgspec.json.Decoder(_Request)


def rows(
    lines: Iterable[str], trace: Trace, assumptions: MooncakeAssumptions, book: PriceBook
) -> Iterator[TokenUsage]:
    """Yield one event per line, in the file's order.

    Raises RecordingError at the first malformed line, UnknownPrice where the book has no price.
    """
    known: set[int] = set()
    for row, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        request = _parse(row, line, trace)
        call = Call(
            row=row,
            at=_micros(row, request, trace, assumptions.start),
            input_tokens=request.input_length,
            output_tokens=request.output_length,
            cache_read_tokens=_read_from_cache(request, known),
        )
        known.update(request.hash_ids)
        yield token_usage(call, trace, assumptions, book)


def _parse(row: int, line: str, trace: Trace) -> _Request:
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise trace.malformed(row, f"{_EXPECTED} ({error})", line) from error


def _micros(row: int, request: _Request, trace: Trace, start: int) -> int:
    milliseconds = request.timestamp
    if not milliseconds.is_finite() or not 0 <= milliseconds < _YEAR_2100:
        raise trace.malformed(row, "a timestamp in milliseconds since the start", str(milliseconds))
    at = start + int(_CUT.multiply(milliseconds, _MICROS))
    if at >= _YEAR_2100:
        raise trace.malformed(row, "a time before the year 2100", str(milliseconds))
    return at


def _read_from_cache(request: _Request, known: set[int]) -> int:
    blocks = sum(1 for _ in takewhile(known.__contains__, request.hash_ids))
    return min(blocks * BLOCK_TOKENS, request.input_length)
