"""Spikes in seasons are found, healthy seasons are quiet, and prices of holes in the data are none."""

import math
import random

import pytest

from spendstream.anomalies.detector import HIGH, WARN
from spendstream.anomalies.holt_winters import HoltWinters
from spendstream.anomalies.novelty import Novelty
from spendstream.anomalies.seasons import Season, polish
from spendstream.windows import DAY, HOUR, MINUTE

SEEDS = range(8)
MONTH = 28 * 24


def hourly(seed, noise=0.06):
    """Return five weeks of hourly cost: busy afternoons, quiet weekends, noise in proportion."""
    rng = random.Random(seed)
    return [
        1e10 * math.exp(math.sin(2 * math.pi * (hour - 9) / 24)) * (0.4 if hour // 24 % 7 > 4 else 1)
        * rng.lognormvariate(0, noise)
        for hour in range(35 * 24)
    ]  # fmt: skip


def daily(seed):
    rng = random.Random(seed)
    return [1e12 * (0.5 if day % 7 > 4 else 1) * rng.lognormvariate(0, 0.08) for day in range(300)]


def minutes(seed):
    """Return two days of cost by the minute."""
    rng = random.Random(seed)
    return [
        1e9 * (2 + math.sin(2 * math.pi * minute / 1440)) * rng.lognormvariate(0, 0.08)
        for minute in range(2 * 1440)
    ]


def alerts(detector, values, size, least=WARN):
    scores = [detector.update(value, place * size) for place, value in enumerate(values)]
    return [place for place, score in enumerate(scores) if score and score.alert >= least]


def spiked(values, start, factor, length=3):
    return [value * (factor if start <= place < start + length else 1) for place, value in enumerate(values)]


@pytest.mark.parametrize(("factor", "least"), [(1.5, 0.7), (2.0, 1.0)])
@pytest.mark.parametrize("hour", [3, 9, 15, 21])
def test_a_spike_of_hours_is_found_at_any_time_of_the_day(factor, least, hour):
    start = MONTH + 24 + hour
    found = [alerts(HoltWinters.hourly(), spiked(hourly(seed), start, factor), HOUR) for seed in SEEDS]
    assert sum(any(start <= place < start + 3 for place in places) for places in found) >= least * len(SEEDS)


def test_a_nightly_doubling_is_found_though_the_afternoon_spends_more():
    values = spiked(hourly(1), MONTH + 3, 2.0)
    assert values[MONTH + 3] < max(values[MONTH - 24 : MONTH])
    assert MONTH + 3 in alerts(HoltWinters.hourly(), values, HOUR)


def test_healthy_hours_raise_one_alarm_in_a_month_at_most():
    found = [place for seed in SEEDS for place in alerts(HoltWinters.hourly(), hourly(seed), HOUR)]
    assert sum(place >= 7 * 24 for place in found) <= 28 * len(SEEDS) / 30
    assert len(found) <= 3 * len(SEEDS)  # the first weekend, and the Monday after it
    assert not [place for seed in SEEDS for place in alerts(HoltWinters.hourly(), hourly(seed), HOUR, HIGH)]


def test_healthy_days_raise_one_alarm_in_a_year_at_most():
    found = [place for seed in SEEDS for place in alerts(HoltWinters.daily(), daily(seed), DAY)]
    assert len(found) <= 300 * len(SEEDS) / 365


def test_a_day_of_double_cost_is_found():
    found = [alerts(HoltWinters.daily(), spiked(daily(seed), 200, 2.0, 1), DAY) for seed in SEEDS]
    assert all(200 in places for places in found)


def test_missing_windows_leave_no_seam():
    whole, holey = HoltWinters.hourly(), HoltWinters.hourly()
    for place, value in enumerate(hourly(2)):
        score = whole.update(value, place * HOUR)
        if not MONTH <= place < MONTH + 7:
            seen = holey.update(value, place * HOUR)
    assert score is not None
    assert seen is not None
    assert seen.expected == pytest.approx(score.expected, rel=0.05)
    assert seen.severity < WARN


def test_a_key_that_spent_nothing_yet_starts_to_learn_when_it_does():
    detector = HoltWinters.hourly()
    assert alerts(detector, [0.0] * 500, HOUR) == []
    later = [detector.update(value, (500 + place) * HOUR) for place, value in enumerate(hourly(3))]
    assert later[-1] is not None


def test_less_than_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        HoltWinters.hourly().update(-1.0, 0)


def test_minutes_with_a_daily_season_are_quiet_and_their_spike_is_found():
    quiet = [len(alerts(Novelty.remembering(), minutes(seed), MINUTE)) for seed in range(4)]
    assert sum(quiet) <= 4 * 2 * 2  # two a day in the first two days, when most is new
    for seed in range(4):
        found = alerts(Novelty.remembering(), spiked(minutes(seed), 1800, 1.5, 5), MINUTE)
        assert any(1800 <= place < 1805 for place in found)


def test_a_nightly_doubling_within_the_days_range_is_left_to_the_hours():
    """The limit of remembering values: it stands here so that nobody relies on more."""
    found = alerts(Novelty.remembering(), spiked(minutes(0), 2500, 2.0, 60), MINUTE, HIGH)
    assert not [place for place in found if 2500 <= place < 2560]


def test_novelty_finds_a_value_in_a_gap_between_known_ones():
    """Where a range would see nothing: between the two levels that a batch job alternates between."""
    rng = random.Random(4)
    levels = [1.0, 10.0]
    values = [levels[place // 5 % 2] + rng.gauss(0, 0.05) for place in range(400)]
    assert 400 in alerts(Novelty.remembering(), [*values, 5.0], MINUTE)


def test_a_polish_takes_out_seasons_of_a_day_and_of_a_week_whatever_one_anomaly_says():
    seasons = [Season(step=HOUR, period=24, needs=48, rate=0), Season(step=DAY, period=7, needs=168, rate=0)]
    truth = [(at, math.sin(at // HOUR % 24) + (at // DAY % 7 > 4)) for at in range(0, 21 * DAY, HOUR)]
    rest = polish(seasons, [(at, value + 50 * (at == 5 * DAY)) for at, value in truth])
    assert max(abs(value) for place, value in enumerate(rest) if place != 5 * 24) < 1e-9
    assert rest[5 * 24] == pytest.approx(50)


def test_a_season_waits_for_a_history_that_covers_it():
    week = Season(step=DAY, period=7, needs=7, rate=0.5)
    polish([week], [(day * DAY, float(day)) for day in range(6)])
    assert week.summands == []
    assert week.at(3 * DAY) == 0
    week.learn(3 * DAY, 1.0)
    assert week.summands == []
