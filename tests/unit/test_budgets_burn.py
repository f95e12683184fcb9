"""Burn rates: loud when money burns, silent while it is spent as always."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.budgets import TIERS, SpendSeries
from spendstream.budgets.burn import Pace, burning
from spendstream.money import PICO

MINUTE = 60 * 10**6
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
MONTH = 30 * DAY
START = 1_767_225_600_000_000
STEP = 5 * MINUTE


def series(dollars_an_hour: np.ndarray) -> SpendSeries:
    """Points every five minutes."""
    costs = (dollars_an_hour / 12 * 1e6).astype(int).tolist()
    return SpendSeries([(START + i * STEP, cost * 10**6) for i, cost in enumerate(costs)])


def healthy(seed: int, days: int = 60) -> np.ndarray:
    """About a dollar an hour: hours and weekdays differ, every five minutes are noisy."""
    rng = np.random.default_rng(seed)
    i = np.arange(days * 288)
    hours = 1 + 0.8 * np.sin(2 * math.pi * i / 288)
    weekdays = np.where(i // 288 % 7 >= 5, 0.3, 1.28)
    return hours * weekdays * rng.lognormal(-0.18, 0.6, i.size)


def pace(spend: SpendSeries, limit: int = 720 * PICO, length: int = MONTH) -> Pace:
    return Pace(spend=spend, limit=limit, length=length)


def fired(spend: SpendSeries, since: int, until: int, step: int = 30 * MINUTE) -> dict[str, int]:
    """When each tier first fired."""
    first: dict[str, int] = {}
    for at in range(since, until, step):
        for tier in burning(pace(spend), at):
            if tier.firing:
                first.setdefault(tier.tier.name, at)
    return first


class TestRate:
    @given(st.integers(1, 10**18), st.integers(1, 500))
    def test_of_even_spend_is_exactly_one_over_any_window(self, per_minute, window):
        spend = SpendSeries([(START + minute * MINUTE, per_minute) for minute in range(500)])
        even = Pace(spend=spend, limit=per_minute * 43_200, length=MONTH)
        assert even.burn(START + 500 * MINUTE, window * MINUTE) == 1

    @given(st.integers(1, 50), st.integers(1, 10**15))
    def test_grows_with_spend_and_shrinks_with_the_limit(self, times, cost):
        def burn(spent: int, limit: int) -> Fraction:
            return pace(SpendSeries([(START, spent)]), limit).burn(START + HOUR, HOUR)

        assert burn(times * cost, 10**18) == times * burn(cost, 10**18) == burn(cost, 10**18) * times
        assert burn(cost, times * 10**18) * times == burn(cost, 10**18)

    @given(st.integers(0, 30))
    @settings(max_examples=10)
    def test_is_never_higher_against_the_usual_pace_than_against_the_even_one(self, seed):
        busy = pace(series(healthy(seed)))
        for window in (5 * MINUTE, HOUR, 72 * HOUR):
            at = START + 50 * DAY + seed * HOUR
            assert busy.adjusted(at, window) <= busy.burn(at, window)


class TestSilence:
    @pytest.mark.parametrize("seed", range(6))
    def test_on_a_month_of_healthy_spend(self, seed):
        assert fired(series(healthy(seed)), START + 28 * DAY, START + 58 * DAY, 45 * MINUTE) == {}

    def test_on_a_healthy_first_month_of_which_no_history_is_known(self):
        assert fired(series(healthy(7, 20)), START + 3 * DAY, START + 20 * DAY).keys() <= {"72h"}

    def test_on_a_nightly_batch_that_spends_a_day_in_an_hour(self):
        batch = np.tile(np.concatenate([np.zeros(36), np.full(12, 24.0), np.zeros(240)]), 60)
        spend = series(batch)
        at = START + 40 * DAY + 4 * HOUR
        assert pace(spend).burn(at, HOUR) == 24
        assert fired(spend, START + 40 * DAY, START + 42 * DAY, 5 * MINUTE) == {}

    def test_on_nothing(self):
        assert not any(tier.firing or not tier.calm for tier in burning(pace(SpendSeries([])), START))


class TestFire:
    @pytest.mark.parametrize(
        ("factor", "loudest", "within"),
        [(40, "1h", HOUR), (8, "6h", 6 * HOUR), (4.5, "24h", 24 * HOUR), (1.8, "72h", 96 * HOUR)],
    )
    def test_the_tier_that_fits_the_fire_in_time(self, factor, loudest, within):
        costs = healthy(3, 50)
        start = 42 * 288 + 96  # a Monday, at eight
        costs[start:] *= factor
        began = START + start * STEP
        first = fired(series(costs), began - DAY, began + within + HOUR, 15 * MINUTE)
        assert loudest in first
        assert first[loudest] > began
        louder = [tier.name for tier in TIERS][: [tier.name for tier in TIERS].index(loudest)]
        assert not first.keys() & set(louder)

    def test_needs_both_windows(self):
        costs = np.ones(50 * 288)
        costs[-24:-12] = 40  # an hour of fire that ended an hour ago
        at = START + 50 * DAY
        first = burning(pace(series(costs)), at - HOUR)[0]
        later = burning(pace(series(costs)), at - 50 * MINUTE)[0]
        assert first.firing
        assert not later.firing
        assert later.long > first.tier.factor

    def test_last_weeks_fire_does_not_hide_todays(self):
        costs = np.ones(60 * 288)
        for day in (43, 50):
            costs[day * 288 + 100 : day * 288 + 112] = 40
        assert burning(pace(series(costs)), START + 50 * DAY + 112 * STEP)[0].firing


class TestCalm:
    def test_is_held_for_as_long_as_the_short_window(self):
        costs = np.ones(50 * 288)
        end = 49 * 288
        costs[end - 12 : end] = 40
        spend = series(costs)
        over = START + end * STEP
        calm = [minute for minute in range(20) if burning(pace(spend), over + minute * MINUTE)[0].calm]
        # The fire leaves the short window after five minutes, and the hold time is five more.
        assert calm[0] in range(6, 12)
        assert calm == list(range(calm[0], 20))

    def test_is_not_what_burns_a_little_below_the_mark(self):
        costs = np.ones(50 * 288)
        costs[-36:] = 12.5
        first = burning(pace(series(costs)), START + 50 * DAY)[0]
        assert (first.firing, first.calm) == (False, False)

    @given(st.integers(0, 100))
    @settings(max_examples=15)
    def test_and_firing_exclude_each_other(self, seed):
        rng = np.random.default_rng(seed)
        spend = series(rng.lognormal(0, 2, 10 * 288))
        for tier in burning(pace(spend), START + 9 * DAY + seed * MINUTE):
            assert not (tier.firing and tier.calm)


@pytest.mark.parametrize(
    ("length", "names"),
    [
        (HOUR, []),
        (DAY, ["1h"]),
        (WEEK, ["1h", "6h", "24h", "72h"]),
        (30 * HOUR, ["1h"]),
        (MONTH, ["1h", "6h", "24h", "72h"]),
    ],
)
def test_tiers_that_only_fire_after_the_whole_amount_is_spent_are_left_out(length, names):
    spend = SpendSeries([(START, 1)])
    assert [tier.tier.name for tier in burning(pace(spend, length=length), START + DAY)] == names
