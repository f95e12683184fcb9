"""From the entries of one budget to its versions: a new one at each change of the entry and of the rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from spendstream.budgets.currencies import Rates, pico
from spendstream.budgets.definition import FULL, Budget
from spendstream.budgets.entries import Entry
from spendstream.budgets.fields import Amount, Mistakes
from spendstream.clock import to_micros

__all__ = ["versions"]

_EVER = date(1970, 1, 1)


def versions(entries: Sequence[tuple[Entry, Mistakes]], rates: Rates) -> list[Budget]:
    """Return the versions of one budget, oldest first; note down entries that overlap or lack a rate."""
    ordered = sorted(entries, key=lambda pair: pair[0].effective_from or _EVER)
    closed = []
    for (entry, _), (following, mistakes) in pairwise(ordered):
        closed.append(_until(entry, following, mistakes))
    if ordered:
        closed.append(ordered[-1][0])
    pieces = [
        piece
        for entry, (_, mistakes) in zip(closed, ordered, strict=True)
        for piece in _pieces(entry, rates, mistakes)
    ]
    return [replace(piece, version=number) for number, piece in enumerate(pieces, 1)]


def _until(entry: Entry, following: Entry, mistakes: Mistakes) -> Entry:
    """Return `entry` as it ends where the `following` one begins."""
    start = following.effective_from or _EVER
    if start == (entry.effective_from or _EVER):
        mistakes.add(
            "effective_from", f"another budget with the id {entry.id} starts then: give each its own"
        )
    elif entry.effective_until is not None and entry.effective_until > start:
        mistakes.add("effective_from", f"the version before it holds until {entry.effective_until}")
    else:
        return replace(entry, effective_until=entry.effective_until or start)
    return entry


def _pieces(entry: Entry, rates: Rates, mistakes: Mistakes) -> Iterator[Budget]:
    """Yield the budget that an entry makes for each rate of its currency."""
    if entry.amount.currency == "USD":
        yield _budget(entry, Decimal(1), entry.effective_from, entry.effective_until)
        return
    dated = rates.get(entry.amount.currency)
    if not dated:
        mistakes.add("amount", f"there is no rate for {entry.amount.currency} in currency_rates")
        return
    if entry.effective_from is not None and entry.effective_from < dated[0][0]:
        mistakes.add("effective_from", f"the first rate for {entry.amount.currency} is of {dated[0][0]}")
        return
    ends = [*(day for day, _ in dated[1:]), None]
    for (day, rate), end in zip(dated, ends, strict=True):
        start = max(day, entry.effective_from or day)
        stop = min(filter(None, (end, entry.effective_until)), default=None)
        if stop is None or start < stop:
            yield _budget(entry, rate, start, stop)


def _budget(entry: Entry, rate: Decimal, start: date | None, end: date | None) -> Budget:
    zone = ZoneInfo(entry.time_zone)
    amount = pico(entry.amount, rate)
    return Budget(
        id=entry.id,
        name=entry.name or entry.id,
        amount=amount,
        period=entry.cycle,
        scope=dict(entry.scope),
        owner=entry.owner or entry.scope.get("team", ""),
        roll_over=(
            pico(entry.roll_over, rate)
            if isinstance(entry.roll_over, Amount)
            else amount * entry.roll_over.points // FULL
        ),
        thresholds=entry.thresholds,
        burn_rate=entry.burn_rate,
        forecast=entry.forecast,
        enforce=entry.enforce,
        on_breach=entry.breach,
        downgrade_to=entry.downgrade_to,
        throttle=entry.throttle,
        effective_from=0 if start is None else _midnight(start, zone),
        effective_until=None if end is None else _midnight(end, zone),
    )


def _midnight(day: date, zone: ZoneInfo) -> int:
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=zone))
