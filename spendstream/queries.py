"""SQL as values: the questions that more than one part of Spendstream asks.

Money leaves ClickHouse as integer picodollars, since a driver may turn a decimal into a float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["RECONCILE", "miscounted", "pico", "whole"]


def pico(column: str) -> str:
    """Return the SQL of a money column (or an expression) as integer picodollars."""
    return whole(column, 12)


def whole(column: str, decimals: int) -> str:
    """Return the SQL of a decimal column as the whole number that it is without its point.

    The detour over 256 bits is for sums beyond 10^14 dollars, which would silently wrap around in 128.
    """
    return f"toInt128(toDecimal256({column}, {decimals}) * {10**decimals})"


RECONCILE = f"""
SELECT 'rows' AS what, count() AS events, {pico("sum(cost)")} AS cost
FROM (SELECT cost FROM token_usage UNION ALL SELECT cost FROM pod_usage)
UNION ALL
SELECT toString(window_seconds), sum(events), {pico("sum(cost)")}
FROM cost_window GROUP BY window_seconds
"""
"""Distinct events and their cost, as stored and as counted by the windows of each size."""


def miscounted(answer: Sequence[Sequence[object]]) -> Mapping[str, tuple[object, object]]:
    """Return (events, cost) of each window size that differs from the rows, out of RECONCILE's answer."""
    counts = {str(what): (events, cost or 0) for what, events, cost in answer}
    rows = counts.pop("rows")
    return {size: found for size, found in counts.items() if found != rows}
