"""Event time closes windows: the slowest source that lives in the present says how far it is."""

from hypothesis import given
from hypothesis import strategies as st

from spendstream.anomalies.closing import closed_until
from spendstream.windows import DAY, MINUTE

NOW = 1_800_000_030  # half a minute past


def test_the_slowest_active_source_is_waited_for():
    assert closed_until([NOW - 30, NOW - 330], NOW) == NOW - 390


def test_without_a_source_the_clock_closes_windows_a_minute_later():
    assert closed_until([], NOW) == NOW - 30 - MINUTE


def test_a_replay_of_the_past_does_not_hold_up_the_present_but_alone_it_has_its_own_time():
    past = NOW - 30 - 2 * DAY
    assert closed_until([past, NOW - 30], NOW) == NOW - 30 - MINUTE
    assert closed_until([past, past + 600], NOW) == past - MINUTE


def test_a_clock_that_runs_ahead_closes_nothing_early():
    assert closed_until([NOW + 1_770], NOW) == closed_until([], NOW)


@given(st.lists(st.integers(0, 2_000_000_000)), st.integers(0, 2_000_000_000))
def test_whole_minutes_are_closed_and_never_one_that_a_source_may_still_fill(newest, now):
    until = closed_until(newest, now)
    assert until % MINUTE == 0
    assert until <= now - MINUTE
    present = [start for start in newest if start >= max(newest) - DAY]
    assert all(until <= start - MINUTE for start in present)
