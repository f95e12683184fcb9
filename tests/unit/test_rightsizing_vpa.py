"""The Autoscaler's recommendation: its published examples, and its rules."""

import math

import pytest

from spendstream.rightsizing.amounts import Amounts
from spendstream.rightsizing.days import DAY, NANO, gathered
from spendstream.rightsizing.histogram import CPU, MEMORY, Histogram
from spendstream.rightsizing.vpa import after_oom, confidence, vpa, widened
from tests.fixtures.containers import GIB, MIB, container_day, history, sample


def test_percentiles_of_cpu_and_memory_are_those_of_the_published_example():
    cpu, memory = Histogram(CPU), Histogram(MEMORY)
    for value in (1.0, 2.0, 3.0):
        cpu.add(value)
        memory.add(value * 1e9)
    assert cpu.percentile(0.2) == pytest.approx(1.0, rel=0.05)
    assert memory.percentile(0.5) == pytest.approx(2e9, rel=0.05)


def test_confidence_widens_an_amount_as_in_the_published_example():
    assert 9 / (60 * 24) == 0.00625  # nine samples, of a minute each
    assert widened(3.14, 0.1, 2.0, 0.00625) == pytest.approx(907.46)
    assert widened(3.14e9, 0.1, 2.0, 0.00625) == pytest.approx(907_460_000_000)
    assert widened(3.14, 0.1, 2.0, 0.5) == pytest.approx(4.5216)


def test_without_history_bounds_are_infinite_or_0_as_published():
    assert widened(3.14, 1.0, 1.0, 0.0) == math.inf
    assert widened(3.14, 1.0, -1.0, 0.0) == 0.0


@pytest.mark.parametrize(("days", "factor"), [(0.5, 3.0), (1.0, 2.0), (7.0, 8 / 7)])
def test_the_upper_bound_comes_down_with_days_as_documented(days, factor):
    assert widened(1.0, 1.0, 1.0, days) == pytest.approx(factor)


@pytest.mark.parametrize(("minutes", "factor"), [(5, 0.6), (30, 0.9), (60, 0.95)])
def test_the_lower_bound_comes_up_with_minutes_as_documented(minutes, factor):
    assert widened(1.0, 0.001, -2.0, minutes / (24 * 60)) == pytest.approx(factor, abs=0.015)


@pytest.mark.parametrize(
    ("used", "requested", "counted"),
    [
        (1000 * MIB, 0, 1200 * MIB),  # a fifth more
        (1 * MIB, 0, 101 * MIB),  # 100 MiB more at least
        (3000 * MIB, 1000 * MIB, 3600 * MIB),  # from what was used, where that is more
        (999 * MIB, 2000 * MIB, 2400 * MIB),  # else from what was requested
    ],
)
def test_an_oom_kill_counts_as_in_the_published_examples(used, requested, counted):
    assert after_oom(used, requested) == counted


def test_a_pod_has_the_published_floors_split_among_its_containers():
    days = history(8, cores=0.001, memory=1e6)
    assert vpa(days).target == Amounts(cpu=25 * NANO // 1000, memory=250 * MIB)
    assert vpa(days, containers=2).target == Amounts(cpu=25 * NANO // 2000, memory=125 * MIB)


def test_the_target_is_15_per_cent_above_the_bucket_of_steady_usage():
    target = vpa(history(8, cores=2.0, memory=2e9)).target
    assert 2.0 * 1.15 <= target.cpu / NANO <= 2.0 * 1.15 * 1.05 + 0.02
    assert 2e9 * 1.15 <= target.memory <= 2e9 * 1.15 * 1.05 + 2e7


def test_new_days_outweigh_old_ones():
    days = [container_day(number, cores=4.0 if number < 10 else 1.0) for number in range(16)]
    assert vpa(days).target.cpu < 2 * NANO


def test_a_day_with_an_oom_kill_raises_the_peak():
    killed = [*history(7), container_day(7, oom_kills=1, memory=900 * MIB)]
    assert vpa(killed).target.memory > 1.15 * 1.2 * GIB * 0.99


def test_bounds_enclose_the_target():
    estimate = vpa(history(8, cores=2.0, memory=2e9))
    assert estimate.lower.cpu <= estimate.target.cpu <= estimate.upper.cpu
    assert estimate.lower.memory <= estimate.target.memory <= estimate.upper.memory


def test_confidence_is_the_days_that_were_observed():
    assert confidence(history(8)) == 8.0
    (days,) = gathered([sample(0), sample(287)]).values()  # ten minutes of a day
    assert confidence(days) == pytest.approx(10 / 1440)
    assert days[-1].last - days[0].first == DAY


def test_without_usage_there_is_no_estimate():
    with pytest.raises(ValueError, match="no usage"):
        vpa([])
