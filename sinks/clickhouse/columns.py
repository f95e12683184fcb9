"""Batches and windows as Arrow tables in the shape of ClickHouse's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

import pyarrow as pa

from spendstream.batches import MONEY, Batch
from spendstream.ledger import WindowState
from spendstream.store import LateEvent, Source
from spendstream.windows import MONEY_MEASURES, Dimensions, Measures

__all__ = ["COLUMN_OF", "EVENT_TABLES", "event_table", "late_table", "repricing_table", "window_table"]

EVENT_TABLES = {"tokens": "token_usage_raw", "pods": "pod_usage_raw", "nodes": "node_usage_raw"}

_DOLLARS = pa.decimal128(38, 12)
_SECONDS = pa.timestamp("s", tz="UTC")
_MILLIS = pa.timestamp("ms", tz="UTC")
_MICROS = pa.timestamp("us", tz="UTC")
_TEXT, _UINT64, _UINT32 = pa.string(), pa.uint64(), pa.uint32()
_BUCKETS = pa.map_(pa.uint16(), pa.uint64())

COLUMN_OF = {
    "id": "event_id",
    "source": "event_source",
    "duration": "duration_us",
    "time_to_first_token": "time_to_first_token_us",
}
"""Columns that are not called as the event's field."""


def event_table(source: Source, batch: Batch) -> pa.Table:
    """Return a batch of at least one event as rows of its raw table."""
    table = {
        COLUMN_OF.get(name, name): _with_point(column) if column.type == MONEY else column
        for name, column in batch.columns.items()
        if name != "reprices"
    }
    table["src"] = _repeated(source.name, len(batch))
    table["src_off"] = batch.positions
    table["arrived_at"] = pa.array([entry.arrived // 1000 for entry in batch.entries], _SECONDS)
    return pa.table(table)


def repricing_table(source: Source, batch: Batch, places: Mapping[int, tuple[str, int]]) -> pa.Table:
    """Return repricings, at least one, as the rows that replace those of the originals.

    `places` says where each original came from (the name of its source, its position there), by the position
    of the repricing: when the original is delivered again, it is known by that.
    """
    table = event_table(source, batch)
    originals = [places[entry.position] for entry in batch.entries]
    moved = {
        "repriced_by": table["event_id"],
        "repriced_src": table["src"],
        "repriced_off": table["src_off"],
        "event_id": batch.columns["reprices"],
        "src": pa.array([src for src, _ in originals], _TEXT),
        "src_off": pa.array([position for _, position in originals], _UINT64),
    }
    return pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **moved})


def window_table(source: Source, states: Sequence[WindowState], arrived: int) -> pa.Table:
    """Return window states, at least one, as rows of `cost_window_state`; `arrived` in milliseconds."""
    keys = [state.key for state in states]
    table = {
        "window_seconds": pa.array([key.size for key in keys], _UINT32),
        "window_start": pa.array([key.start for key in keys], _SECONDS),
        "src": _repeated(source.name, len(states)),
        "ver": pa.array([state.version for state in states], _UINT64),
        "latency": pa.array([list(state.latency.items()) for state in states], _BUCKETS),
        "arrived_at": _repeated_time(arrived // 1000, len(states)),
    }
    for name, cells in zip(Dimensions._fields, zip(*[k.dimensions for k in keys], strict=True), strict=True):
        table[name] = pa.array(cells, _TEXT)
    measures = zip(*[state.measures for state in states], strict=True)
    for name, cells in zip(Measures._fields, measures, strict=True):
        if name in MONEY_MEASURES:
            table[name] = _with_point(pa.array(cells, MONEY))
        else:  # repricings of what another source has counted leave fewer unpriced events than none
            table[name] = pa.array(cells, pa.int64() if name == "unpriced" else _UINT64)
    return pa.table(table)


def late_table(source: Source, late: Sequence[LateEvent]) -> pa.Table:
    """Return events that came too late, at least one, as rows of `late_usage_raw`."""
    events = Batch([each.entry for each in late])
    named = "model" if source.kind == "tokens" else "namespace"
    names = {name: events.columns[name] for name in ("event_time", "team", named)}
    return pa.table(
        {
            **names,
            "event_id": events.columns["id"],
            "cost": _with_point(events.columns["cost"]),
            "kind": _repeated(source.kind, len(late)),
            "src": _repeated(source.name, len(late)),
            "src_off": events.positions,
            "watermark": pa.array(map(attrgetter("watermark"), late), _MICROS),
            "late_seconds": pa.array([each.lateness / 1_000_000 for each in late], pa.float64()),
            "arrived_at": pa.array([each.entry.arrived for each in late], _MILLIS),
        }
    )


def _with_point(whole: pa.Array) -> pa.Array:
    """Return picodollars as dollars: the same integers, with another point. No rounding, no float."""
    return pa.Array.from_buffers(_DOLLARS, len(whole), whole.buffers(), whole.null_count, whole.offset)


def _repeated(text: str, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, _TEXT), times)


def _repeated_time(seconds: int, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(seconds, _SECONDS), times)
