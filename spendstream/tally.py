"""What a batch of events adds to each window it touches: grouped by minute in C, and wider from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spendstream import latency
from spendstream.allocation.tally import allocated
from spendstream.arrow import values
from spendstream.batches import MONEY, Batch
from spendstream.events import PodUsage, TokenUsage
from spendstream.rightsizing.tally import used
from spendstream.windows import (
    HOUR,
    MONEY_MEASURES,
    WINDOW_SIZES,
    Added,
    Dimensions,
    Entry,
    Measures,
    WindowKey,
    windows_of,
)

__all__ = ["after", "tally"]

_DIMENSIONS = {
    "tokens": ("org", "team", "project", "environment", "provider", "model"),
    "pods": ("org", "team", "project", "environment", "cluster", "namespace"),
}
_HTTP_ERROR = 400
_ALL = pc.ScalarAggregateOptions(min_count=0)  # the sum of nothing is 0
_REPRICED = frozenset({"unpriced", "cost", "list_cost"})  # all that a repricing changes
_ADDED_UP = [*[(name, "sum", _ALL) for name in Measures._fields], ("first", "min"), ("last", "max")]


def tally(batch: Batch) -> dict[WindowKey, Added]:
    """Return what `batch` adds, by every window of every size that it touches."""
    if not batch:
        return {}
    kind = type(batch.events[0])
    if kind is TokenUsage:
        return _costs(batch, "tokens")
    hours = allocated(batch)
    return {**_costs(batch, "pods"), **hours, **used(batch)} if kind is PodUsage else hours


def _costs(batch: Batch, kind: str) -> dict[WindowKey, Added]:
    names = ["start", *_DIMENSIONS[kind]]
    rows = calls = _rows(batch, kind)
    if kind == "tokens" and (repricing := pc.is_valid(batch.columns["reprices"])).true_count:
        calls, rows = rows.filter(pc.invert(repricing)), _repriced(rows, repricing)
    waits = _latencies(calls, kind) if kind == "tokens" else {}
    added: dict[WindowKey, Added] = {}
    for size in WINDOW_SIZES:
        rows = _aligned(rows, size).group_by(names, use_threads=False).aggregate(_ADDED_UP)
        rows = rows.rename_columns([*names, *Measures._fields, "first", "last"])
        added |= _by_window(rows, kind, size, waits)
    return added


def after(batch: Batch, counted: Mapping[WindowKey, int]) -> dict[WindowKey, Added]:
    """Return what the events after the position that each of these windows has `counted` add to it."""
    left: dict[WindowKey, list[Entry]] = {}
    for entry in batch.entries:
        for key in windows_of(entry.event):
            if entry.position > counted.get(key, entry.position):
                left.setdefault(key, []).append(entry)
    tallies: dict[tuple[int, ...], Mapping[WindowKey, Added]] = {}  # windows of the same events share one
    rest: dict[WindowKey, Added] = {}
    for key, entries in left.items():
        positions = tuple([entry.position for entry in entries])
        if (tallied := tallies.get(positions)) is None:
            tallied = tallies[positions] = tally(Batch(entries))
        rest[key] = tallied[key]
    return rest


def _rows(batch: Batch, kind: str) -> pa.Table:
    """Return one row for each event, with all that is grouped by and added up."""
    columns = batch.columns
    ones = pa.repeat(pa.scalar(1, pa.uint64()), len(batch))
    rows = {
        "start": pc.divide(columns["event_time"].cast(pa.int64()), pa.scalar(1_000_000)),
        **{name: columns[name] for name in _DIMENSIONS[kind]},
        **(_of_tokens(columns) if kind == "tokens" else {"list_cost": columns["cost"]}),
        "events": ones,
        "unpriced": pc.is_null(columns["cost"]).cast(pa.int64()),
        "cost": columns["cost"],
        "first": batch.positions,
        "last": batch.positions,
    }
    nothing = {
        name: pa.repeat(pa.scalar(0, MONEY if name in MONEY_MEASURES else pa.uint64()), len(batch))
        for name in Measures._fields
        if name not in rows
    }
    return pa.table({**nothing, **rows})


def _repriced(rows: pa.Table, repricing: pa.Array) -> pa.Table:
    """Return rows in which a repricing adds a cost to a call that is counted already, as one without."""
    for place, name in enumerate(rows.column_names):
        if name in Measures._fields and name not in _REPRICED:
            nothing = pa.scalar(0, rows[name].type)
            rows = rows.set_column(place, name, pc.if_else(repricing, nothing, rows[name]))
    fewer = pc.if_else(repricing, pa.scalar(-1, pa.int64()), rows["unpriced"])
    return rows.set_column(rows.column_names.index("unpriced"), "unpriced", fewer)


def _of_tokens(columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    hit = pc.not_equal(columns["cache_outcome"], "none")
    tokens = pc.add(columns["input_tokens"], columns["output_tokens"])
    return {
        **{name: columns[name] for name in Measures._fields if name in columns},
        "errors": _whole(pc.greater_equal(columns["status"], pa.scalar(_HTTP_ERROR, pa.uint16()))),
        "cache_hits": _whole(hit),
        "cache_hit_tokens": pc.multiply(tokens, _whole(hit)),
        "duration": columns["duration"],
    }


def _whole(flags: pa.Array) -> pa.Array:
    return flags.cast(pa.uint64())


def _aligned(rows: pa.Table, size: int) -> pa.Table:
    starts = pc.multiply(pc.divide(rows["start"], pa.scalar(size)), pa.scalar(size))
    return rows.set_column(rows.column_names.index("start"), "start", starts)


def _latencies(rows: pa.Table, kind: str) -> dict[tuple[Any, ...], dict[int, int]]:
    """Return how many durations are in each bucket, by hour and dimensions."""
    names = ["start", *_DIMENSIONS[kind]]
    waits = rows.select(names).append_column("bucket", latency.buckets(rows["duration"].combine_chunks()))
    grouped = _aligned(waits, HOUR).group_by(names, use_threads=False).aggregate([("bucket", "list")])
    keys = zip(*[values(grouped[name]) for name in names], strict=True)
    counts = [np.unique(each, return_counts=True) for each in values(grouped["bucket_list"])]
    return {
        key: dict(zip(found.tolist(), times.tolist(), strict=True))
        for key, (found, times) in zip(keys, counts, strict=True)
    }


def _by_window(
    rows: pa.Table, kind: str, size: int, waits: Mapping[tuple[Any, ...], Mapping[int, int]]
) -> dict[WindowKey, Added]:
    names = ["start", *_DIMENSIONS[kind]]
    keys = zip(*[values(rows[name]) for name in names], strict=True)
    measures = zip(*[values(rows[name]) for name in Measures._fields], strict=True)
    bounds = zip(values(rows["first"]), values(rows["last"]), strict=True)
    return {
        _key(kind, size, key): Added(first, last, Measures(*sums), waits.get(key, {}) if size == HOUR else {})
        for key, (first, last), sums in zip(keys, bounds, measures, strict=True)
    }


def _key(kind: str, size: int, key: tuple[Any, ...]) -> WindowKey:
    start, org, team, project, environment, one, two = key
    places = (one, two, "", "") if kind == "tokens" else ("", "", one, two)
    return WindowKey(size, start, Dimensions(kind, org, team, project, environment, *places))
