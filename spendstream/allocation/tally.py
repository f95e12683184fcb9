"""What a batch of samples adds to each hour of allocation: grouped in C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spendstream.allocation.windows import AllocationDimensions, AllocationMeasures
from spendstream.arrow import products, values
from spendstream.batches import MONEY, Batch
from spendstream.events import HOUR_MICROS, PodUsage
from spendstream.windows import HOUR, Added, WindowKey

__all__ = ["allocated"]

_ALL = pc.ScalarAggregateOptions(min_count=0)  # the sum of nothing is 0
_NAMES = ["start", *AllocationDimensions._fields]
_ADDED_UP = [
    *[(name, "sum", _ALL) for name in AllocationMeasures._fields],
    ("first", "min"),
    ("last", "max"),
]
_PARTS = ("cpu_cost", "memory_cost", "gpu_cost", "storage_cost", "network_cost")
_AMOUNTS = {
    f"{resource}_{measure}": f"{resource}_{field}"
    for resource in ("cpu", "memory", "gpu")
    for measure, field in (("capacity", "capacity"), ("requested", "request"), ("used", "usage"))
}


def allocated(batch: Batch) -> dict[WindowKey, Added]:
    """Return what a batch of samples, at least one, adds to each hour that it touches."""
    rows = _rows(batch).group_by(_NAMES, use_threads=False).aggregate(_ADDED_UP)
    rows = rows.rename_columns([*_NAMES, *AllocationMeasures._fields, "first", "last"])
    starts, *dimensions = [values(rows[name]) for name in _NAMES]
    sums = zip(*[values(rows[name]) for name in AllocationMeasures._fields], strict=True)
    bounds = zip(values(rows["first"]), values(rows["last"]), strict=True)
    return {
        WindowKey(HOUR, start, AllocationDimensions(*key)): Added(first, last, AllocationMeasures(*measures))
        for start, key, measures, (first, last) in zip(
            starts, zip(*dimensions, strict=True), sums, bounds, strict=True
        )
    }


def _rows(batch: Batch) -> pa.Table:
    """Return one row for each sample, with all that is grouped by and added up."""
    columns = batch.columns
    size = len(batch)
    times = columns["event_time"].cast(pa.int64())
    is_container = isinstance(batch.events[0], PodUsage)
    hours = pc.divide(times, pa.scalar(HOUR_MICROS))
    lasted = pc.subtract(columns["end_time"].cast(pa.int64()), times).to_numpy().view(np.uint64)
    nothing = pa.repeat(pa.scalar(0, MONEY), size)
    none = pa.repeat(pa.scalar("", pa.string()), size)
    costs = {name: columns.get(name, nothing) for name in _PARTS}
    return pa.table(
        {
            "start": pc.multiply(hours, pa.scalar(HOUR)),
            "kind": pa.repeat(pa.scalar("container"), size) if is_container else columns["asset"],
            **{name: columns.get(name, none) for name in AllocationDimensions._fields[1:]},
            "events": pa.repeat(pa.scalar(1, pa.int64()), size),
            "unpriced": pc.is_null(columns["cost"]).cast(pa.int64()),
            **costs,
            "other_cost": _other(columns["cost"], [columns[name] for name in _PARTS if name in columns]),
            **{
                name: products(columns[field].to_numpy(), lasted) if field in columns else nothing
                for name, field in _AMOUNTS.items()
            },
            "first": batch.positions,
            "last": batch.positions,
        }
    )


def _other(cost: pa.Array, parts: Sequence[pa.Array]) -> pa.Array:
    """Return the cost of samples that have none by resource."""
    return pc.if_else(pc.is_null(pc.coalesce(*parts)), cost, pa.scalar(0, MONEY))
