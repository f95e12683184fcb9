"""Azure's LLM inference traces: TIMESTAMP (UTC), ContextTokens, GeneratedTokens; one row per call.

https://github.com/Azure/AzurePublicDataset. Timestamps have up to nine decimals; what is finer than a
microsecond is cut off. The trace says nothing of caches, so no token counts as read from one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from producers.traces.calls import MAX_TOKENS, Call, CallAssumptions, token_usage
from producers.traces.trace import Trace, count, table
from spendstream.clock import to_micros
from spendstream.events import TokenUsage
from spendstream.pricing import PriceBook

__all__ = ["HEADER", "NAME", "rows"]

NAME = "azure-llm"
HEADER = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|\+00:00)?"
)


def rows(
    lines: Iterable[str], trace: Trace, assumptions: CallAssumptions, book: PriceBook
) -> Iterator[TokenUsage]:
    """Yield one event per row, in the file's order.

    Raises RecordingError at the first malformed row, UnknownPrice where the book has no price.
    """
    for row, values in table(lines, HEADER, trace):
        yield token_usage(_call(row, values, trace), trace, assumptions, book)


def _call(row: int, values: list[str], trace: Trace) -> Call:
    timestamp, context, generated = values
    at = _micros(timestamp)
    if at is None:
        raise trace.malformed(row, "a TIMESTAMP such as 2023-11-16 18:17:03.9799600", timestamp)
    input_tokens, output_tokens = count(context, MAX_TOKENS), count(generated, MAX_TOKENS)
    if input_tokens is None or output_tokens is None:
        raise trace.malformed(row, "whole numbers of tokens", f"{context},{generated}")
    return Call(row=row, at=at, input_tokens=input_tokens, output_tokens=output_tokens)


def _micros(timestamp: str) -> int | None:
    """Return a timestamp as microseconds since 1970 UTC, or None for what is none from 1970 to 2099."""
    match = _TIMESTAMP.fullmatch(timestamp)
    if match is None:
        return None
    try:
        seconds = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:  # such as a 30th of February
        return None
    if not 1970 <= seconds.year < 2100:  # noqa: PLR2004 - the years an event's time can hold
        return None
    return to_micros(seconds) + int((match[2] or "0")[:6].ljust(6, "0"))
