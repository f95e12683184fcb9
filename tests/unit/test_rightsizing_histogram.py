"""Histograms hold to the examples that the Vertical Pod Autoscaler's tests publish, and to algebra."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.rightsizing.histogram import CPU, MEMORY, Buckets, Histogram, decay

TEN = Buckets(first=1.0, growth=1.0, largest=10.0, epsilon=1e-15)  # the Autoscaler's tests use linear ones
HOUR = 3600.0
COUNTS = st.dictionaries(st.integers(0, CPU.count - 1), st.integers(1, 10**6), max_size=20)


def test_cpu_and_memory_have_as_many_buckets_as_the_autoscaler():
    assert (CPU.count, MEMORY.count) == (176, 176)


def test_linear_buckets_are_those_of_the_published_example():
    buckets = Buckets(first=0.3, growth=1.0, largest=5.0)
    assert buckets.count == 18
    assert buckets.start(0) == 0.0
    assert buckets.start(17) == pytest.approx(5.1)
    assert [buckets.find(value) for value in (-1.0, 0.0, 1.3, 100.0)] == [0, 0, 4, 17]


def test_exponential_buckets_are_those_of_the_published_example():
    buckets = Buckets(first=40.0, growth=1.5, largest=500.0)
    assert buckets.count == 6
    assert [buckets.start(bucket) for bucket in range(6)] == [0.0, 40.0, 100.0, 190.0, 325.0, 527.5]
    assert [buckets.find(value) for value in (-1.0, 39.99, 40.0, 100.0, 900.0)] == [0, 0, 1, 2, 5]


@pytest.mark.parametrize("share", [-0.5, 0.0, 0.5, 1.0, 1.5])
def test_an_empty_histogram_answers_0(share):
    assert Histogram(TEN).percentile(share) == 0.0


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, 2),
        (0.1, 2),
        (0.2, 3),
        (0.3, 3),
        (0.4, 4),
        (0.5, 4),
        (0.6, 4),
        (0.7, 5),
        (0.8, 5),
        (0.9, 5),
        (1.0, 5),
    ],
)
def test_a_percentile_is_the_end_of_its_bucket_as_published(share, expected):
    histogram = Histogram(TEN)
    for value in range(1, 5):
        histogram.add(value, value)
    assert histogram.percentile(share) == expected


def test_shares_out_of_bounds_answer_the_least_and_the_most_as_published():
    histogram = Histogram(Buckets(first=0.1, growth=1.0, largest=1.0, epsilon=1e-15))
    histogram.add(0.1, 0.1)
    histogram.add(0.2, 0.2)
    assert histogram.percentile(-0.1) == pytest.approx(0.2)
    assert histogram.percentile(1.1) == pytest.approx(0.3)
    histogram.add(0.0, 0.1)
    histogram.add(1.0, 0.2)
    assert histogram.percentile(-0.1) == pytest.approx(0.1)
    assert histogram.percentile(1.1) == pytest.approx(1.0)


def test_weights_below_epsilon_leave_a_histogram_empty():
    histogram = Histogram(TEN)
    histogram.add(1, 0.5e-15)
    assert histogram.is_empty
    histogram.add(9, 3e-15)
    assert not histogram.is_empty


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 2), (0.02, 2), (0.03, 3), (0.10, 3), (0.11, 4), (0.34, 4), (0.35, 5), (1.0, 5)],
)
def test_percentiles_with_decay_are_those_of_the_published_example(share, expected):
    histogram = Histogram(TEN)
    for value in range(1, 5):
        histogram.add(value, value * decay((4 - value) * HOUR, HOUR))
    assert histogram.percentile(share) == expected


def test_a_large_weight_is_almost_gone_after_20_half_lives_as_published():
    histogram = Histogram(TEN)
    histogram.add(2, 1000 * decay(20 * HOUR, HOUR))
    histogram.add(1, 1)
    assert histogram.percentile(0.999) == 2
    assert histogram.percentile(1.0) == 3


def test_what_is_101_half_lives_old_is_forgotten_as_published():
    histogram = Histogram(TEN)
    histogram.add(2, decay(101 * HOUR, HOUR))
    histogram.add(1, 1)
    assert histogram.percentile(1.0) == 2


def test_histograms_merge_as_published():
    one, two, both = Histogram(TEN), Histogram(TEN), Histogram(TEN)
    for value in (1, 2):
        one.add(value)
        both.add(value)
    for value in (2, 3):
        two.add(value)
        both.add(value)
    one.merge(two.weights)
    assert one.weights == both.weights


@given(COUNTS, COUNTS, st.floats(0, 1))
def test_the_order_of_merging_changes_nothing(one, two, share):
    forth, back = Histogram(CPU, one), Histogram(CPU, two)
    forth.merge(two)
    back.merge(one)
    assert forth.weights == back.weights
    assert forth.percentile(share) == back.percentile(share)


@given(st.floats(0, 1000), st.sampled_from([CPU, MEMORY]))
def test_a_value_lies_in_its_bucket(value, buckets):
    value *= buckets.first * 100
    bucket = buckets.find(value)
    assert buckets.start(bucket) <= value * (1 + 1e-9)
    assert bucket == buckets.count - 1 or value < buckets.start(bucket + 1) * (1 + 1e-9)


@pytest.mark.parametrize("buckets", [CPU, MEMORY])
def test_the_start_of_a_bucket_is_in_it(buckets):
    assert [buckets.find(buckets.start(bucket)) for bucket in range(buckets.count)] == [*range(buckets.count)]


@given(st.lists(st.floats(0.02, 900), min_size=1, max_size=50), st.floats(0, 1))
def test_a_percentile_is_never_below_the_true_one_and_at_most_a_bucket_above(values, share):
    histogram = Histogram(CPU)
    for value in values:
        histogram.add(value)
    rank = max(min(int(share * len(values)), len(values)) - 1, 0)
    true = sorted(values)[rank]
    assert true <= histogram.percentile(share) * (1 + 1e-9)
    assert histogram.percentile(1.0) <= max(values) * 1.05 + CPU.first + 1e-9
