"""Asking for the slices of a bill: SQL as a value, and its answer as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spendstream.allocation.sharing import Sharing, Slice
from spendstream.allocation.windows import DECIMALS, AllocationDimensions, AllocationMeasures
from spendstream.clock import from_micros
from spendstream.queries import whole

__all__ = ["slices_by", "slices_of"]

_SHARED = "if(line = 'workload' AND namespace IN {shared:Array(String)}, 'shared', line)"


def slices_by(
    names: Sequence[str], *, since: int, until: int, sharing: Sharing
) -> tuple[str, Mapping[str, Any]]:
    """Return the query, and its parameters, for the slices by `names` of the hours in [since, until).

    Names are those of AllocationDimensions, such as "team" or "namespace"; times are microseconds, and full
    hours. Raises ValueError for another name. `slices_of` reads the answer.
    """
    unknown = [name for name in names if name not in AllocationDimensions._fields[1:]]
    if unknown or not names:
        known = ", ".join(AllocationDimensions._fields[1:])
        raise ValueError(f"slices are by one or several of {known}; found {unknown or 'none'}")
    sums = [_summed(name) for name in AllocationMeasures._fields]
    sql = (
        f"SELECT cluster, {_SHARED} AS kind_of_line, {', '.join(names)}, {', '.join(sums)} FROM allocation "
        "WHERE hour >= {since:DateTime('UTC')} AND hour < {until:DateTime('UTC')} "
        f"GROUP BY cluster, kind_of_line, {', '.join(names)} "
        f"ORDER BY cluster, kind_of_line, {', '.join(names)}"
    )
    times = {"since": from_micros(since), "until": from_micros(until)}
    return sql, {**times, "shared": list(sharing.namespaces)}


def slices_of(rows: Sequence[Sequence[Any]]) -> list[Slice]:
    """Return the answer to a query of `slices_by`."""
    width = len(AllocationMeasures._fields)
    return [
        Slice(
            cluster=row[0],
            line=row[1],
            name=tuple(row[2:-width]),
            measures=AllocationMeasures(*row[-width:]),
        )
        for row in rows
    ]


def _summed(name: str) -> str:
    return whole(f"sum({name})", DECIMALS[name]) if name in DECIMALS else f"sum({name})"
