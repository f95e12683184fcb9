"""Latency buckets: any quantile of any sum of windows, within one per cent."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.latency import ACCURACY, buckets, merged, quantile

durations = st.lists(st.integers(1, 2**53), min_size=1, max_size=200)


def counted(values: list[int]) -> dict[int, int]:
    return dict(Counter(buckets(pa.array(values, pa.uint64())).to_pylist()))


@given(durations, st.floats(0, 1))
def test_a_quantile_is_within_the_accuracy_of_the_value_at_its_rank(values: list[int], q: float) -> None:
    true = sorted(values)[int(q * (len(values) - 1))]
    assert quantile(counted(values), q) == pytest.approx(true, rel=ACCURACY * 1.000001)


@given(durations, durations)
def test_counts_of_parts_add_up_to_those_of_the_whole(one: list[int], two: list[int]) -> None:
    assert merged(counted(one), counted(two)) == counted(one + two)
    assert merged(counted(one), {}) == counted(one)


def test_a_call_that_took_no_time_counts_as_one_microsecond() -> None:
    assert counted([0]) == counted([1]) == {0: 1}


def test_nothing_has_no_quantile() -> None:
    assert quantile({}, 0.5) is None
