"""A notifier on a real ClickHouse: nothing is lost, nothing said twice, and order kept, whatever fails."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiokafka import ConsumerRecord
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from sinks.clickhouse.alerts import places_said
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.tables import Tables
from sinks.metrics import SinkMetrics
from sinks.notifiers.mail import MailSender
from sinks.notifiers.notifier import Notifier, name_of
from sinks.notifiers.post import PostSender
from sinks.notifiers.sender import Sender
from spendstream import alerts
from spendstream.adapters.probes import Readiness
from spendstream.alerts import Alert
from spendstream.config import Config
from spendstream.notifications import Channel, QuietHours, Route
from spendstream.patience import Waits
from spendstream.secret import Secret
from spendstream.topics import ALERTS
from tests.fixtures.alerting import CHANNELS, MICROS, alert, resolved
from tests.fixtures.receivers import HttpReceiver, http_receiver, mail_receiver

NOW = 1_800_000_000 * MICROS
DAY = 24 * 3600 * MICROS

_HEADLINE = re.compile(r"(Resolved: )?(Search: \d+% of the budget is spent)")


@pytest.fixture(scope="session")
def migrated(clickhouse_url: str) -> Secret:
    url = Secret(clickhouse_url)
    asyncio.run(migrate(url, Config()))
    return url


@pytest.fixture
async def tables(migrated: Secret) -> AsyncIterator[Tables]:
    found = Tables(migrated)
    yield found
    await found.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as running:
        yield running


def unique(channel: Channel, url: str, **changes: Any) -> Channel:
    """Return a channel that nobody has said anything on."""
    return replace(channel, name=f"it-{uuid4().hex[:12]}", url=Secret(url), **changes)


def record(offset: int, value: bytes, at: int = NOW) -> ConsumerRecord[Any, Any]:
    return ConsumerRecord(ALERTS.name, 0, offset, at // 1000, 0, None, value, None, 0, len(value), [])


class Run:
    """A topic, and the notifier of a channel that follows it, whose clock goes as fast as we like."""

    def __init__(
        self, channel: Channel, sender: Sender, tables: Tables, *, routes: Sequence[Route] = ()
    ) -> None:
        self.registry = CollectorRegistry()
        self.now = NOW
        self._metrics = SinkMetrics(self.registry)
        self._readiness = Readiness({}, (), Waits())
        self._new = lambda: Notifier(
            channel, routes, sender, tables, self._metrics, self._readiness, lambda: self.now
        )
        self.channel, self.topic, self.committed = channel, list[bytes](), 0
        self.notifier = self._new()

    @property
    def reasons(self) -> dict[str, str]:
        """Why it is not ready."""
        return dict(self._readiness.reasons())

    def count(self, name: str, **labels: str) -> float:
        labels = {"sink": name_of(self.channel), **labels}
        return self.registry.get_sample_value(f"spendstream_sink_{name}_total", labels) or 0.0

    async def send(self, *states: Alert) -> None:
        """Put alerts on the topic, and hand them to the notifier."""
        first = len(self.topic)
        self.topic += map(alerts.encode, states)
        await self.notifier.take([record(n, self.topic[n], self.now) for n in range(first, len(self.topic))])

    async def restart(self, *, newcomer: bool = False) -> None:
        """Begin anew from what was committed, as after a kill."""
        self.notifier = self._new()
        await self.notifier.begin(newcomer=newcomer)
        await self.notifier.take([record(n, self.topic[n]) for n in range(self.committed, len(self.topic))])

    async def step(self, seconds: float = 1.0) -> None:
        self.now += round(seconds * MICROS)
        await self.notifier.step()
        self.committed = self.notifier.position or self.committed

    async def until_done(self) -> None:
        for _ in range(1_000):
            if self.committed == len(self.topic):
                return
            await self.step()
        pytest.fail(f"stuck at {self.committed} of {len(self.topic)}: {self.reasons}")


def told(kind: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    """Return which alerts a body tells of, and whether they fire."""
    if kind == "webhook":
        return [(each["annotations"]["summary"], each["status"]) for each in body["alerts"]]
    if kind == "pagerduty":
        state = "firing" if body["event_action"] == "trigger" else "resolved"
        return [(body["dedup_key"], state)]
    lines = [block["text"]["text"].partition("\n")[0] for block in body["blocks"] if "text" in block]
    found = [match for line in lines if (match := _HEADLINE.search(line))]
    return [(match[2], "resolved" if match[1] else "firing") for match in found]


def wanted(kind: str, states: Sequence[Alert]) -> list[tuple[str, str]]:
    return [(str(it.id) if kind == "pagerduty" else it.title, it.state) for it in states]


STATES = [
    alert(1), alert(2), alert(3, team="chat"), resolved(1), alert(4), resolved(3, team="chat"),
    alert(1, version=2), alert(5), resolved(2), resolved(1, version=2), alert(6), resolved(6),
]  # fmt: skip
TROUBLE: list[tuple[int, dict[str, str]] | str] = [
    (200, {}), (429, {"retry-after": "30"}), (500, {}), (503, {"retry-after": "2"}), (404, {}),
    "reset", "hang",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["slack", "webhook", "pagerduty"])
async def test_nothing_is_lost_nothing_said_twice_and_order_kept_whatever_the_server_answers(
    kind: str, seed: int, receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    chance = random.Random(seed)
    receiver.answers += [chance.choice(TROUBLE) for _ in range(15)]
    channel = unique(CHANNELS[kind], receiver.url)
    run = Run(channel, PostSender(channel, http, timeout_s=0.3), tables)
    waiting = list(STATES)
    while waiting:
        few = [waiting.pop(0) for _ in range(min(chance.randint(1, 4), len(waiting)))]
        await run.send(*few, *chance.sample(few, chance.randint(0, 1)))  # some twice, as after a crash
        await run.step()
        if chance.random() < 0.4:
            await run.restart()
    await run.until_done()
    found = [each for body in receiver.taken for each in told(kind, body)]
    assert sorted(found) == sorted(wanted(kind, STATES))
    for name in {title for title, _ in found}:
        assert [state for title, state in found if title == name] == [
            state for title, state in wanted(kind, STATES) if title == name
        ]


async def test_mail_is_sent_once_though_its_server_is_ill(tables: Tables) -> None:
    async with mail_receiver() as server:
        server.answers += ["451 later", "hang up", "250 OK", "421 closing"]
        channel = unique(CHANNELS["email"], server.url)
        run = Run(channel, MailSender(channel), tables)
        await run.send(alert(1), alert(2), resolved(1))
        await run.until_done()
        assert [letter["Subject"] for letter in server.taken] == [
            "[warning] 2 alerts for search: budget threshold",
            "[resolved] Resolved: Search: 1% of the budget is spent",
        ]


async def test_a_channel_that_is_away_is_a_reason_not_to_be_ready_until_it_is_back(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["slack"], receiver.url)
    run = Run(channel, PostSender(channel, http), tables)
    receiver.answers.append((503, {}))
    receiver.says = "busy"
    await run.send(alert(1))
    await run.step()
    assert run.reasons == {name_of(channel): f"{channel.name} answers 503: busy"}
    assert run.count("errors", stage="send") == 1
    await run.until_done()
    assert run.reasons == {}
    assert run.count("sent") == 1


async def test_retry_after_is_waited_for(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["slack"], receiver.url)
    run = Run(channel, PostSender(channel, http), tables)
    receiver.answers.append((429, {"retry-after": "30"}))
    await run.send(alert(1))
    await run.step()
    await run.step(29)
    assert (receiver.asked, receiver.taken) == (1, [])
    await run.step(1)
    assert len(receiver.taken) == 1


async def test_of_a_message_that_is_refused_only_what_is_at_fault_is_given_up(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["webhook"], receiver.url)
    run = Run(channel, PostSender(channel, http), tables)
    receiver.answers += [(400, {}), (200, {}), (400, {}), (200, {})]
    await run.send(alert(1), alert(2), alert(3))
    await run.until_done()
    assert [told("webhook", body)[0][0][:9] for body in receiver.taken] == ["Search: 1", "Search: 3"]
    assert run.count("discarded", reason="refused") == 1
    remembered = await places_said(tables, [alert(n).id for n in (1, 2, 3)], channel.name)
    assert set(remembered) == {alert(1).id, alert(3).id}


async def test_a_night_is_kept_over_a_restart_and_told_once_in_the_morning(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    # 08:00 UTC is night in Honolulu, from ten in the evening on
    quiet = QuietHours(start="22:00", end="07:00", time_zone="Pacific/Honolulu")
    channel = unique(CHANNELS["slack"], receiver.url, quiet_hours=quiet)
    run = Run(channel, PostSender(channel, http), tables)
    await run.send(alert(1), alert(2, severity="critical"), resolved(1), alert(3))
    await run.step()
    await run.step()
    assert [told("slack", body) for body in receiver.taken] == [wanted("slack", [alert(2)])]
    await run.restart()
    await run.step()
    assert len(receiver.taken) == 1
    await run.step(9 * 3600)
    assert run.committed == 4
    digest = receiver.taken[1]
    assert digest["text"].startswith("During quiet hours: 2 alerts, 1 of them resolved")
    assert told("slack", digest) == wanted("slack", [resolved(1), alert(3)])


async def test_routes_decide_and_whoever_heard_the_beginning_hears_the_end(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["webhook"], receiver.url)
    routes = [Route(severities=("critical",), channels=("others",)), Route(channels=(channel.name,))]
    run = Run(channel, PostSender(channel, http), tables, routes=routes)
    worse = {"severity": "critical", "version": 2}
    await run.send(alert(1), alert(2, severity="critical"))
    await run.until_done()
    await run.send(alert(1, **worse), resolved(1, **worse), resolved(2, severity="critical"))
    await run.until_done()
    assert [each for body in receiver.taken for each in told("webhook", body)] == wanted(
        "webhook", [alert(1), resolved(1)]
    )


async def test_a_new_channel_is_not_told_what_is_older_than_a_day(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["slack"], receiver.url)
    run = Run(channel, PostSender(channel, http), tables)
    await run.notifier.begin(newcomer=True)
    value = alerts.encode
    await run.notifier.take([
        record(0, value(alert(1)), NOW - DAY - MICROS), record(1, value(alert(2)), NOW - DAY + MICROS),
    ])  # fmt: skip
    run.topic += [b"", b""]
    await run.until_done()
    assert [told("slack", body) for body in receiver.taken] == [wanted("slack", [alert(2)])]


async def test_a_record_that_is_no_alert_is_counted_and_passed_over(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["slack"], receiver.url)
    run = Run(channel, PostSender(channel, http), tables)
    run.topic.append(b"?")
    await run.notifier.take([record(0, b"?")])
    await run.send(alert(1))
    await run.until_done()
    assert run.count("discarded", reason="not an alert") == 1
    assert len(receiver.taken) == 1


async def test_whoever_has_to_go_finishes_what_is_being_said(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["slack"], receiver.url)
    run = Run(channel, PostSender(channel, http), tables)
    await run.send(alert(1), alert(2, team="chat"))
    run.now += MICROS
    saying = asyncio.create_task(run.notifier.step())
    await asyncio.sleep(0)  # it has begun
    await run.notifier.end()
    assert saying.done()
    assert run.notifier.position is None
    assert set(await places_said(tables, [alert(1).id, alert(2).id], channel.name)) == {alert(1).id}


async def test_whoever_is_stopped_notes_down_what_was_taken(
    receiver: HttpReceiver, http: aiohttp.ClientSession, tables: Tables
) -> None:
    channel = unique(CHANNELS["slack"], receiver.url)
    run = Run(channel, PostSender(channel, http), tables)
    await run.send(alert(1))
    run.now += MICROS
    saying = asyncio.create_task(run.notifier.step())
    await receiver.told(1)
    saying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saying
    assert set(await places_said(tables, [alert(1).id], channel.name)) == {alert(1).id}
