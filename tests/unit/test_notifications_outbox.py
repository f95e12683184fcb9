"""An outbox tells all, once, in order and together, and holds back what can wait until the morning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import accumulate, chain, repeat
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from spendstream.alerts import Alert
from spendstream.clock import to_micros
from spendstream.notifications import Channel, Message, Outbox, QuietHours
from spendstream.notifications.outbox import place
from tests.fixtures.alerting import CHANNELS, MICROS, alert, resolved

SLACK = CHANNELS["slack"]
SLEEPER = replace(SLACK, quiet_hours=QuietHours(start="22:00", end="07:00"))
EVENING = to_micros(datetime(2026, 1, 15, 21, tzinfo=UTC))
NIGHT = EVENING + 3 * 3600 * MICROS
MORNING = EVENING + 10 * 3600 * MICROS


def outbox(channel: Channel = SLACK, leads_here: Callable[[Alert], bool] = lambda _: True) -> Outbox:
    return Outbox(channel, leads_here)


def filled(box: Outbox, alerts: Iterable[Alert], at: int = 0, first: int = 0, said: int = 0) -> Outbox:
    for offset, each in enumerate(alerts, first):
        box.add(offset, each, at=at, said=said)
    return box


def all_said(box: Outbox, now: int) -> list[Message]:
    """Say everything that can be said from `now` on, a second apart."""
    messages = []
    while (message := box.due(now)) is not None:
        box.said(message, now)
        messages.append(message)
        now += MICROS
    return messages


def numbers(messages: Iterable[Message]) -> list[list[int]]:
    return [[each.id.int for each in message.alerts] for message in messages]


def test_alerts_of_a_team_and_a_kind_are_told_together_and_others_apart() -> None:
    box = filled(outbox(), [alert(1), alert(2, team="chat"), alert(3), alert(4, kind="anomaly")])
    assert numbers(all_said(box, MICROS)) == [[1, 3], [2], [4]]


def test_it_waits_half_a_second_for_more_to_come() -> None:
    box = filled(outbox(), [alert(1)], at=100)
    assert box.due(100 + MICROS // 2 - 1) is None
    assert box.due(100 + MICROS // 2) == Message(alerts=(alert(1),))


def test_messages_are_a_second_apart() -> None:
    box = filled(outbox(), [alert(1), alert(2, team="chat")])
    message = box.due(MICROS)
    assert message is not None
    box.said(message, MICROS)
    assert box.due(2 * MICROS - 1) is None
    assert box.due(2 * MICROS) is not None


def test_what_comes_while_the_channel_is_away_joins_the_message() -> None:
    box = filled(outbox(), [alert(1)])
    assert box.due(MICROS) is not None
    box.put_off(MICROS, 60 * MICROS)
    filled(box, [alert(2)], at=2 * MICROS, first=1)
    assert box.due(61 * MICROS - 1) is None
    assert numbers(all_said(box, 61 * MICROS)) == [[1, 2]]


def test_who_is_put_off_for_no_time_waits_a_second() -> None:
    box = filled(outbox(), [alert(1)])
    box.put_off(MICROS, 0)
    assert box.due(2 * MICROS - 1) is None


def test_an_alert_and_its_end_are_two_messages() -> None:
    box = filled(outbox(), [alert(1), alert(2), resolved(1), alert(3)])
    assert [[(a.id.int, a.state) for a in it.alerts] for it in all_said(box, MICROS)] == [
        [(1, "firing"), (2, "firing")],
        [(1, "resolved"), (3, "firing")],
    ]


def test_an_event_for_pagerduty_has_one_alert() -> None:
    box = filled(outbox(CHANNELS["pagerduty"]), [alert(1), alert(2)])
    assert numbers(all_said(box, MICROS)) == [[1], [2]]


def test_many_are_told_in_several_messages() -> None:
    box = filled(outbox(), [alert(number) for number in range(45)])
    assert [len(message.alerts) for message in all_said(box, MICROS)] == [20, 20, 5]


def test_what_was_said_or_is_waiting_already_is_not_said_again() -> None:
    box = filled(outbox(), [alert(1), alert(1)])
    assert numbers(all_said(box, MICROS)) == [[1]]
    filled(box, [alert(1), resolved(1)], first=2, said=place(resolved(1)))
    assert box.due(9 * MICROS) is None
    assert box.position == 4


def test_whoever_said_that_it_fires_says_its_end_wherever_routes_lead_by_then() -> None:
    def nowhere(_: Alert) -> bool:
        return False

    told = filled(outbox(SLACK, nowhere), [resolved(1)], said=place(alert(1)))
    assert numbers(all_said(told, MICROS)) == [[1]]
    over = filled(outbox(SLACK, nowhere), [resolved(1, version=2)], said=place(resolved(1)))
    assert over.due(MICROS) is None
    never = filled(outbox(SLACK, nowhere), [alert(1), resolved(1)])
    assert never.due(MICROS) is None


def test_it_reads_on_from_the_oldest_that_was_not_said() -> None:
    box = outbox()
    assert box.position is None
    filled(box, [alert(1), alert(2, team="chat"), alert(3)], first=7)
    assert box.position == 7
    message = box.due(MICROS)
    assert message is not None
    box.said(message, MICROS)
    assert box.position == 8
    all_said(box, 2 * MICROS)
    box.skip(10)
    assert box.position == 11


def test_it_is_full_after_ten_thousand() -> None:
    box = filled(outbox(), [alert(number) for number in range(9_999)])
    assert not box.full
    assert filled(box, [alert(9_999)], first=9_999).full


def test_when_a_message_is_refused_each_of_its_alerts_is_said_by_itself() -> None:
    box = filled(outbox(), [alert(1), alert(2), resolved(1)])
    message = box.due(MICROS)
    assert message is not None
    assert not box.refused(message, MICROS)
    assert numbers(all_said(box, 3 * MICROS)) == [[1], [2], [1]]


def test_one_that_is_refused_by_itself_is_given_up() -> None:
    box = filled(outbox(), [alert(1)])
    message = box.due(MICROS)
    assert message is not None
    assert box.refused(message, MICROS)
    assert box.due(3 * MICROS) is None
    assert box.position == 1


def test_quiet_hours_hold_back_what_is_not_critical_and_tell_it_in_the_morning() -> None:
    box = filled(outbox(SLEEPER), [alert(1), alert(2, severity="critical"), alert(3, team="chat")], at=NIGHT)
    assert numbers(all_said(box, NIGHT + MICROS)) == [[2]]
    assert box.position == 0
    assert box.due(MORNING - 1) is None
    assert box.due(MORNING) == Message(alerts=(alert(1), alert(3, team="chat")), digest=True)


def test_a_digest_tells_the_newest_state_of_each() -> None:
    night = [alert(1), alert(2), resolved(1), alert(1, version=2), resolved(1, version=2)]
    box = filled(outbox(SLEEPER), night, at=NIGHT)
    [digest] = all_said(box, MORNING)
    assert digest.alerts == (resolved(1, version=2), alert(2))
    assert box.position == 5


def test_what_comes_after_the_night_is_no_part_of_the_digest() -> None:
    box = filled(outbox(SLEEPER), [alert(1)], at=NIGHT)
    filled(box, [alert(2)], at=MORNING, first=1)
    assert [(m.digest, len(m.alerts)) for m in all_said(box, MORNING + MICROS)] == [(True, 1), (False, 1)]


def test_no_older_state_is_said_after_one_that_overtook_it() -> None:
    worse = alert(1, version=3, severity="critical")
    box = filled(outbox(SLEEPER), [alert(1), worse], at=NIGHT)
    [urgent] = all_said(box, NIGHT + MICROS)
    assert urgent.alerts == (worse,)
    assert box.due(MORNING) is None
    assert box.position == 2


states = st.builds(
    lambda number, version, over, severity, team: (resolved if over else alert)(
        number, version=version, severity=severity, team=team
    ),
    st.integers(1, 4), st.integers(1, 3), st.booleans(), st.sampled_from(["warning", "critical"]),
    st.sampled_from(["search", "chat"]),
)  # fmt: skip


class OneChannel:
    """A channel with all that can go wrong: what it was told, and what is remembered of that."""

    def __init__(self, channel: Channel, topic: list[Alert]) -> None:
        self.channel = channel
        self.topic = topic
        self.told: list[Alert] = []
        self.refused: set[UUID] = set()
        self._remembered: dict[UUID, int] = {}
        self._committed = 0
        self.read_on()

    @property
    def done(self) -> bool:
        return self._committed == len(self.topic)

    def read_on(self) -> None:
        self._box = outbox(self.channel)
        for offset in range(self._committed, len(self.topic)):
            each = self.topic[offset]
            self._box.add(offset, each, at=NIGHT, said=self._remembered.get(each.id, 0))

    def step(self, now: int, luck: str) -> None:
        message = self._box.due(now)
        if message is None:
            pass
        elif luck == "away":
            self._box.put_off(now, MICROS)
        elif luck == "refused":
            if self._box.refused(message, now):
                self.refused.update(each.id for each in message.alerts)
        else:
            self._take(message, now, luck)
        self._committed = max(self._committed, self._box.position or 0)

    def _take(self, message: Message, now: int, luck: str) -> None:
        self.told += message.alerts
        self._remembered |= {each.id: place(each) for each in message.alerts}
        if luck == "taken":
            self._box.said(message, now)
        else:  # what was said is remembered, and the rest is read again
            self.read_on()


@given(
    st.lists(states, min_size=1, max_size=15),
    st.lists(st.sampled_from(["taken", "away", "refused", "crash"]), max_size=30),
    st.sampled_from([SLACK, SLEEPER, CHANNELS["pagerduty"]]),
)
def test_whatever_fails_the_newest_states_are_said_once_each_and_never_an_older_one_later(
    topic: list[Alert], lucks: list[str], channel: Channel
) -> None:
    run = OneChannel(channel, topic)
    for step, luck in enumerate(chain(lucks, repeat("taken"))):
        if run.done:
            break
        run.step(NIGHT + step * 10_000 * MICROS, luck)
    for number in {each.id for each in topic}:
        places = [place(each) for each in run.told if each.id == number]
        assert places == sorted(set(places))
        news = sorted({place(each) for each in topic if each.id == number})
        if number not in run.refused:
            assert places[-1] == news[-1]


@given(st.lists(states, max_size=15))
def test_every_state_that_is_news_is_said(topic: list[Alert]) -> None:
    told = [each for message in all_said(filled(outbox(), topic), MICROS) for each in message.alerts]
    for number in {each.id for each in topic}:
        news = list(accumulate((place(each) for each in topic if each.id == number), max))
        assert [place(each) for each in told if each.id == number] == sorted(set(news))
