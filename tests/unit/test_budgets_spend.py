"""Spend series and what periods leave over: exact, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from spendstream.budgets import Budget, Calendar, Rolling, SpendSeries, carried, period_at
from spendstream.money import PICO

MINUTE = 60 * 10**6
DAY = 24 * 60 * MINUTE
START = 1_767_225_600_000_000  # 2026-01-01 UTC

minutes = st.integers(0, 200).map(lambda minute: START + minute * MINUTE)
costs = st.integers(0, 10**30)
points = st.lists(st.tuples(minutes, costs), max_size=40)
DAILY = Budget(id="d", name="d", amount=100 * PICO, period=Calendar(unit="day"), roll_over=30 * PICO)


class TestSeries:
    @given(points, minutes, minutes)
    def test_sums_are_exact_in_any_order(self, spent, start, end):
        exact = sum(cost for moment, cost in spent if start <= moment < end)
        assert SpendSeries(spent).between(start, end) == exact
        assert SpendSeries(reversed(spent)).between(start, end) == exact

    @given(points, st.tuples(minutes, minutes, minutes))
    def test_of_neighbouring_stretches_add_up(self, spent, moments):
        low, middle, high = sorted(moments)
        series = SpendSeries(spent)
        assert series.between(low, middle) + series.between(middle, high) == series.between(low, high)

    @given(points, minutes, st.integers(1, 10**31))
    def test_an_amount_is_reached_in_the_minute_that_brings_the_sum_to_it(self, spent, start, amount):
        series = SpendSeries(spent)
        reached = series.reached(start, amount)
        if reached is None:
            assert series.between(start, 2**62) < amount
        else:
            assert series.between(start, reached) < amount <= series.between(start, reached + 1)

    @given(st.lists(st.tuples(minutes, st.integers(0, 10**15)), max_size=40), minutes, minutes)
    def test_dollars_are_the_same_sums_for_statistics(self, spent, start, end):
        series = SpendSeries(spent)
        low, high = min(start, end), max(start, end)
        (found,) = series.dollars(np.array([float(low)]), np.array([float(high)]))
        assert found == pytest.approx(series.between(low, high) / PICO, abs=1e-6)

    def test_is_known_from_its_first_point_on_unless_one_knows_more(self):
        assert SpendSeries([(START, 1)]).since == START
        assert SpendSeries([(START, 1)], since=START - DAY).since == START - DAY

    def test_refuses_negative_spend(self):
        with pytest.raises(ValueError, match="negative"):
            SpendSeries([(START, -1)])


def days(*spent: int) -> SpendSeries:
    return SpendSeries([(START + day * DAY, cost * PICO) for day, cost in enumerate(spent)], since=START)


class TestCarried:
    @pytest.mark.parametrize(
        ("spent", "left"),
        [
            ((), 0),  # the first day has none before it
            ((90,), 10),
            ((50,), 30),  # capped
            ((120,), 0),  # overspending is not carried
            ((90, 105), 5),  # 100 and the 10 of the day before
            ((120, 95), 5),
            ((50, 100, 100), 30),
        ],
    )
    def test_is_what_the_periods_before_leave_up_to_the_cap(self, spent, left):
        assert carried([DAILY], days(*spent), START + len(spent) * DAY + MINUTE) == left * PICO

    @given(st.lists(st.integers(0, 300), max_size=12))
    def test_never_exceeds_the_cap_and_never_owes(self, spent):
        assert 0 <= carried([DAILY], days(*spent), START + len(spent) * DAY) <= DAILY.roll_over

    def test_is_nothing_without_roll_over_and_for_rolling_budgets(self):
        at = START + DAY
        assert carried([replace(DAILY, roll_over=0)], days(0), at) == 0
        assert carried([replace(DAILY, period=Rolling(length=DAY))], days(0), at) == 0

    def test_counts_whole_periods_since_the_budget_took_effect_only(self):
        late = replace(DAILY, effective_from=START + DAY + MINUTE)
        assert carried([late], days(90, 90), START + 2 * DAY) == 0
        assert carried([late], days(90, 90, 90), START + 3 * DAY) == 10 * PICO

    def test_counts_periods_with_known_spend_only(self):
        unknown = SpendSeries([(START + DAY, PICO)], since=START + MINUTE)
        assert carried([DAILY], unknown, START + DAY) == 0

    def test_takes_each_period_as_the_version_of_its_time_had_it(self):
        old = replace(DAILY, amount=60 * PICO, effective_until=START + DAY)
        new = replace(DAILY, effective_from=START + DAY, version=2)
        assert carried([old, new], days(50, 95), START + DAY) == 10 * PICO
        assert carried([old, new], days(50, 95), START + 2 * DAY) == 15 * PICO

    def test_is_nothing_when_no_version_is_in_force(self):
        assert carried([replace(DAILY, effective_until=START)], days(1), START + DAY) == 0

    def test_starts_anew_after_a_time_without_a_budget(self):
        versions = [
            replace(DAILY, effective_until=START + DAY),
            replace(DAILY, effective_from=START + 2 * DAY),
        ]
        assert carried(versions, days(90, 0), START + 2 * DAY) == 0
        assert period_at(DAILY, START).length == DAY
