"""The usage store on ClickHouse: rows in, questions answered, both through plain de-duplicated tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import pyarrow as pa

from sinks.clickhouse.columns import (
    EVENT_TABLES,
    WINDOWS_OF,
    WindowShape,
    event_table,
    late_table,
    repricing_table,
    shape_of,
    window_table,
)
from sinks.clickhouse.container_days import ContainerShape
from sinks.clickhouse.repricings import places
from sinks.clickhouse.tables import Tables
from spendstream.adapters.clickhouse import DATABASE
from spendstream.batches import Batch
from spendstream.config import Secret
from spendstream.errors import RowRejected
from spendstream.ledger import ELSEWHERE, WindowState
from spendstream.repricing import astray
from spendstream.store import LateEvent, Recovery, Refusal, Source
from spendstream.windows import Usage, WindowKey

__all__ = ["ClickHouseStore"]

T = TypeVar("T")

_LATE = "late_usage_raw"
# By its full name, since rows with more columns do not go together with those of originals.
_REPRICED = f"{DATABASE}.{EVENT_TABLES['tokens']}"


class _Delivered(NamedTuple):
    """The columns of an event table that say what was delivered, from where, and at which position."""

    id: str
    src: str
    position: str

    @property
    def may_repeat(self) -> str:
        """Rows that can be a source's duplicates: as long as a topic lives, a key stays in its partition."""
        here, elsewhere = f"{self.src} = {{src:String}}", f"NOT endsWith({self.src}, {{incarnation:String}})"
        return f"isNotNull({self.id}) AND ({here} OR {elsewhere})"

    @property
    def first(self) -> str:
        """An id, its first position in the source, and how many it has there."""
        here = f"{self.src} = {{src:String}}"
        return f"toUInt128(assumeNotNull({self.id})), minIf({self.position}, {here}), countIf({here})"


_ORIGINAL = _Delivered("event_id", "src", "src_off")
_REPRICING = _Delivered("repriced_by", "repriced_src", "repriced_off")
_DELIVERED = {"tokens": (_ORIGINAL, _REPRICING), "pods": (_ORIGINAL,), "nodes": (_ORIGINAL,)}


