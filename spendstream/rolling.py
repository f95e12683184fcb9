"""Rolling windows made of tumbling ones: which of them cover the last hour, or the last thirty days.

Only windows of the sizes that are stored are added up, so that a rolling window is exact to the minute and
to the picodollar. The views `cost_rolling` and `latency_rolling` have the same rule in SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spendstream.windows import MINUTE, WINDOW_SIZES

__all__ = ["Piece", "pieces"]

_COARSEST_FIRST = WINDOW_SIZES[::-1]


class Piece(NamedTuple):
    """Windows of `size` seconds, one after another: from the one at `first` to before the one at `stop`.

    All are seconds, times since 1970 UTC.
    """

    size: int
    first: int
    stop: int


def pieces(end: int, length: int) -> Sequence[Piece]:
    """Return the fewest windows that cover the minutes that ended in (end - length, end], in order of time.

    `end` is in seconds since 1970 UTC; the minute that has not ended by then is left out. Raises ValueError
    for a `length` (seconds) that is not a number of whole minutes, at least one.
    """
    if length < MINUTE or length % MINUTE:
        raise ValueError(f"length: expected whole minutes, 60 seconds or a multiple, found {length}")
    stop = end - end % MINUTE
    return _cover(stop - length, stop, _COARSEST_FIRST)


def _cover(start: int, stop: int, sizes: Sequence[int]) -> list[Piece]:
    """Cover [start, stop) with the first of `sizes` inside, and with finer ones before and after that."""
    if start == stop:
        return []
    size, *finer = sizes
    first, last = start + -start % size, stop - stop % size
    if first >= last:
        return _cover(start, stop, finer)
    return [*_cover(start, first, finer), Piece(size, first, last), *_cover(last, stop, finer)]
