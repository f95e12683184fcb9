"""How budgets stand, as an Arrow table in the shape of ClickHouse's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from spendstream.budgets import Standing
from spendstream.money import dollars

__all__ = ["standing_table"]

_DOLLARS = pa.decimal128(38, 12)
_MICROS = pa.timestamp("us", tz="UTC")
_SCOPE = pa.map_(pa.string(), pa.string())


def standing_table(standings: Sequence[Standing]) -> pa.Table:
    """Return standings, at least one, as rows of `budget_standing_raw`."""
    budgets = [budget for budget, _ in standings]
    seen = [each for _, each in standings]
    projections = [each.projection for each in seen]
    exhaustions = [each.exhaustion for each in seen]
    return pa.table(
        {
            "budget": [budget.id for budget in budgets],
            "version": pa.array([budget.version for budget in budgets], pa.uint32()),
            "name": [budget.name for budget in budgets],
            "owner": [budget.owner for budget in budgets],
            "scope": pa.array([list(budget.scope.items()) for budget in budgets], _SCOPE),
            "at": _moments(each.at for each in seen),
            "period_start": _moments(each.period.start for each in seen),
            "period_end": _moments(each.period.end for each in seen),
            "allowed": _money(each.limit for each in seen),
            "carried": _money(each.carried for each in seen),
            "spent": _money(each.spent for each in seen),
            "remaining": _money(each.left for each in seen),
            "velocity": _money(each.velocity for each in seen),
            "expected": _money(each.expected for each in projections),
            "low": _money(each.low for each in projections),
            "high": _money(each.high for each in projections),
            "breach": pa.array([each.breach for each in projections], pa.float64()),
            "exhausted_at": _moments(each.expected for each in exhaustions),
            "exhausted_earliest": _moments(each.earliest for each in exhaustions),
            "exhausted_latest": _moments(each.latest for each in exhaustions),
        }
    )


def _money(amounts: Iterable[int | None]) -> pa.Array:
    return pa.array([None if pico is None else dollars(pico) for pico in amounts], _DOLLARS)


def _moments(micros: Iterable[int | None]) -> pa.Array:
    return pa.array(list(micros), _MICROS)
