"""Finds anomalies as windows close: reads what closed, lets the monitors see it, tells what is new.

It remembers nothing that ClickHouse does not hold. Monitors are stored now and then; the worker that takes
over restores them and feeds what closed since, and finds the same anomalies with the same ids. So publishing
comes first, then the rows, then the monitors: whatever a crash cuts off is found and told again, as the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from msgspec import Struct, field, structs

from spendstream.alerts import Alert
from spendstream.anomalies.anomaly import Reading
from spendstream.anomalies.closing import ACTIVE, closed_until
from spendstream.anomalies.keys import Gathering, Key
from spendstream.anomalies.telling import Telling, alert_of
from spendstream.anomalies.watch import MEMORY, Notice, Snapshot, Watch
from spendstream.windows import DAY, HOUR, WINDOW_SIZES, Dimensions, Measures
from stream_processors.second_opinion import second_opinion
from stream_processors.watcher import Publish

__all__ = ["AnomalyStore", "AnomalyWatcher"]

_log = structlog.get_logger(__name__)

_MICROS = 1_000_000
_STORED_EVERY = 60  # seconds
_AT_ONCE = 16  # snapshots in one insert: of minutes, some ten megabytes
_ROWS_AT_ONCE = 250  # of windows, between two breaths of the event loop
_FIRST_STEP, _FEW_ROWS = 10, 2_000
_ASKED_ABOUT = 500  # windows that a second opinion is formed on
_TOLD_FOR = DAY  # what happened once is then how things are
_REMEMBERED = 3 * DAY  # longer than any window is fed again: windows of a day are closed for up to a day


class AnomalyStore(Protocol):
    """What a watcher asks, and what it leaves; all times are seconds. All methods raise StoreUnavailable."""

    async def newest_minutes(self, since: int) -> Sequence[int]:
        """Return the newest minute of each source, of the windows that changed at or after `since`."""

    async def windows(self, size: int, start: int, end: int) -> Sequence[tuple[int, Dimensions, Measures]]:
        """Return (start, dimensions, measures) of windows that start from `start` until before `end`."""

    def snapshots(self, size: int, seen: int) -> AsyncIterator[Snapshot]:
        """Yield the newest snapshot of each key that was not silent at or after `seen`."""

    async def keep(self, snapshots: Sequence[Snapshot]) -> None:
        """Store snapshots."""

    async def newest(self, since: int) -> Sequence[Telling]:
        """Return the newest notice of each anomaly that is not over, or was not before `since`."""

    async def land(self, tellings: Sequence[Telling]) -> None:
        """Store notices; the same one twice is one."""

    async def close(self) -> None:
        """Let go of connections."""


class _Memory(Struct, kw_only=True):
    """What is forgotten when someone else looks."""

    watches: dict[int, Watch]
    fed: dict[int, int]  # by window size, up to which time
    history: dict[int, int]  # by window size, the time before which nobody was to be told of anything
    book: dict[UUID, Telling]  # the newest notice of what is not over, or was not lately
    unsaid: list[Telling] = field(default_factory=list)
    stored: int = 0


class AnomalyWatcher:
    """Watches every team and every organisation by minute, hour and day."""

    def __init__(
        self,
        store: AnomalyStore,
        publish: Publish,
        ask: Callable[[Sequence[float]], Awaitable[float | None]] = second_opinion,
    ) -> None:
        """Read from `store`; `ask` is asked about spikes that people are to be called for."""
        self._store = store
        self._publish = publish
        self._ask = ask
        self._memory: _Memory | None = None

    def rest(self) -> None:
        """Forget all monitors: someone else looks from now on."""
        self._memory = None

    async def close(self) -> None:
        """Let go of the store's connections. Nothing is stored: what closed since is fed again."""
        await self._store.close()

    async def look(self, now: int) -> Sequence[Alert]:
        """Publish and return what the windows tell that closed since the last look; `now` in microseconds."""
        seconds = now // _MICROS
        until = closed_until(await self._store.newest_minutes(seconds - ACTIVE), seconds)
        if self._memory is None:
            self._memory = await self._remembered(until)
        memory = self._memory
        news = await self._say(memory)
        for size in WINDOW_SIZES:
            news += await self._feed(memory, size, until - until % size)
        if seconds - memory.stored >= _STORED_EVERY:
            await self._keep(memory)
            memory.stored = seconds
        return news

    async def _remembered(self, until: int) -> _Memory:
        watches = {size: await self._restored(size, until - MEMORY[size]) for size in WINDOW_SIZES}
        fed = {size: max(watch.due or 0, _floor(size, until)) for size, watch in watches.items()}
        history = {size: 0 if len(watch) else until for size, watch in watches.items()}
        newest = await self._store.newest(until - _REMEMBERED)
        book = {telling.notice.anomaly.id: telling for telling in newest}
        return _Memory(watches=watches, fed=fed, history=history, book=book)

    async def _restored(self, size: int, seen: int) -> Watch:
        watch = Watch(size)
        async for snapshot in self._store.snapshots(size, seen):
            try:
                watch.restore(snapshot)
            except ValueError as error:  # another version wrote it
                _log.warning("a monitor starts anew", key=snapshot.key.text, why=str(error))
            await asyncio.sleep(0)
        return watch

    async def _feed(self, memory: _Memory, size: int, until: int) -> list[Alert]:
        """Feed all windows of a size that closed before `until`, and publish what they tell."""
        news: list[Alert] = []
        if until < memory.fed[size] and not len(memory.watches[size]):
            # nobody lives in the present: a recording of the past is watched in its own time
            memory.fed[size], memory.history[size] = _floor(size, until), until
        if memory.fed[size] >= until:
            return news
        memory.watches[size].forget(until)
        memory.fed[size] = max(memory.fed[size], _floor(size, until))
        step = _FIRST_STEP
        while (start := memory.fed[size]) < until:
            end = min(start + step * size, until)
            rows = await self._store.windows(size, start, end)
            step = step * 2 if len(rows) < _FEW_ROWS else max(step // 2, 1)
            gathered = await _gathered(rows)
            for at in range(start, end, size):
                await self._see(memory, size, at, gathered[at].readings() if at in gathered else {})
            memory.fed[size] = end
            news += await self._say(memory)
        _end(memory, size, until)
        return news + await self._say(memory)

    async def _see(self, memory: _Memory, size: int, at: int, readings: dict[Key, Reading]) -> None:
        for notices in memory.watches[size].feed(at, readings):
            for notice in notices:
                _note(memory, await self._discussed(memory, notice))
            await asyncio.sleep(0)

    async def _discussed(self, memory: _Memory, notice: Notice) -> Notice:
        """Return a notice with a second opinion, if it is a spike of an hour or a day that calls people."""
        anomaly, size = notice.anomaly, notice.size
        is_new = anomaly.state == "opened" and anomaly.id not in memory.book
        if (
            not is_new
            or size < HOUR
            or anomaly.window < memory.history[size]
            or alert_of(notice, None) is None
        ):
            return notice
        if anomaly.type != "cost_spike":
            return notice
        values = await self._costs(notice)
        asked = structs.replace(anomaly, second_opinion=await self._ask(values))
        return structs.replace(notice, anomaly=asked)

    async def _costs(self, notice: Notice) -> Sequence[float]:
        """Return the key's costs up to the notice's window; a window without any spend is 0."""
        size, end = notice.size, notice.anomaly.window + notice.size
        rows = await self._store.windows(size, max(end - _ASKED_ABOUT * size, 0), end)
        gathered = await _gathered(rows)
        costs = {
            start: found[notice.key].measures.cost
            for start, each in gathered.items()
            if notice.key in (found := each.readings())
        }
        return [float(costs.get(start, 0)) for start in range(min(costs, default=end), end, size)]

    async def _say(self, memory: _Memory) -> list[Alert]:
        """Publish, and then land, what is noted; what fails stays noted, and is said at the next look."""
        news = [telling.alert for telling in memory.unsaid if telling.alert is not None]
        if news:
            await self._publish(news)
        if memory.unsaid:
            await self._store.land(memory.unsaid)
            memory.unsaid = []
        return news

    async def _keep(self, memory: _Memory) -> None:
        for watch in memory.watches.values():
            batch: list[Snapshot] = []
            for snapshot in watch.snapshots():
                batch.append(snapshot)
                if len(batch) == _AT_ONCE:
                    await self._keep_batch(watch, batch)
                    batch = []
                await asyncio.sleep(0)
            if batch:
                await self._keep_batch(watch, batch)

    async def _keep_batch(self, watch: Watch, batch: Sequence[Snapshot]) -> None:
        await self._store.keep(batch)
        watch.stored(batch)


def _floor(size: int, until: int) -> int:
    """Return the first window of a size that is worth reading."""
    floor = until - MEMORY[size]
    return floor + -floor % size


def _note(memory: _Memory, notice: Notice) -> None:
    """Note down what is to be said, unless as much was said of the anomaly before."""
    anomaly = notice.anomaly
    before = memory.book.get(anomaly.id)
    if before is not None and before.notice.anomaly.window >= anomaly.window:
        return
    known = None if before is None else before.alert
    is_history = known is None and anomaly.window < memory.history[notice.size]
    alert = None if is_history else alert_of(notice, known)
    telling = Telling(notice=notice, alert=alert)
    memory.unsaid.append(telling)
    memory.book[anomaly.id] = telling


def _end(memory: _Memory, size: int, until: int) -> None:
    """End what is over though no monitor said so, and close the book on what has been over for long."""
    for telling in [each for each in memory.book.values() if each.notice.size == size]:
        notice, anomaly = telling.notice, telling.notice.anomaly
        if anomaly.state == "resolved":
            if anomaly.window < until - _REMEMBERED:
                del memory.book[anomaly.id]
        elif _is_over(memory.watches[size], notice, until):
            over = structs.replace(anomaly, state="resolved", window=max(until - size, anomaly.window + size))
            _note(memory, structs.replace(notice, anomaly=over))


def _is_over(watch: Watch, notice: Notice, until: int) -> bool:
    """Tell whether a key is forgotten, a monitor knows nothing of an episode, or it was told long ago."""
    if notice.anomaly.state == "told":
        return notice.anomaly.window < until - _TOLD_FOR
    return not watch.goes_on(notice)


async def _gathered(rows: Sequence[tuple[int, Dimensions, Measures]]) -> dict[int, Gathering]:
    """Return what `rows` add up to, by the start of the window."""
    gathered: dict[int, Gathering] = {}
    for place, (start, dimensions, measures) in enumerate(rows):
        if start not in gathered:
            gathered[start] = Gathering(start)
        gathered[start].add(dimensions, measures)
        if place % _ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return gathered
