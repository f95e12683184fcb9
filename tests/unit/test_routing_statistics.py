"""Live statistics: recent calls count more, memory is bounded, and failing fast is not being fast."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.routing.sketch import ACCURACY, Decaying
from spendstream.routing.statistics import HALF_LIFE, Outcome, Statistics

TARGET = ("openai", "gpt-4o")
SECOND = 10**6


def outcome(**fields):
    return Outcome(provider="openai", model="gpt-4o", **fields)


def test_what_lies_a_half_life_back_counts_half():
    values = Decaying(half_life=100)
    values.add(10, now=0)
    values.add(40, now=100)
    assert values.mean == pytest.approx((10 * 0.5 + 40) / 1.5)
    assert values.evidence(100) == pytest.approx(1.5)
    assert values.evidence(200) == pytest.approx(0.75)


def test_nothing_is_known_before_the_first_value():
    values = Decaying(half_life=100)
    assert (values.mean, values.quantile(0.5), values.evidence(0)) == (None, None, 0.0)


@given(
    values=st.lists(st.integers(1, 10**9), min_size=1, max_size=60),
    q=st.sampled_from([0.5, 0.9, 0.95]),
)
def test_a_quantile_is_within_its_accuracy_of_a_value_of_that_rank(values, q):
    sketch = Decaying(half_life=10**15)
    for value in values:
        sketch.add(value, now=0)
    true = sorted(values)[math.ceil(q * len(values)) - 1]
    assert sketch.quantile(q) == pytest.approx(true, rel=ACCURACY + 1e-6)


@given(
    steps=st.lists(st.tuples(st.integers(0, 10**9), st.integers(-(10**6), 10**12)), min_size=1, max_size=50)
)
def test_any_times_and_values_leave_a_mean_among_the_values(steps):
    sketch, now = Decaying(half_life=10**6), 0
    for value, ahead in steps:
        now += ahead
        sketch.add(value, now)
    seen = [value for value, _ in steps]
    assert min(seen) * (1 - 1e-9) <= sketch.mean <= max(seen) * (1 + 1e-9)
    assert sketch.quantile(0.5) is not None
    assert len(sketch._buckets) <= 240


def test_a_provider_that_became_slow_is_known_to_be_slow_within_minutes():
    statistics = Statistics()
    for second in range(600):
        statistics.seen(outcome(latency=100_000), second * SECOND)
    for second in range(600, 1200):
        statistics.seen(outcome(latency=900_000), second * SECOND)
    assert statistics.latency(TARGET, streamed=False) > 850_000
    assert statistics.standing(TARGET, 1200 * SECOND).latency_p50 == pytest.approx(900_000, rel=ACCURACY)


def test_a_call_that_fails_at_once_does_not_make_its_provider_fast():
    statistics = Statistics()
    statistics.seen(outcome(latency=500_000), 0)
    statistics.seen(outcome(failed=True, latency=1), 0)
    standing = statistics.standing(TARGET, 0)
    assert (standing.error_rate, standing.latency) == (0.5, 500_000)
    assert statistics.latency(TARGET, streamed=False) == 1_000_000, "half of the calls are made twice"


def test_streams_are_judged_by_their_first_token_where_that_is_known():
    statistics = Statistics()
    statistics.seen(outcome(latency=500_000, first_token=50_000), 0)
    assert statistics.latency(TARGET, streamed=True) == 50_000
    assert statistics.latency(TARGET, streamed=False) == 500_000


def test_cost_is_told_by_token():
    statistics = Statistics()
    statistics.seen(outcome(cost=3_000, tokens=100, output_tokens=40), 0)
    statistics.seen(outcome(cost=1_000, tokens=100, output_tokens=20), 0)
    assert statistics.standing(TARGET, 0).cost_per_token == pytest.approx(20)
    assert statistics.output_tokens(TARGET) == pytest.approx(30)


def test_one_call_at_a_time_tries_out_what_nobody_knows():
    statistics = Statistics()
    assert statistics.claims_trial(TARGET, 0)
    assert not statistics.claims_trial(TARGET, 1 * SECOND)
    assert statistics.claims_trial(TARGET, 6 * SECOND), "the first one may never have come back"
    statistics.seen(outcome(latency=1), 6 * SECOND)
    assert not statistics.claims_trial(TARGET, 60 * SECOND)
    assert statistics.claims_trial(TARGET, 6 * SECOND + 4 * HALF_LIFE), "what is known has faded"


def test_only_a_bounded_number_of_models_is_remembered():
    statistics = Statistics()
    for number in range(1_500):
        statistics.seen(Outcome(provider="p", model=str(number), latency=1), 0)
    assert len(statistics.targets) == 1_000
    assert statistics.standing(("p", "0"), 0) is None
    assert statistics.standing(("p", "1499"), 0) is not None
