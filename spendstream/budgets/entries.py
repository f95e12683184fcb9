"""One entry of a budget file: its fields as they were written, checked one by one and together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from msgspec import Struct

from spendstream.budgets import fields
from spendstream.budgets.definition import (
    DEFAULT_THRESHOLDS,
    ENFORCEMENTS,
    ON_BREACH,
    REQUEST_DIMENSIONS,
    Calendar,
    Enforcement,
    OnBreach,
    Rolling,
    Unit,
)
from spendstream.budgets.fields import Amount, Mistakes, Share
from spendstream.budgets.scoped import read_scoped

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
    "enforce": fields.choice(ENFORCEMENTS),
    "on_breach": fields.choice(ON_BREACH),
    "downgrade_to": fields.text,
    "throttle": fields.flag,
    "effective_from": fields.day,
    "effective_until": fields.day,
}
_REQUIRED = ("id", "amount", "period")
_ON_BREACH: Mapping[Enforcement, tuple[OnBreach, ...]] = {
    "none": (),
    "shadow": (),
    "soft": ("allow", "downgrade"),
    "hard": ("reject", "downgrade"),
}
"""What may happen on a breach."""


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
    enforce: Enforcement = "none"
    on_breach: OnBreach | None = None
    downgrade_to: str = ""
    throttle: bool = False
    effective_from: date | None = None
    effective_until: date | None = None

    @property
    def cycle(self) -> Calendar | Rolling:
        """The period as a budget has it."""
        if isinstance(self.period, int):
            return Rolling(length=self.period, time_zone=self.time_zone)
        return Calendar(unit=self.period, time_zone=self.time_zone, week_start=self.week_start)

    @property
    def breach(self) -> OnBreach:
        """What happens on a breach, said or not."""
        if self.on_breach is None:
            return "reject" if self.enforce == "hard" else "allow"
        return self.on_breach


def read_entry(raw: Mapping[str, Any], mistakes: Mistakes) -> Entry | None:
    """Return the entry, or None after noting down each of its mistakes."""
    before = len(mistakes.found)
    values = read_scoped(raw, _PARSERS, _REQUIRED, mistakes)
    _check_together(values, mistakes)
    return Entry(**values) if len(mistakes.found) == before else None


def _check_together(values: Mapping[str, Any], mistakes: Mistakes) -> None:
    period = values.get("period", "week")
    if "week_start" in values and period != "week":
        mistakes.add("week_start", "only a period of a week has one")
    if isinstance(period, int) and values.get("roll_over", Share(0)) != Share(0):
        mistakes.add("roll_over", "a rolling period has no end to carry anything over")
    roll_over = values.get("roll_over")
    if isinstance(roll_over, Amount) and roll_over.currency != values.get("amount", roll_over).currency:
        mistakes.add("roll_over", f"expected the currency of the amount, found {roll_over.currency}")
    _check_enforcement(values, mistakes)
    start, end = values.get("effective_from"), values.get("effective_until")
    if start is not None and end is not None and end <= start:
        mistakes.add("effective_until", f"{end} is not after effective_from, {start}")


def _check_enforcement(values: Mapping[str, Any], mistakes: Mistakes) -> None:
    enforce: Enforcement = values.get("enforce", "none")
    on_breach = values.get("on_breach")
    if on_breach is not None and on_breach not in _ON_BREACH[enforce]:
        known = " or ".join(_ON_BREACH[enforce]) or "none"
        mistakes.add("on_breach", f"with enforce: {enforce}, expected {known}, found {on_breach}")
    if (on_breach == "downgrade") != ("downgrade_to" in values):
        mistakes.add("downgrade_to", "on_breach: downgrade and the model to downgrade to need each other")
    if values.get("throttle") and enforce == "none":
        mistakes.add("throttle", "needs enforce: shadow, soft or hard")
    if enforce == "none" and "key_id" in values["scope"]:
        mistakes.add("scope.key_id", "spend by key has no alerts: needs enforce: shadow, soft or hard")
    if "key_id" in values["scope"] and values.get("roll_over", Share(0)) != Share(0):
        mistakes.add("roll_over", "the budget of a key carries nothing over")
    for name in values["scope"]:
        if enforce != "none" and name not in REQUEST_DIMENSIONS:
            mistakes.add(f"scope.{name}", f"no request has one, so enforce: {enforce} cannot be")
