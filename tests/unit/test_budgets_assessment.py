"""How a budget stands: exact where it is about money, and never ahead of its time."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.budgets import Budget, Calendar, Rolling, SpendSeries, assess
from spendstream.money import PICO

MINUTE = 60 * 10**6
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_767_225_600_000_000  # 2026-01-01 UTC, a Thursday
MONTHLY = Budget(id="m", name="m", amount=744 * PICO, period=Calendar(unit="month"))  # a dollar an hour
ROLLING = Budget(id="r", name="r", amount=24 * PICO, period=Rolling(length=DAY))


def hourly(hours: int, cost: int = PICO, *, start: int = START) -> SpendSeries:
    return SpendSeries([(start + hour * HOUR, cost) for hour in range(hours)])


sparse = st.lists(
    st.tuples(st.integers(0, 31 * 1440 - 1).map(lambda m: START + m * MINUTE), st.integers(0, 10**14)),
    max_size=30,
)
moments = st.integers(START, START + 31 * DAY - 1)
budgets = st.sampled_from([MONTHLY, ROLLING])


class TestMoney:
    @given(budgets, sparse, moments, st.integers(0, 10**15))
    @settings(max_examples=40)
    def test_spent_and_left_are_exact_and_make_up_the_limit(self, budget, points, at, carried):
        seen = assess(budget, SpendSeries(points), at, carried)
        assert seen.spent == sum(cost for moment, cost in points if seen.period.start <= moment <= at)
        assert seen.spent + seen.left == seen.limit == budget.amount + carried
        assert seen.share <= Fraction(seen.spent * 10_000, seen.limit) < seen.share + 1

    @given(budgets, sparse, moments)
    @settings(max_examples=40)
    def test_sees_nothing_of_what_comes_after_it(self, budget, points, at):
        known = [point for point in points if point[0] <= at]
        since = START - 40 * DAY
        assert assess(budget, SpendSeries(points, since=since), at) == assess(
            budget, SpendSeries(known, since=since), at
        )

    def test_counts_to_the_picodollar_where_a_threshold_is_reached(self):
        point = START + HOUR
        just_under = SpendSeries([(point, 372 * PICO - 1)])
        exactly = SpendSeries([(point, 372 * PICO)])
        assert dict(assess(MONTHLY, just_under, point).reached) == {}
        assert dict(assess(MONTHLY, exactly, point).reached) == {5_000: point}

    def test_says_in_which_minute_each_threshold_was_reached(self):
        reached = assess(MONTHLY, hourly(800), START + 31 * DAY - 1).reached
        assert {share: (minute - START) // HOUR for share, minute in reached.items()} == {
            5_000: 371,
            8_000: 595,
            10_000: 743,
        }

    def test_what_was_carried_raises_the_limit_and_the_thresholds(self):
        series = SpendSeries([(START, 372 * PICO)])
        assert not assess(MONTHLY, series, START, carried=2).reached
        assert assess(MONTHLY, series, START, carried=0).reached


class TestRates:
    def test_even_spend_burns_at_one(self):
        seen = assess(MONTHLY, hourly(200), START + 150 * HOUR)
        assert {window // HOUR: burn for window, burn in seen.burn.items() if window >= HOUR} == {
            1: 1,
            6: 1,
            24: 1,
            72: 1,
        }
        assert seen.velocity == PICO

    def test_rates_look_at_whole_minutes_only(self):
        minutes = SpendSeries([(START + minute * MINUTE, 60) for minute in range(600)])
        at = START + 300 * MINUTE
        assert assess(MONTHLY, minutes, at + 59_999_999).burn == assess(MONTHLY, minutes, at).burn

    @pytest.mark.parametrize(("unit", "hours"), [("day", 1), ("month", 24), ("year", 24)])
    def test_velocity_looks_back_a_thirtieth_of_the_period(self, unit, hours):
        budget = Budget(id="v", name="v", amount=PICO, period=Calendar(unit=unit))
        burst = SpendSeries([(START + 5 * DAY - HOUR, 48 * PICO)], since=START)
        assert assess(budget, burst, START + 5 * DAY).velocity == 48 * PICO // hours


class TestProjection:
    SINCE = START - 60 * DAY

    def test_even_spend_ends_where_it_is_heading(self):
        seen = assess(MONTHLY, hourly(90 * 24, start=self.SINCE), START + 10 * DAY)
        ends = seen.projection
        assert ends.expected == pytest.approx(744 * PICO, rel=0.001)
        assert ends.low is not None
        assert ends.high is not None
        assert ends.low < ends.expected < ends.high

    @pytest.mark.parametrize(("amount", "breach", "hour"), [(500, 1, 499), (1000, 0, None)])
    def test_says_how_likely_a_breach_is_and_when(self, amount, breach, hour):
        budget = Budget(id="m", name="m", amount=amount * PICO, period=Calendar(unit="month"))
        seen = assess(budget, hourly(90 * 24, start=self.SINCE), START + 10 * DAY)
        assert seen.projection.breach == pytest.approx(breach, abs=0.01)
        found = seen.exhaustion
        if hour is None:
            assert found.expected is None
        else:
            assert (found.expected - START) / HOUR == pytest.approx(hour, abs=3)
            assert found.earliest < found.expected < found.latest

    def test_what_is_exhausted_was_so_from_a_known_minute_on(self):
        budget = Budget(id="m", name="m", amount=100 * PICO, period=Calendar(unit="month"))
        seen = assess(budget, hourly(200), START + 150 * HOUR)
        minute = START + 99 * HOUR
        assert (seen.exhaustion.expected, seen.exhaustion.earliest, seen.exhaustion.latest) == (minute,) * 3
        assert seen.projection.breach == 1

    @given(sparse, moments)
    @settings(max_examples=40)
    def test_no_period_ends_below_what_is_spent(self, points, at):
        seen = assess(MONTHLY, SpendSeries(points, since=self.SINCE), at)
        ends = seen.projection
        assert ends.low is not None
        assert ends.high is not None
        assert seen.spent <= ends.low <= ends.expected <= ends.high
        assert 0 <= (ends.breach or 0) <= 1

    def test_of_a_rolling_budget_is_about_one_length_from_now(self):
        spend = hourly(60 * 24, start=self.SINCE)
        seen = assess(ROLLING, spend, START - HOUR)
        assert seen.projection.expected == pytest.approx(24 * PICO, rel=0.001)

    def test_a_rolling_budget_is_used_up_when_more_comes_in_than_goes_out(self):
        costs = [(2 if hour >= 0 else 1) * PICO for hour in range(-60 * 24, 10)]
        faster = SpendSeries([(START + (hour - 60 * 24) * HOUR, cost) for hour, cost in enumerate(costs)])
        now = START + 10 * HOUR
        seen = assess(Budget(id="r", name="r", amount=69 * PICO // 2, period=ROLLING.period), faster, now)
        assert seen.spent == 33 * PICO
        assert seen.exhaustion.expected is not None
        assert now < seen.exhaustion.expected < now + DAY

    def test_a_lower_probability_of_breach_is_calm_only_after_its_hold_time(self):
        """A hundred-and-twentieth of January is a little more than six hours."""
        begin = START - 60 * DAY
        stops = SpendSeries([(begin + hour * HOUR, PICO) for hour in range(70 * 24)])
        budget = Budget(id="m", name="m", amount=650 * PICO, period=Calendar(unit="month"))
        seen = [assess(budget, stops, START + 10 * DAY + hour * HOUR) for hour in range(120)]
        low = next(hour for hour, one in enumerate(seen) if (one.projection.breach or 0) < 0.6)
        calm = next(hour for hour, one in enumerate(seen) if one.breach_calm)
        assert low > 0
        assert 5 <= calm - low <= 7
