"""Volumes are shared 1/n in each interval: OpenCost's examples, and conservation for any mounts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation.rates import Rate, accrued
from spendstream.allocation.volumes import mounted, volume_costs

QUARTER = 15 * 60 * 10**6
HOUR = 4 * QUARTER
EIGHT = 447_192 * HOUR
HALF_OF_IT, QUARTER_OF_IT = Fraction(1, 2), Fraction(1, 4)
HOURLY = 12 * 10**9  # divisible by all numbers of pods


def at(quarter: int) -> int:
    return EIGHT + quarter * QUARTER


@pytest.mark.parametrize(
    ("mounts", "shares"),
    [
        (
            {"pod1": (0, 4), "pod2": (2, 4), "pod3": (3, 4), "pod4": (0, 1)},
            {
                "pod1": Fraction(1, 8) + Fraction(1, 4) + Fraction(1, 8) + Fraction(1, 12),
                "pod2": Fraction(1, 8) + Fraction(1, 12),
                "pod3": Fraction(1, 12),
                "pod4": Fraction(1, 8),
            },
        ),
        ({"pod1": (0, 2), "pod2": (2, 4)}, {"pod1": Fraction(1, 2), "pod2": Fraction(1, 2)}),
        ({"pod1": (2, 4), "pod2": (2, 4)}, {"pod1": QUARTER_OF_IT, "pod2": QUARTER_OF_IT, None: HALF_OF_IT}),
        ({"pod1": (0, 4)}, {"pod1": Fraction(1)}),
        ({"pod1": (0, 1), "pod2": (3, 4)}, {"pod1": QUARTER_OF_IT, "pod2": QUARTER_OF_IT, None: HALF_OF_IT}),
        ({"pod1": (1, 3)}, {"pod1": Fraction(1, 2), None: Fraction(1, 2)}),
        ({}, {None: Fraction(1)}),
    ],
    ids=["four, overlapping", "two without", "two at once", "one", "two with a gap", "in the middle", "none"],
)  # fmt: skip
def test_opencost_s_examples(mounts: dict[str, tuple[int, int]], shares: dict[str | None, Fraction]) -> None:
    times = {who: (at(start), at(end)) for who, (start, end) in mounts.items()}
    costs = volume_costs(HOURLY, (at(0), at(4)), times)
    assert costs == {who: HOURLY * share for who, share in shares.items()}


def test_parts_are_told_with_who_mounts_the_volume_all_along() -> None:
    parts = mounted((0, 10), {"a": (0, 6), "b": (4, 20)})
    assert list(parts) == [(0, 4, ("a",)), (4, 6, ("a", "b")), (6, 10, ("b",))]


_INTERVALS = st.tuples(st.integers(0, HOUR), st.integers(0, HOUR)).map(
    lambda pair: (EIGHT + min(pair), EIGHT + max(pair))
)


@given(st.integers(0, 10**15), _INTERVALS, st.dictionaries(st.sampled_from("abcdef"), _INTERVALS))
def test_shares_are_what_the_volume_costs_exactly(
    price: int, volume: tuple[int, int], mounts: dict[str, tuple[int, int]]
) -> None:
    costs = volume_costs(price, volume, mounts)
    assert sum(costs.values()) == accrued(Rate(price=price, per=1), 1, *volume)
    assert all(cost >= 0 for cost in costs.values())
