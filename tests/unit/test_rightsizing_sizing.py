"""Our recommendation: what is lowered, what is raised, and what is refused with which reason."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.rightsizing.backtest import BackTest, back_test, outgrown, time_over
from spendstream.rightsizing.days import DAY, NANO
from spendstream.rightsizing.histogram import CPU
from spendstream.rightsizing.sizing import Rule, size
from tests.fixtures.containers import GIB, MIB, START, container_day, history

PEAKS = st.lists(st.floats(1e7, 1e11), min_size=1, max_size=20)


def now_after(days):
    return days[-1].last


def decided(days, **rule):
    sizing = size(days, now_after(days), Rule(**rule))
    return sizing.cpu, sizing.memory


def test_what_is_over_provisioned_is_lowered_with_room_above_the_peak():
    cpu, memory = decided(history(14, cores=0.1, memory=300 * MIB))
    assert (cpu.verdict, cpu.reason) == ("lower", "over-provisioned")
    assert 0.1 * 1.15 <= cpu.target / NANO <= 0.14
    assert (memory.verdict, memory.reason) == ("lower", "over-provisioned")
    room = 15 / 14 / 0.65
    assert 300 * MIB * room <= memory.target <= (300 * MIB * 1.05 + 1e7) * room + MIB


def test_targets_are_whole_millicores_and_mebibytes():
    cpu, memory = decided(history(14, cores=0.123, memory=310_000_007))
    assert cpu.target % (NANO // 1000) == 0
    assert memory.target % MIB == 0


def test_a_shorter_history_leaves_more_room():
    targets = [decided(history(days))[1].target for days in (4, 7, 14, 28)]
    assert targets == sorted(targets, reverse=True)
    assert len(set(targets)) == 4


def test_less_than_three_days_of_history_are_refused():
    cpu, memory = decided(history(2))
    assert (cpu.verdict, cpu.reason, cpu.target) == ("refused", "short-history", cpu.current)
    assert (memory.verdict, memory.reason, memory.target) == ("refused", "short-history", memory.current)


def test_a_revision_of_today_is_refused_and_judged_after_a_day():
    days = [*history(13), container_day(13, revision="two")]
    assert size(days, now_after(days) - 1).memory.reason == "recent-deploy"
    assert size(days, now_after(days)).memory.verdict == "lower"


def test_the_first_revision_that_was_ever_seen_is_no_deploy():
    assert decided(history(3))[1].verdict == "lower"


def test_what_an_autoscaler_scales_on_is_refused_and_the_rest_is_not():
    cpu, memory = decided(history(14, scaled_on="cpu"))
    assert (cpu.verdict, cpu.reason) == ("refused", "autoscaled")
    assert memory.verdict == "lower"


def test_what_an_autoscaler_scales_on_is_not_raised_however_little_is_known():
    cpu, memory = decided(history(1, cores=2.0, memory=2 * GIB, scaled_on="cpu,memory"))
    assert (cpu.verdict, cpu.reason) == ("refused", "autoscaled")
    assert (memory.verdict, memory.reason) == ("refused", "autoscaled")


def test_an_oom_kill_raises_memory_above_what_it_was_killed_with():
    days = [*history(7), container_day(7, oom_kills=1, memory_limit=2 * GIB)]
    memory = decided(days)[1]
    assert (memory.verdict, memory.reason) == ("raise", "oom-killed")
    assert memory.target == math.ceil(2 * GIB * 1.2 / MIB) * MIB


def test_an_oom_kill_is_past_once_memory_was_raised_above_it():
    days = [container_day(0, oom_kills=1, memory_request=GIB // 2)]
    days += [container_day(number, memory_request=2 * GIB) for number in range(1, 14)]
    assert decided(days)[1].reason == "over-provisioned"


def test_an_oom_kill_is_past_even_if_memory_was_raised_on_the_same_day():
    days = history(7, memory_request=GIB // 2)
    days += [container_day(7, oom_kills=1, memory_request=2 * GIB)]
    days += [container_day(number, memory_request=2 * GIB) for number in range(8, 14)]
    assert decided(days)[1].reason == "over-provisioned"
    days += [container_day(14, oom_kills=1, memory_request=2 * GIB)]
    assert decided(days)[1].reason == "oom-killed"


def test_memory_that_would_have_exceeded_the_recommendation_before_is_refused():
    peaks = [100 * MIB] * 10 + [600 * MIB] * 4
    days = [container_day(number, memory=peak, memory_request=4 * GIB) for number, peak in enumerate(peaks)]
    sizing = size(days, now_after(days))
    assert (sizing.memory.verdict, sizing.memory.reason) == ("refused", "failed-back-test")
    assert sizing.breach_rate > 0
    assert sizing.confidence < size(history(14), START + 14 * DAY).confidence


def test_what_has_outgrown_its_past_a_little_gets_more_room():
    peaks = [300 * MIB] * 10 + [390 * MIB] * 4
    grown = [container_day(number, memory=peak, memory_request=4 * GIB) for number, peak in enumerate(peaks)]
    steady = history(14, memory=390 * MIB, memory_request=4 * GIB)
    assert decided(grown)[1].target > decided(steady)[1].target


def test_what_is_used_above_its_request_is_raised_even_if_little_is_known():
    cpu, memory = decided(history(1, cores=1.5, memory=2 * GIB))
    assert (cpu.verdict, memory.verdict) == ("raise", "raise")
    assert cpu.target > 1.5 * NANO * 1.15
    assert memory.target > 2 * GIB * 1.15


def test_what_requests_nothing_is_given_a_request():
    cpu, memory = decided(history(14, cpu_request=0, memory_request=0))
    assert (cpu.verdict, memory.verdict) == ("raise", "raise")


def test_what_falls_by_less_than_a_tenth_is_kept():
    memory = decided(history(14, memory_request=535 * MIB))[1]
    assert (memory.verdict, memory.reason, memory.target) == ("keep", "fits", memory.current)


def test_floors_hold():
    cpu, memory = decided(history(14, cores=0.0, memory=0))
    assert (cpu.target, memory.target) == (12 * NANO // 1000, 100 * MIB)


def test_without_usage_there_is_no_sizing():
    with pytest.raises(ValueError, match="no usage"):
        size([], START)


@given(PEAKS)
def test_a_target_is_never_below_the_highest_peak(peaks):
    days = [container_day(number, memory=peak, memory_request=10**12) for number, peak in enumerate(peaks)]
    memory = decided(days)[1]
    assert memory.target >= max(peaks)


@given(PEAKS)
def test_room_for_memory_grows_with_the_peaks(peaks):
    rule = Rule()
    assert rule.memory([2 * peak for peak in peaks]) == pytest.approx(2 * rule.memory(peaks))
    assert rule.memory(peaks) >= max(peaks) / rule.fill


def test_a_back_test_rolls_over_the_second_half():
    test = back_test([1, 1, 1, 1, 2, 1], lambda peaks: 1.5 * max(peaks))
    assert test == BackTest(origins=3, breaches=2)
    assert test.breach_rate == pytest.approx(2 / 3)
    assert back_test([1.0], max).breach_rate == 0


def test_outgrown_tells_the_largest_rise():
    assert outgrown([1, 1, 1, 3]) == 3
    assert outgrown([3, 1, 1, 1]) == 1
    assert outgrown([1]) == 1


def test_the_first_half_is_no_rise():
    assert outgrown([1, 5, 5, 5]) == 1


def test_time_over_is_the_share_of_time_above_what_was_made_of_the_past():
    low, high = CPU.find(1.0), CPU.find(2.0)
    assert time_over([{low: 10}, {low: 5, high: 5}], lambda _: 1.5) == 0.5
    assert time_over([{low: 10}], lambda _: 1.5) == 0
