"""Batches and windows as Arrow tables in the shape of ClickHouse's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa

from sinks.clickhouse.container_days import ContainerShape
from spendstream.allocation.windows import DECIMALS, AllocationDimensions, AllocationMeasures
from spendstream.batches import MONEY, Batch
from spendstream.ledger import WindowState
from spendstream.queries import whole
from spendstream.rightsizing.days import Container
from spendstream.store import LateEvent, Source
from spendstream.windows import DAY, HOUR, MONEY_MEASURES, Dimensions, Measures, WindowKey

__all__ = [
    "COLUMN_OF",
    "EVENT_TABLES",
    "WINDOWS_OF",
    "WindowShape",
    "event_table",
    "late_table",
    "repricing_table",
    "shape_of",
    "window_table",
]

EVENT_TABLES = {"tokens": "token_usage_raw", "pods": "pod_usage_raw", "nodes": "node_usage_raw"}

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


class WindowShape(NamedTuple):
    """One kind of windows: its table, what is in keys and states, the points of measures, the widest size."""

    table: str
    dimensions: type[Dimensions | AllocationDimensions]
    measures: type[Measures | AllocationMeasures]
    decimals: Mapping[str, int]
    widest: int
    counts_latency: bool = False

    @property
    def state(self) -> str:
        """The columns of a state, in SQL."""
        measures = [
            whole(name, self.decimals[name]) if name in self.decimals else name
            for name in self.measures._fields
        ]
        latency = "latency" if self.counts_latency else "map()"
        return ", ".join(
            [
                "window_seconds, toUnixTimestamp(window_start)",
                *self.dimensions._fields,
                "ver",
                *measures,
                latency,
            ]
        )

    def read(self, row: Sequence[Any]) -> WindowState:
        """Return a row of `state`."""
        size, start, *rest = row
        middle = len(self.dimensions._fields)
        version, *measures, latency = rest[middle:]
        key = WindowKey(size, start, self.dimensions(*rest[:middle]))
        return WindowState(key, version, self.measures(*measures), latency)


_COSTS = WindowShape(
    "cost_window_state", Dimensions, Measures, dict.fromkeys(MONEY_MEASURES, 12), DAY, counts_latency=True
)
_ALLOCATION = WindowShape("allocation_window_state", AllocationDimensions, AllocationMeasures, DECIMALS, HOUR)
_CONTAINERS = ContainerShape()

WINDOWS_OF: Mapping[str, Sequence[WindowShape | ContainerShape]] = {
    "tokens": (_COSTS,),
    "pods": (_COSTS, _ALLOCATION, _CONTAINERS),
    "nodes": (_ALLOCATION,),
}
"""The windows that each kind of events is counted in."""


def shape_of(key: WindowKey) -> WindowShape | ContainerShape:
    """Return the kind of windows that a key is of."""
    if isinstance(key.dimensions, Container):
        return _CONTAINERS
    return _COSTS if isinstance(key.dimensions, Dimensions) else _ALLOCATION


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
    """Return states of windows of one kind, at least one, as rows of their table.

    `arrived` is in milliseconds.
    """
    keys = [state.key for state in states]
    shape = shape_of(keys[0])
    table = {
        "window_seconds": pa.array([key.size for key in keys], _UINT32),
        "window_start": pa.array([key.start for key in keys], _SECONDS),
        "src": _repeated(source.name, len(states)),
        "ver": pa.array([state.version for state in states], _UINT64),
        "arrived_at": _repeated_time(arrived // 1000, len(states)),
    }
    dimensions = zip(*[key.dimensions for key in keys], strict=True)
    for name, cells in zip(keys[0].dimensions._fields, dimensions, strict=True):
        table[name] = pa.array(cells, _TEXT)
    held = shape.columns(states) if isinstance(shape, ContainerShape) else _sums(shape, states)
    return pa.table({**table, **held})


def _sums(shape: WindowShape, states: Sequence[WindowState]) -> dict[str, pa.Array]:
    table = {}
    if shape.counts_latency:
        table["latency"] = pa.array([list(state.latency.items()) for state in states], _BUCKETS)
    measures = zip(*[state.measures for state in states], strict=True)
    for name, cells in zip(shape.measures._fields, measures, strict=True):
        if name in shape.decimals:
            table[name] = _with_point(pa.array(cells, MONEY), shape.decimals[name])
        else:  # repricings of what another source has counted leave fewer unpriced events than none
            table[name] = pa.array(cells, pa.int64() if name == "unpriced" else _UINT64)
    return table


def late_table(source: Source, late: Sequence[LateEvent]) -> pa.Table:
    """Return events that came too late, at least one, as rows of `late_usage_raw`."""
    events = Batch([each.entry for each in late])
    names = ("event_time", "team", "model", "namespace")
    return pa.table(
        {
            **{name: events.columns[name] for name in names if name in events.columns},
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


def _with_point(whole: pa.Array, decimals: int = 12) -> pa.Array:
    """Return picodollars as dollars: the same integers, with another point. No rounding, no float."""
    kind = pa.decimal128(38, decimals)
    return pa.Array.from_buffers(kind, len(whole), whole.buffers(), whole.null_count, whole.offset)


def _repeated(text: str, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, _TEXT), times)


def _repeated_time(seconds: int, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(seconds, _SECONDS), times)
