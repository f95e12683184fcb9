"""The usage store on ClickHouse: rows in, questions answered, both through plain de-duplicated tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sinks.clickhouse.columns import EVENT_TABLES, event_table, window_table
from sinks.clickhouse.tables import Tables
from spendstream.batches import Batch
from spendstream.config import Secret
from spendstream.errors import RowRejected
from spendstream.ledger import ELSEWHERE, WindowState
from spendstream.queries import pico
from spendstream.store import Recovery, Refusal, Source
from spendstream.windows import MONEY_MEASURES, Dimensions, Measures, Usage, WindowKey

__all__ = ["ClickHouseStore"]

_WINDOWS = "cost_window_state"
# Rows that can be a source's duplicates: a key stays in its partition for one incarnation of the topic.
_MAY_REPEAT = "(src = {src:String} OR NOT endsWith(src, {incarnation:String}))"
_STATE_COLUMNS = ", ".join(
    [
        "window_seconds, toUnixTimestamp(window_start)",
        *Dimensions._fields,
        "ver",
        *(pico(name) if name in MONEY_MEASURES else name for name in Measures._fields),
        "latency",
    ]
)


class ClickHouseStore:
    """A usage store on the ClickHouse at `url`, which may be away when the store is made."""

    def __init__(self, url: Secret) -> None:
        self._tables = Tables(url)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._tables.close()

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
        ids = await self._tables.rows(
            f"""
            SELECT toUInt128(event_id), toUnixTimestamp64Micro(any(event_time)),
                   minIf(src_off, src = {{src:String}}), countIf(src = {{src:String}})
            FROM {table}
            WHERE event_time >= fromUnixTimestamp64Micro({{floor:Int64}}, 'UTC')
              AND {_MAY_REPEAT}
            GROUP BY event_id
            """,
            {"src": source.name, "floor": floor, "incarnation": f"@{source.incarnation}"},
        )
        starts = await self._tables.rows(
            f"SELECT window_seconds, toUnixTimestamp(max(window_start)) FROM {_WINDOWS} "
            "WHERE src = {src:String} GROUP BY window_seconds",
            {"src": source.name},
        )
        return Recovery(
            floor=floor,
            first_positions=[(key, time, off if own else ELSEWHERE) for key, time, off, own in ids],
            newest_stored={size: start for size, start in starts},  # noqa: C416  # rows are sequences
        )

    async def first_positions(self, source: Source, events: Sequence[Usage]) -> Mapping[int, int]:
        """Return the first position of those `events` that are stored, by id; ELSEWHERE in other sources."""
        times = [event.event_time for event in events]
        table = EVENT_TABLES[source.kind]
        there = f"""
            event_time BETWEEN fromUnixTimestamp64Micro({min(times)}, 'UTC')
                           AND fromUnixTimestamp64Micro({max(times)}, 'UTC')
            AND {_MAY_REPEAT}
        """
        parameters = {"src": source.name, "incarnation": f"@{source.incarnation}"}
        # A backlog and the first replay of a recording find nothing there: no need to send all their ids.
        if not (await self._tables.rows(f"SELECT count() FROM {table} WHERE {there}", parameters))[0][0]:
            return {}
        ids = ",".join([f"'{event.id}'" for event in events])
        rows = await self._tables.rows(
            f"""
            SELECT toUInt128(event_id), minIf(src_off, src = {{src:String}}), countIf(src = {{src:String}})
            FROM {table} WHERE {there} AND event_id IN ({ids})
            GROUP BY event_id
            """,
            parameters,
        )
        return {key: off if own else ELSEWHERE for key, off, own in rows}

    async def windows(self, source: Source, keys: Sequence[WindowKey]) -> Sequence[WindowState]:
        """Return the newest state of those windows of `source` that are stored."""
        wanted = set(keys)
        pairs = ",".join(sorted({f"({key.size},{key.start})" for key in keys}))
        rows = await self._tables.rows(
            f"SELECT {_STATE_COLUMNS} FROM {_WINDOWS} FINAL "
            f"WHERE src = {{src:String}} AND (window_seconds, toUnixTimestamp(window_start)) IN ({pairs})",
            {"src": source.name},
        )
        return [state for state in map(_state, rows) if state.key in wanted]

    async def land_events(self, source: Source, batch: Batch) -> Sequence[Refusal]:
        """Store a batch; what ClickHouse refuses is found by halving, so that the rest lands."""
        try:
            await self._tables.insert(EVENT_TABLES[source.kind], event_table(source, batch))
        except RowRejected as error:
            entries = batch.entries
            if len(entries) == 1:
                return [Refusal(entries[0].position, str(error))]
            middle = len(entries) // 2
            first = await self.land_events(source, Batch(entries[:middle]))
            return [*first, *await self.land_events(source, Batch(entries[middle:]))]
        return ()

    async def land_windows(self, source: Source, states: Sequence[WindowState], arrived: int) -> None:
        """Store window states; `arrived` is in milliseconds."""
        await self._tables.insert(_WINDOWS, window_table(source, states, arrived))


def _state(row: Sequence[Any]) -> WindowState:
    size, start, *rest = row
    dims = Dimensions(*rest[: len(Dimensions._fields)])
    version, *measures, latency = rest[len(Dimensions._fields) :]
    return WindowState(WindowKey(size, start, dims), version, Measures(*measures), latency)
