"""KRR's simple strategy."""

from spendstream.rightsizing.days import NANO, gathered
from spendstream.rightsizing.krr import KrrEstimate, krr
from tests.fixtures.containers import MIB, container_day, history, sample


def test_memory_is_15_per_cent_above_the_highest_and_cpu_the_95th_percentile():
    days = [*history(9, cores=0.5), container_day(9, cores=0.5, memory=2e9)]
    estimate = krr(days)
    assert 0.5 <= estimate.cpu / NANO <= 0.5 * 1.05 + 0.01
    assert 2e9 * 1.15 <= estimate.memory <= 2e9 * 1.15 * 1.05 + 2e7


def test_floors_hold():
    assert krr(history(1, cores=0.0, memory=0)) == KrrEstimate(cpu=10 * NANO // 1000, memory=100 * MIB)


def test_less_than_three_hours_say_nothing():
    (days,) = gathered(sample(number) for number in range(35)).values()
    assert krr(days) == KrrEstimate(cpu=None, memory=None)
    (days,) = gathered(sample(number) for number in range(36)).values()
    assert krr(days).cpu is not None


def test_what_an_autoscaler_scales_on_is_left_alone():
    estimate = krr(history(3, scaled_on="cpu"))
    assert estimate.cpu is None
    assert estimate.memory is not None
    assert krr(history(3, scaled_on="cpu,memory")) == KrrEstimate(cpu=None, memory=None)