class ClickHouseStore:
    """A usage store on the ClickHouse at `url`, which may be away when the store is made."""

    def __init__(self, url: Secret) -> None:
        self._tables = Tables(url)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._tables.close()

    async def ping(self) -> None:
        """Return when ClickHouse answers."""
        await self._tables.rows("SELECT 1")

    async def recover(self, source: Source, horizon: int) -> Recovery:
        """Return what `source` left, with ids of `horizon` microseconds before the newest stored event."""
        table = EVENT_TABLES[source.kind]
        newest = await self._tables.rows(
            f"SELECT count(), toUnixTimestamp64Micro(max(event_time)) FROM {table}"
        )
        rows, micros = newest[0]
        if not rows:
            return Recovery()
        floor = micros - horizon
        ids = [
            row
            for delivered in _DELIVERED[source.kind]
            for row in await self._tables.rows(
                f"""
                SELECT {delivered.first}, toUnixTimestamp64Micro(any(event_time))
                FROM {table}
                WHERE event_time >= fromUnixTimestamp64Micro({{floor:Int64}}, 'UTC')
                  AND {delivered.may_repeat}
                GROUP BY {delivered.id}
                """,
                {"src": source.name, "floor": floor, "incarnation": f"@{source.incarnation}"},
            )
        ]
        tables = " UNION ALL ".join([
            f"SELECT window_seconds, window_start FROM {shape.table} WHERE src = {{src:String}}"
            for shape in WINDOWS_OF[source.kind]
        ])  # fmt: skip
        starts = await self._tables.rows(
            "SELECT window_seconds, toUnixTimestamp(max(window_start)) "
            f"FROM ({tables}) GROUP BY window_seconds",
            {"src": source.name},
        )
        return Recovery(
            floor=floor,
            first_positions=[(key, time, off if own else ELSEWHERE) for key, off, own, time in ids],
            newest_stored={size: start for size, start in starts},  # noqa: C416  # rows are sequences
        )

    async def newest_time(self, source: Source, before: int) -> int | None:
        """Return the newest event time stored for `source` at a position below `before`; None if none is."""
        for there in (_newest_day(WINDOWS_OF[source.kind][0]), "true"):
            [(rows, newest)] = await self._tables.rows(
                f"SELECT count(), toUnixTimestamp64Micro(max(event_time)) FROM {EVENT_TABLES[source.kind]} "
                f"WHERE src = {{src:String}} AND src_off < {{before:UInt64}} AND {there}",
                {"src": source.name, "before": before},
            )
            if rows:
                return int(newest)
        return None

    async def first_positions(self, source: Source, events: Sequence[Usage]) -> Mapping[int, int]:
        """Return the first position of those `events` that are stored, by id; ELSEWHERE in other sources."""
        repricings = [event for event in events if getattr(event, "reprices", None) is not None]
        if not repricings:
            return await self._first_positions(source, events, _ORIGINAL)
        found = dict(await self._first_positions(source, repricings, _REPRICING))
        originals = [event for event in events if getattr(event, "reprices", None) is None]
        if originals:
            found |= await self._first_positions(source, originals, _ORIGINAL)
        return found

    async def _first_positions(
        self, source: Source, events: Sequence[Usage], delivered: _Delivered
    ) -> Mapping[int, int]:
        times = [event.event_time for event in events]
        table = EVENT_TABLES[source.kind]
        there = f"""
            event_time BETWEEN fromUnixTimestamp64Micro({min(times)}, 'UTC')
                           AND fromUnixTimestamp64Micro({max(times)}, 'UTC')
            AND {delivered.may_repeat}
        """
        parameters = {"src": source.name, "incarnation": f"@{source.incarnation}"}
        # A backlog and the first replay of a recording find nothing there: no need to send all their ids.
        if not (await self._tables.rows(f"SELECT count() FROM {table} WHERE {there}", parameters))[0][0]:
            return {}
        ids = ",".join([f"'{event.id}'" for event in events])
        rows = await self._tables.rows(
            f"SELECT {delivered.first} FROM {table} "
            f"WHERE {there} AND {delivered.id} IN ({ids}) GROUP BY {delivered.id}",
            parameters,
        )
        return {key: off if own else ELSEWHERE for key, off, own in rows}

    async def windows(self, source: Source, keys: Sequence[WindowKey]) -> Sequence[WindowState]:
        """Return the newest state of those windows of `source` that are stored."""
        found: list[WindowState] = []
        for shape, some in _by_shape(keys, lambda key: key):
            wanted = set(some)
            pairs = ",".join(sorted({f"({key.size},{key.start})" for key in some}))
            rows = await self._tables.rows(
                f"SELECT {shape.state} FROM {shape.table} FINAL WHERE src = {{src:String}} "
                f"AND (window_seconds, toUnixTimestamp(window_start)) IN ({pairs})",
                {"src": source.name},
            )
            found += [state for state in map(shape.read, rows) if state.key in wanted]
        return found

    async def land_events(self, source: Source, batch: Batch) -> Sequence[Refusal]:
        """Store a batch, repricings last: their originals may be in it."""
        events, repricings = batch.parted()
        table = EVENT_TABLES[source.kind]
        refused = await self._land(table, events, partial(event_table, source)) if events else ()
        return (*refused, *await self._land_repricings(source, repricings)) if repricings else refused

    async def _land_repricings(self, source: Source, batch: Batch) -> Sequence[Refusal]:
        known = await places(self._tables, batch)
        refused = astray(batch, known)
        bad = {refusal.position for refusal in refused}
        good = Batch([entry for entry in batch.entries if entry.position not in bad])
        if not good:
            return refused
        rows = partial(repricing_table, source, places=known)
        return (*refused, *await self._land(_REPRICED, good, rows))

    async def _land(self, table: str, batch: Batch, rows: Callable[[Batch], pa.Table]) -> Sequence[Refusal]:
        """Insert a batch; what ClickHouse refuses is found by halving, so that the rest lands."""
        try:
            await self._tables.insert(table, rows(batch))
        except RowRejected as error:
            entries = batch.entries
            if len(entries) == 1:
                return [Refusal(entries[0].position, str(error))]
            middle = len(entries) // 2
            first = await self._land(table, Batch(entries[:middle]), rows)
            return [*first, *await self._land(table, Batch(entries[middle:]), rows)]
        return ()

    async def land_windows(self, source: Source, states: Sequence[WindowState], arrived: int) -> None:
        """Store window states; `arrived` is in milliseconds."""
        for shape, some in _by_shape(states, lambda state: state.key):
            await self._tables.insert(shape.table, window_table(source, some, arrived))

    async def land_late(self, source: Source, late: Sequence[LateEvent]) -> None:
        """Store which events came too late."""
        await self._tables.insert(_LATE, late_table(source, late))


def _newest_day(shape: WindowShape | ContainerShape) -> str:
    """Return where a source's newest event is nearly always: its newest day, a partition or two."""
    return (
        f"event_time >= (SELECT toStartOfDay(max(window_start)) FROM {shape.table} "
        f"WHERE src = {{src:String}} AND window_seconds = {shape.widest})"
    )


_Shape = WindowShape | ContainerShape


def _by_shape(items: Iterable[T], key: Callable[[T], WindowKey]) -> Iterable[tuple[_Shape, list[T]]]:
    found: dict[str, tuple[_Shape, list[T]]] = {}
    for item in items:
        shape = shape_of(key(item))
        found.setdefault(shape.table, (shape, []))[1].append(item)
    return found.values()
