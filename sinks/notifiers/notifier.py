"""A notifier: says on one channel what its outbox holds, and remembers what was said.

Each channel reads the topic in a consumer group of its own, so that one that is away holds up no other. A
record is committed once all that it led to was said; what was said is remembered in ClickHouse, so that a
notifier that starts again does not repeat itself. Only a crash between the two repeats a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from sinks.alerts import alert_in
from sinks.clickhouse.alerts import places_said, remember_said
from sinks.clickhouse.tables import Tables
from sinks.metrics import SinkMetrics
from sinks.notifiers.sender import Sender
from sinks.reading import Record, follow
from spendstream.adapters.probes import Readiness
from spendstream.alerts import Alert
from spendstream.clock import now_micros
from spendstream.errors import TerminalError, TransientError
from spendstream.notifications import Channel, Message, Outbox, Route, leads_to
from spendstream.topics import ALERTS

__all__ = ["Notifier", "name_of"]

_log = structlog.get_logger(__name__)

_SECOND = 1_000_000
_OLD = 24 * 3600 * _SECOND
_GOODBYE_S = 5.0  # what was taken and is not noted down is said again


def name_of(channel: Channel) -> str:
    """Return what probes and metrics call the notifier of a channel."""
    return f"channel {channel.name}"


class Notifier:
    """Says on one channel each state of each alert that the routes lead there, once and in order."""

    def __init__(
        self,
        channel: Channel,
        routes: Sequence[Route],
        sender: Sender,
        tables: Tables,
        metrics: SinkMetrics,
        readiness: Readiness,
        clock: Callable[[], int] = now_micros,
    ) -> None:
        self._channel = channel
        self._sender = sender
        self._tables = tables
        self._metrics = metrics.of(name_of(channel))
        self._readiness = readiness
        self._clock = clock
        self._outbox = Outbox(channel, lambda alert: leads_to(routes, alert, channel))
        self._since = 0
        self._at_work = asyncio.Lock()

    @property
    def position(self) -> int | None:
        """The offset of the first record that is not done with."""
        return self._outbox.position

    @property
    def full(self) -> bool:
        """Whether there is enough to say already."""
        return self._outbox.full

    async def run(self, servers: str) -> None:
        """Notify until cancelled; wait for a channel that is away."""
        group = f"spendstream-channel-{self._channel.name}"
        await follow(servers, ALERTS, group, self, self._metrics, self._readiness)

    async def begin(self, *, newcomer: bool) -> None:
        """Begin, from the committed record on; a new channel is not told of what is older than a day."""
        self._outbox.clear()
        self._since = self._clock() - _OLD if newcomer else 0

    async def take(self, records: Sequence[Record]) -> None:
        """Take in records, but for what was said already."""
        if not records:
            return
        async with self._at_work:
            self._metrics.received(len(records))
            found = [(record, self._new_alert_in(record)) for record in records]
            ids = {alert.id for _, alert in found if alert is not None}
            ask = partial(places_said, self._tables, ids, self._channel.name)
            said = await self._metrics.patiently("ask what was said on", ask) if ids else {}
            for record, alert in found:
                if alert is None:
                    self._outbox.skip(record.offset)
                else:
                    at = min(record.timestamp * 1000, self._clock())  # else the broker's clock delays it
                    self._outbox.add(record.offset, alert, at=at, said=said.get(alert.id, 0))

    async def step(self) -> None:
        """Say what is due, if anything is; when cancelled, finish that first."""
        async with self._at_work:
            message = self._outbox.due(self._clock())
            if message is not None:
                saying = asyncio.create_task(self._say(message))
                try:
                    await asyncio.shield(saying)
                except asyncio.CancelledError:
                    await asyncio.wait([saying], timeout=_GOODBYE_S)
                    saying.cancel()
                    raise

    async def end(self) -> None:
        """Finish what is being said, and forget the rest."""
        async with self._at_work:
            self._outbox.clear()

    def _new_alert_in(self, record: Record) -> Alert | None:
        return alert_in(record, self._metrics) if record.timestamp * 1000 >= self._since else None

    async def _say(self, message: Message) -> None:
        try:
            with self._metrics.flushing():
                await self._sender.send(message)
        except TransientError as error:
            self._metrics.failed("send")
            self._readiness.missing(self._metrics.name, str(error))
            _log.warning("waiting", channel=self._channel.name, why=str(error), seconds=error.retry_after)
            self._outbox.put_off(self._clock(), round(error.retry_after * _SECOND))
        except TerminalError as error:
            self._refused(message, str(error))
        else:
            remember = partial(remember_said, self._tables, message.alerts, self._channel.name)
            await self._metrics.patiently("remember what was said on", remember)
            self._outbox.said(message, self._clock())
            self._metrics.sent(len(message.alerts))
            self._readiness.there(self._metrics.name)

    def _refused(self, message: Message, why: str) -> None:
        if self._outbox.refused(message, self._clock()):
            self._metrics.discarded("refused")
            titles = [alert.title for alert in message.alerts]
            _log.error("cannot say it", channel=self._channel.name, alerts=titles, why=why)
        self._readiness.there(self._metrics.name)
