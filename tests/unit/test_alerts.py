"""Alerts on the wire, their ids, and the book of what was told."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.alerts import MAX_ALERT_BYTES, Alert, AlertBook, alert_id, decode, encode, headers
from spendstream.errors import MalformedEvent

AT = 1_770_000_000_000_000
names = st.text(min_size=1, max_size=8)
scopes = st.dictionaries(names, names, max_size=3)


def alert(**changes: object) -> Alert:
    fields: dict[str, object] = {
        "id": alert_id("budget/a", {"team": "search"}, AT, "8000 bp"),
        "kind": "budget_threshold",
        "state": "firing",
        "severity": "warning",
        "rule": "budget/a",
        "scope": {"team": "search"},
        "window": AT,
        "title": "Search: 80% of the budget is spent",
        "summary": "$405.00 of $500.00 spent.",
        "started_at": AT + 5,
        "values": {"spent": 10**30},
    }
    return Alert(**(fields | changes))  # type: ignore[arg-type]


def episode(version: int, state: str, of: str = "x") -> Alert:
    resolved_at = AT + 10 if state == "resolved" else None
    return alert(id=alert_id(of, {}, 0, ""), version=version, state=state, resolved_at=resolved_at)


histories = st.lists(
    st.builds(episode, st.integers(1, 3), st.sampled_from(["firing", "resolved"]), st.sampled_from("xyz")),
    max_size=8,
)


class TestId:
    @given(st.tuples(names, scopes, st.integers(0, 2**60), names))
    def test_is_the_same_for_the_same_thing_in_whatever_order_its_scope_is_written(self, about):
        rule, scope, window, threshold = about
        turned = dict(reversed(scope.items()))
        assert alert_id(rule, scope, window, threshold) == alert_id(rule, turned, window, threshold)

    @given(
        st.sets(st.tuples(names, scopes.map(lambda s: tuple(sorted(s.items()))), st.integers(0, 9), names))
    )
    def test_differs_when_rule_scope_window_or_threshold_does(self, things):
        ids = {alert_id(rule, dict(scope), window, name) for rule, scope, window, name in things}
        assert len(ids) == len(things)

    def test_is_a_valid_uuid_that_stays_what_it_is(self):
        found = alert_id("budget/a", {"team": "search"}, AT, "8000 bp")
        assert (found.version, found.variant) == (8, "specified in RFC 4122")
        assert str(found) == "faa643c4-7f3f-8c97-a0c9-4f31c1060c6b"


class TestWire:
    @given(
        st.dictionaries(names, st.integers(-(10**30), 10**30), max_size=3), st.sampled_from([None, AT + 9])
    )
    def test_round_trip_keeps_every_picodollar(self, values, resolved_at):
        state = "firing" if resolved_at is None else "resolved"
        sent = alert(values=values, state=state, resolved_at=resolved_at)
        assert decode(encode(sent)) == sent

    def test_carries_the_schema_version(self):
        assert msgspec.json.decode(encode(alert()))["v"] == 1

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (None, "empty record"),
            (b"{", "truncated"),
            (b"\xff", "malformed|truncated|invalid"),
            (b'{"v": 2}', "2"),
            (b" " * (MAX_ALERT_BYTES + 1), "at most"),
            (encode(alert()).replace(b"firing", b"burning"), "burning"),
            (encode(alert(started_at=10**18)), r"started_at"),
            (encode(alert(version=0)), r"version"),
        ],
    )
    def test_says_why_it_does_not_decode(self, value, reason):
        with pytest.raises(MalformedEvent, match=reason):
            decode(value)

    def test_firing_and_resolved_are_different_cloud_events(self):
        ids = {
            dict(headers(episode(version, state)))["ce_id"]
            for version in (1, 2)
            for state in ("firing", "resolved")
        }
        assert len(ids) == 4

    def test_the_cloud_event_happened_when_the_alert_became_true(self):
        assert dict(headers(alert()))["ce_time"] == b"2026-02-02T02:40:00.000005+00:00"
        resolved = alert(state="resolved", resolved_at=AT + 7)
        assert dict(headers(resolved))["ce_time"] == b"2026-02-02T02:40:00.000007+00:00"


class TestBook:
    def test_an_alert_found_twice_is_one(self):
        book = AlertBook()
        assert book.apply(alert())
        assert not book.apply(alert())
        assert list(book.open()) == [alert()]

    def test_a_resolved_alert_is_not_open_and_resolves_once(self):
        book = AlertBook([episode(1, "firing")])
        assert book.apply(episode(1, "resolved"))
        assert not book.apply(episode(1, "resolved"))
        assert list(book.open()) == []

    def test_a_late_firing_does_not_reopen_what_was_resolved_but_the_next_episode_does(self):
        book = AlertBook([episode(1, "resolved")])
        assert not book.apply(episode(1, "firing"))
        assert book.apply(episode(2, "firing"))
        assert [found.version for found in book.open()] == [2]

    @given(histories)
    def test_ends_the_same_in_any_order_and_with_repeats(self, history):
        books = [AlertBook(order) for order in (history, history[::-1], history + history)]
        for entry in history:
            newest = max((e for e in history if e.id == entry.id), key=lambda e: (e.version, e.state))
            assert [book.find(entry.id) for book in books] == [newest] * 3

    def test_every_order_of_one_episode_and_the_next_ends_in_the_next(self):
        steps = [episode(1, "firing"), episode(1, "resolved"), episode(2, "firing")]
        for order in permutations(steps):
            assert AlertBook(order).find(steps[0].id) == steps[2]

    def test_tells_the_open_alerts_of_one_rule(self):
        other = alert(id=alert_id("other", {}, AT, ""), rule="other")
        assert list(AlertBook([alert(), other]).open("other")) == [other]

    def test_forgets_old_resolved_alerts_only(self):
        old = alert(state="resolved", resolved_at=AT + 9)
        sliding = alert(id=alert_id("s", {}, 0, ""), window=0, state="resolved", resolved_at=AT + 9)
        still_open = alert(id=alert_id("o", {}, AT, ""))
        book = AlertBook([old, sliding, still_open])
        book.forget(AT + 1)
        assert [book.find(entry.id) for entry in (old, sliding, still_open)] == [None, sliding, still_open]
