"""One entry of a budget file: its fields as they were written, checked one by one and together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from msgspec import Struct

from spendstream.budgets import fields
from spendstream.budgets.definition import DEFAULT_THRESHOLDS, Calendar, Rolling, Unit
from spendstream.budgets.fields import Amount, Mistakes, Share, unknown

__all__ = ["Entry", "read_entry"]

_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "id": fields.identifier,
    "name": fields.text,
    "owner": fields.text,
    "amount": fields.amount,
    "period": fields.period,
    "time_zone": fields.time_zone,
    "week_start": fields.weekday,
    "roll_over": fields.roll_over,
    "thresholds": fields.thresholds,
    "burn_rate": fields.flag,
    "forecast": fields.flag,
    "effective_from": fields.day,
    "effective_until": fields.day,
}
_REQUIRED = ("id", "amount", "period")


class Entry(Struct, frozen=True, kw_only=True):
    """A budget as it was written: money in its currency, dates without a zone."""

    id: str
    amount: Amount
    period: Unit | int
    name: str = ""
    owner: str = ""
    scope: Mapping[str, str] = {}
    time_zone: str = "UTC"
    week_start: int = 0
    roll_over: Amount | Share = Share(0)
    thresholds: tuple[int, ...] = DEFAULT_THRESHOLDS
    burn_rate: bool = True
    forecast: bool = True
    effective_from: date | None = None
    effective_until: date | None = None

    @property
    def cycle(self) -> Calendar | Rolling:
        """The period as a budget has it."""
        if isinstance(self.period, int):
            return Rolling(length=self.period, time_zone=self.time_zone)
        return Calendar(unit=self.period, time_zone=self.time_zone, week_start=self.week_start)


def read_entry(raw: Mapping[str, Any], mistakes: Mistakes) -> Entry | None:
    """Return the entry, or None after noting down each of its mistakes."""
    before = len(mistakes.found)
    values: dict[str, Any] = {"scope": _scope(raw.get("scope", {}), mistakes)}
    for name, value in raw.items():
        if name == "scope":
            continue
        if name not in _PARSERS:
            mistakes.add(str(name), unknown("field", name, (*_PARSERS, "scope")))
            continue
        try:
            values[name] = _PARSERS[name](value)
        except ValueError as error:
            mistakes.add(name, error)
    for name in _REQUIRED:
        if name not in raw:
            mistakes.add(name, "is missing")
    _check_together(values, mistakes)
    return Entry(**values) if len(mistakes.found) == before else None


def _scope(raw: Any, mistakes: Mistakes) -> Mapping[str, str]:
    if not isinstance(raw, Mapping):
        mistakes.add("scope", f"expected dimensions and their values, like team: search, found {raw!r}")
        return {}
    scope = {}
    for name, value in raw.items():
        try:
            scope[name] = fields.scope_value(name, value)
        except ValueError as error:
            mistakes.add(f"scope.{name}", error)
    return scope


def _check_together(values: Mapping[str, Any], mistakes: Mistakes) -> None:
    period = values.get("period", "week")
    if "week_start" in values and period != "week":
        mistakes.add("week_start", "only a period of a week has one")
    if isinstance(period, int) and values.get("roll_over", Share(0)) != Share(0):
        mistakes.add("roll_over", "a rolling period has no end to carry anything over")
    roll_over = values.get("roll_over")
    if isinstance(roll_over, Amount) and roll_over.currency != values.get("amount", roll_over).currency:
        mistakes.add("roll_over", f"expected the currency of the amount, found {roll_over.currency}")
    start, end = values.get("effective_from"), values.get("effective_until")
    if start is not None and end is not None and end <= start:
        mistakes.add("effective_until", f"{end} is not after effective_from, {start}")
