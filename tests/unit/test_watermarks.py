"""Watermarks trail the newest event, never go back, and are not held up by quiet sources."""

from hypothesis import given
from hypothesis import strategies as st

from spendstream.watermarks import Watermark, combined

TIMES = st.lists(st.integers(0, 10**9), max_size=8)


def test_a_watermark_trails_the_newest_event_by_the_disorder():
    mark = Watermark(disorder=10).advanced([100, 90], arrived=100)
    assert mark.time == 90
    assert mark.late([89, 90, 200]) == 1


@given(blocks=st.lists(TIMES, max_size=8))
def test_a_watermark_never_goes_back(blocks):
    mark, before = Watermark(disorder=5), -1
    for arrived, block in enumerate(blocks):
        mark = mark.advanced(block, arrived)
        assert mark.time >= before
        before = mark.time


@given(blocks=st.lists(TIMES, max_size=8))
def test_block_bounds_do_not_matter(blocks):
    whole = Watermark(disorder=5).advanced([time for block in blocks for time in block], len(blocks))
    mark = Watermark(disorder=5)
    for block in blocks:
        mark = mark.advanced(block, len(blocks))
    assert mark.time == whole.time


def test_the_slowest_active_source_decides_and_an_idle_one_does_not():
    fast = Watermark(disorder=0, newest=1_000, seen_at=1_000)
    slow = Watermark(disorder=0, newest=400, seen_at=990)
    quiet = Watermark(disorder=0, newest=10, seen_at=10)
    assert combined([fast, slow, quiet], now=1_000, idle_after=100) == 400


def test_when_all_sources_are_idle_time_goes_on():
    quiet = Watermark(disorder=20, newest=10, seen_at=10)
    assert combined([quiet], now=1_000, idle_after=100) == 880
    assert combined([quiet], now=2_000, idle_after=100) == 1_880
