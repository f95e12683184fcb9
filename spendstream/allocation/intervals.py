"""Cutting what lasts longer: no sample of a cluster crosses a full hour (UTC)."""

from __future__ import annotations

from collections.abc import Iterator

from spendstream.events import HOUR_MICROS

__all__ = ["cut"]


def cut(start: int, end: int, *changes: int) -> Iterator[tuple[int, int]]:
    """Yield the interval in pieces, cut at full hours (UTC) and at `changes` of its price (microseconds).

    What is an average holds for each piece; a total over the interval (bytes, restarts) is to be split by the
    pieces' lengths (`spendstream.money.split`). An interval that is empty has no pieces.
    """
    inside = sorted({change for change in changes if start < change < end})
    for bound in (*inside, end):
        while start < bound:
            stop = min(bound, start - start % HOUR_MICROS + HOUR_MICROS)
            yield start, stop
            start = stop
