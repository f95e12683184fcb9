"""What is expected of the time to come, and how honest its intervals are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.budgets import SpendSeries
from spendstream.budgets.outlook import Outlook, outlook, student_cdf, student_quantile
from spendstream.money import PICO

MINUTE = 60 * 10**6
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_767_225_600_000_000


def hourly(dollars: np.ndarray) -> SpendSeries:
    return SpendSeries([(START + hour * HOUR, int(cost * PICO)) for hour, cost in enumerate(dollars)])


def wandering(seed: int, days: int) -> np.ndarray:
    """A level that wanders, quiet weekends, days with a shape, and noise."""
    rng = np.random.default_rng(seed)
    level = np.exp(np.cumsum(rng.normal(0, 0.04, days)))
    weekdays = np.where(np.arange(days) % 7 >= 5, 0.6, 1.0)
    hours = 1 + 0.7 * np.sin(np.arange(24) / 24 * 2 * math.pi)
    return (
        (level * weekdays)[:, None].repeat(24, 1).ravel()
        * np.tile(hours, days)
        * rng.lognormal(0, 0.4, days * 24)
    )


class TestStudent:
    # Tables of the t distribution, such as NIST's e-Handbook 1.3.6.7.2.
    @pytest.mark.parametrize(
        ("freedom", "probability", "t"),
        [
            (1, 0.9, 3.078),
            (2, 0.9, 1.886),
            (5, 0.9, 1.476),
            (11, 0.9, 1.363),
            (2, 0.975, 4.303),
            (11, 0.975, 2.201),
        ],
    )
    def test_agrees_with_the_tables(self, freedom, probability, t):
        assert student_quantile(probability, freedom) == pytest.approx(t, abs=5e-4)
        assert student_cdf(t, freedom) == pytest.approx(probability, abs=5e-4)

    @given(st.integers(1, 30), st.floats(-50, 50))
    def test_is_symmetric_and_a_probability(self, freedom, t):
        assert 0 <= student_cdf(t, freedom) <= 1
        assert student_cdf(t, freedom) + student_cdf(-t, freedom) == pytest.approx(1)

    @given(st.integers(1, 30), st.floats(0.01, 0.99))
    def test_quantile_undoes_cdf(self, freedom, probability):
        assert student_cdf(student_quantile(probability, freedom), freedom) == pytest.approx(probability)


class TestOutlook:
    def test_repeats_what_repeats_each_week(self):
        week = np.tile(np.concatenate([np.full(120, 10.0), np.full(48, 1.0)]), 10)
        friday_evening = START + (9 * 168 + 120) * HOUR
        seen = outlook(hourly(week), friday_evening, 2 * DAY)
        assert seen.expected == pytest.approx(48, rel=0.01)
        assert seen.exceeds(55) == pytest.approx(0, abs=0.01)
        assert seen.exceeds(45) == pytest.approx(1, abs=0.01)

    @pytest.mark.parametrize(("days", "cycle"), [(60, 7 * DAY), (20, DAY), (9, DAY)])
    def test_of_even_spend_is_even_with_any_length_of_history(self, days, cycle):
        seen = outlook(hourly(np.full(days * 24, 2.0)), START + days * DAY, 10 * DAY)
        assert seen.cycle is not None
        assert seen.cycle.length == cycle
        assert seen.expected == pytest.approx(480)

    def test_looks_at_nothing_after_its_moment(self):
        costs = wandering(1, 90)
        at = START + 70 * DAY
        changed = np.concatenate([costs[: 70 * 24], costs[70 * 24 :] * 100])
        assert outlook(hourly(costs), at, 10 * DAY) == outlook(hourly(changed), at, 10 * DAY)

    def test_claims_no_probability_from_a_short_history(self):
        seen = outlook(hourly(np.full(48, 1.0)), START + 2 * DAY, 10 * DAY)
        assert seen.expected == pytest.approx(240)
        assert (seen.factor(0.9), seen.exceeds(100)) == (None, None)
        assert seen.exceeds(0) == 1

    def test_of_nothing_is_nothing(self):
        for seen in (
            outlook(SpendSeries([]), START, DAY),
            outlook(SpendSeries([], since=START - 90 * DAY), START, DAY),
        ):
            assert seen.expected == 0
            assert not seen.exceeds(1)
            assert seen.path(SpendSeries([]), 3)[1].tolist() == [0, 0, 0]

    def test_of_a_batch_once_a_day_expects_it_at_its_hour(self):
        batch = np.tile(np.concatenate([np.zeros(3), [24.0], np.zeros(20)]), 60)
        midnight = START + 50 * DAY
        assert outlook(hourly(batch), midnight, 12 * HOUR).expected == pytest.approx(24, rel=0.05)
        assert outlook(hourly(batch), midnight + 4 * HOUR, 12 * HOUR).expected == pytest.approx(0, abs=0.1)

    @given(st.floats(0.1, 1000), st.floats(0.1, 1000), st.floats(0.01, 2), st.integers(2, 11))
    def test_a_higher_limit_is_never_likelier_to_be_exceeded(self, one, other, spread, freedom):
        seen = Outlook(at=0, horizon=1, expected=10, spread=spread, freedom=freedom)
        of_lower, of_higher = seen.exceeds(min(one, other)), seen.exceeds(max(one, other))
        assert of_lower is not None
        assert of_higher is not None
        assert of_higher <= of_lower + 1e-12

    def test_of_scattered_spend_has_bounds_that_can_be_written_down(self):
        seen = Outlook(at=0, horizon=1, expected=10, spread=400.0, freedom=2)
        assert (seen.factor(0.9), seen.factor(0.1)) == (pytest.approx(100), pytest.approx(0.01))

    @given(st.floats(0.1, 0.9), st.floats(0.01, 1), st.integers(2, 11))
    def test_the_edge_of_an_interval_is_exceeded_as_often_as_it_says(self, probability, spread, freedom):
        seen = Outlook(at=0, horizon=1, expected=10, spread=spread, freedom=freedom)
        factor = seen.factor(probability)
        assert factor is not None
        assert seen.exceeds(10 * factor) == pytest.approx(1 - probability, abs=1e-6)

    def test_the_path_rises_to_the_expectation(self):
        series = hourly(wandering(2, 60))
        seen = outlook(series, START + 60 * DAY, 10 * DAY)
        times, sums = seen.path(series, 65)
        assert (times[0], times[-1], sums[0]) == (seen.at, seen.at + 10 * DAY, 0)
        assert np.all(np.diff(sums) >= 0)
        assert sums[-1] == pytest.approx(seen.expected, rel=0.05)

    @pytest.mark.parametrize(("elapsed", "history"), [(5, 60), (10, 30), (20, 60)])
    def test_intervals_and_probabilities_of_breach_are_honest(self, elapsed, history):
        """On series that wander the interval of 80% holds the truth in about 80%, and rarely in less."""
        inside, brier, run_rate = [], [], []
        for seed in range(60):
            costs = wandering(seed, history + 30)
            now, end = (history + elapsed) * 24, (history + 30) * 24
            seen = outlook(hourly(costs[:now]), START + now * HOUR, (end - now) * HOUR)
            actual = costs[now:end].sum()
            rate = costs[now - elapsed * 24 : now].sum() / (elapsed * 24) * (end - now)
            low, high = seen.factor(0.1), seen.factor(0.9)
            assert low is not None
            assert high is not None
            inside.append(seen.expected * low <= actual <= seen.expected * high)
            for limit in (0.9 * actual, 0.97 * actual, 1.03 * actual, 1.1 * actual):
                breach = seen.exceeds(limit)
                assert breach is not None
                brier.append((breach - (actual > limit)) ** 2)
                run_rate.append(float((rate > limit) != (actual > limit)))
        assert np.mean(inside) >= 0.7
        assert np.mean(brier) < np.mean(run_rate)
