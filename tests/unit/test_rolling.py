"""Rolling windows are covered by tumbling ones: every minute once, with as few windows as there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.rolling import Piece, pieces
from spendstream.windows import DAY, HOUR, MINUTE, WINDOW_SIZES

NOON = 1_704_110_400  # 2024-01-01 12:00:00 UTC

ends = st.integers(0, 2**32)
lengths = st.integers(1, 40 * DAY // MINUTE).map(lambda minutes: minutes * MINUTE)


def windows(found: list[Piece]) -> list[tuple[int, int]]:
    """Return the size and start of each window."""
    return [(size, start) for size, first, stop in found for start in range(first, stop, size)]


def fewest(start: int, stop: int) -> int:
    """Return how few windows cover [start, stop), found by trying all of them."""
    best = {start: 0}
    for at in range(start + MINUTE, stop + MINUTE, MINUTE):
        best[at] = 1 + min(best[at - size] for size in WINDOW_SIZES if at % size == 0 and at - size >= start)
    return best[stop]


@given(ends, lengths)
def test_every_minute_is_covered_once_and_in_order(end: int, length: int) -> None:
    stop = end - end % MINUTE
    minutes = [
        minute
        for size, start in windows(list(pieces(end, length)))
        for minute in range(start, start + size, MINUTE)
    ]
    assert minutes == list(range(stop - length, stop, MINUTE))


@given(ends, lengths)
def test_every_window_is_one_that_is_stored(end: int, length: int) -> None:
    assert all(
        size in WINDOW_SIZES and start % size == 0 for size, start in windows(list(pieces(end, length)))
    )


@given(ends, st.integers(1, 3 * DAY // MINUTE).map(lambda minutes: minutes * MINUTE))
def test_no_other_choice_of_windows_is_smaller(end: int, length: int) -> None:
    stop = end - end % MINUTE
    assert len(windows(list(pieces(end, length)))) == fewest(stop - length, stop)


def test_days_lie_inside_and_minutes_at_the_edges() -> None:
    assert pieces(NOON + 34 * MINUTE, 2 * DAY) == [
        Piece(MINUTE, NOON - 2 * DAY + 34 * MINUTE, NOON - 2 * DAY + HOUR),
        Piece(HOUR, NOON - 2 * DAY + HOUR, NOON - DAY - HOUR * 12),
        Piece(DAY, NOON - DAY - 12 * HOUR, NOON - 12 * HOUR),
        Piece(HOUR, NOON - 12 * HOUR, NOON),
        Piece(MINUTE, NOON, NOON + 34 * MINUTE),
    ]


def test_a_minute_that_has_not_ended_is_left_out() -> None:
    assert (
        pieces(NOON + 59, 5 * MINUTE) == pieces(NOON, 5 * MINUTE) == [Piece(MINUTE, NOON - 5 * MINUTE, NOON)]
    )


@pytest.mark.parametrize("length", [0, -60, 90])
def test_a_length_that_is_no_whole_minutes_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"found {length}"):
        pieces(NOON, length)
