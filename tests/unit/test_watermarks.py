"""Watermarks trail the newest event, never go back, and are not held up by quiet sources."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spendstream.watermarks import Watermark, combined

TIMES = st.lists(st.integers(0, 10**9), max_size=8).map(lambda times: np.array(times, np.int64))


def test_a_watermark_trails_the_newest_event_by_the_disorder():
    mark = Watermark(disorder=10).advanced(np.array([100, 90]), arrived=100)
    assert mark.time == 90
    assert mark.met_by(np.array([89, 200, 91])).tolist() == [90, 90, 190]


def test_the_first_event_of_a_source_meets_nothing():
    assert Watermark(disorder=10).met_by(np.array([50, 5])).tolist() == [-1, 40]


@given(blocks=st.lists(TIMES, max_size=8))
def test_a_watermark_never_goes_back(blocks):
    mark, before = Watermark(disorder=5), -1
    for arrived, block in enumerate(blocks):
        mark = mark.advanced(block, arrived)
        assert mark.time >= before
        before = mark.time


@given(blocks=st.lists(TIMES, max_size=8))
def test_block_bounds_do_not_matter(blocks):
    everything = np.concatenate([np.empty(0, np.int64), *blocks])
    mark, met = Watermark(disorder=5), []
    for block in blocks:
        met += mark.met_by(block).tolist()
        mark = mark.advanced(block, len(blocks))
    assert mark.time == Watermark(disorder=5).advanced(everything, len(blocks)).time
    assert met == Watermark(disorder=5).met_by(everything).tolist()


def test_the_slowest_active_source_decides_and_an_idle_one_does_not():
    fast = Watermark(disorder=0, newest=1_000, seen_at=1_000)
    slow = Watermark(disorder=0, newest=400, seen_at=990)
    quiet = Watermark(disorder=0, newest=10, seen_at=10)
    assert combined([fast, slow, quiet], now=1_000, idle_after=100) == 400


def test_when_all_sources_are_idle_time_goes_on():
    quiet = Watermark(disorder=20, newest=10, seen_at=10)
    assert combined([quiet], now=1_000, idle_after=100) == 880
    assert combined([quiet], now=2_000, idle_after=100) == 1_880
