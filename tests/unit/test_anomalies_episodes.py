"""Many unusual windows are one episode: opened once, resolved once, with the money it cost."""

from hypothesis import given
from hypothesis import strategies as st

from spendstream.anomalies.detector import CRITICAL, HIGH, WARN, Score
from spendstream.anomalies.episode import EpisodeTracker, severity_of


def score(severity, *, fresh=True):
    return Score(severity=severity, expected=100.0, low=50.0, high=150.0, fresh=fresh)


def tell(tracker, *windows):
    """Feed (severity, value) of one window after another; return the notices."""
    found = [
        tracker.update(score(severity), value, at, int(value) - 100, "cost")
        for at, (severity, value) in enumerate(windows)
    ]
    return [notice for notice in found if notice]


CALM = (0.1, 100.0)


def test_severities_have_names():
    assert [severity_of(value) for value in (WARN, HIGH - 0.1, HIGH, CRITICAL)] == [
        "warn",
        "warn",
        "high",
        "critical",
    ]


def test_an_episode_is_told_when_it_opens_and_when_it_is_over():
    opened, resolved = tell(
        EpisodeTracker(hold=2), CALM, (4, 200.0), (3.5, 190.0), (0, 160.0), CALM, CALM, CALM
    )
    assert (opened.state, opened.start, opened.impact, opened.severity) == ("opened", 1, 100, "warn")
    assert (resolved.state, resolved.start, resolved.end) == ("resolved", 1, 3)
    assert resolved.impact == 100 + 90 + 60
    assert (resolved.peak, resolved.value, resolved.expected) == (4, 200.0, 100.0)


def test_a_short_calm_does_not_end_an_episode_and_its_money_counts():
    notices = tell(EpisodeTracker(hold=3), (4, 200.0), (0, 110.0), (0, 110.0), (4, 200.0), CALM, CALM, CALM)
    assert [notice.state for notice in notices] == ["opened", "resolved"]
    assert notices[-1].impact == 100 + 10 + 10 + 100


def test_an_episode_that_worsens_is_told_again_under_the_same_start():
    notices = tell(
        EpisodeTracker(), (4, 200.0), (4.5, 210.0), (6, 300.0), (5.5, 290.0), (9, 900.0), (9, 900.0)
    )
    assert [(notice.state, notice.severity) for notice in notices] == [
        ("opened", "warn"),
        ("worsened", "high"),
        ("worsened", "critical"),
    ]
    assert {notice.start for notice in notices} == {0}


def test_what_stays_for_long_is_how_things_are():
    notices = tell(EpisodeTracker(longest=5), (4, 200.0), *[(0.5, 200.0)] * 4)
    assert [notice.state for notice in notices] == ["opened", "resolved"]


def test_a_score_in_a_cooldown_opens_nothing():
    assert EpisodeTracker().update(score(9, fresh=False), 900.0, 0, 800, "cost") is None


@given(
    windows=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**20)), max_size=60), cut=st.integers(0, 60)
)
def test_notices_alternate_and_a_snapshot_changes_nothing(windows, cut):
    whole, first, second = EpisodeTracker(), EpisodeTracker(), EpisodeTracker()

    def feed(tracker, part, start):
        return [
            tracker.update(score(severity), float(value), at, value - 100, "cost")
            for at, (severity, value) in enumerate(part, start)
        ]

    notices = feed(whole, windows, 0)
    before = feed(first, windows[:cut], 0)
    second.restore(first.snapshot())
    assert before + feed(second, windows[cut:], min(cut, len(windows))) == notices
    states = [notice.state for notice in notices if notice and notice.state != "worsened"]
    assert states == ["opened", "resolved"] * (len(states) // 2) + ["opened"] * (len(states) % 2)
