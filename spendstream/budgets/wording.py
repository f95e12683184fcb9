"""What budget alerts say, in plain English."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from spendstream.budgets.assessment import Assessment
from spendstream.budgets.burn import Burning
from spendstream.budgets.definition import FULL, Budget, Rolling
from spendstream.budgets.periods import MINUTE
from spendstream.clock import from_micros
from spendstream.money import PICO, format_usd

__all__ = ["burn_words", "forecast_words", "standing", "threshold_words"]

_HOUR = 60 * MINUTE
_DAY = 24 * _HOUR
_SMALL = 10 * PICO  # in a budget below ten dollars, cents are too coarse
_ALMOST_SURE = 99  # percent; nothing about the future is surer


def threshold_words(budget: Budget, seen: Assessment, threshold: int) -> tuple[str, str]:
    """Return title and summary of a threshold that was reached."""
    words = [standing(budget, seen)]
    if seen.left > 0:
        words += [_end(budget, seen), _exhaustion(budget, seen)]
    return f"{budget.name}: {_percent(threshold)} of the budget is spent", _joined(words)


def burn_words(budget: Budget, seen: Assessment, burning: Burning) -> tuple[str, str]:
    """Return title and summary of a tier that burns."""
    tier = burning.tier
    rates = (
        f"Over the last {_length(tier.long)} spend ran at {float(burning.long):.1f} times the even pace, "
        f"over the last {_length(tier.short)} at {float(burning.short):.1f} times."
    )
    title = f"{budget.name}: spending {float(burning.long):.1f} times too fast"
    return title, _joined([rates, standing(budget, seen), _exhaustion(budget, seen)])


def forecast_words(budget: Budget, seen: Assessment) -> tuple[str, str]:
    """Return title and summary of a forecast that the limit will be exceeded."""
    percent = min(round(100 * (seen.projection.breach or 0)), _ALMOST_SURE)
    chance = f"The limit will be exceeded with a probability of {percent}%."
    words = [chance, _end(budget, seen), standing(budget, seen), _exhaustion(budget, seen)]
    return f"{budget.name}: the budget will probably be exceeded", _joined(words)


def standing(budget: Budget, seen: Assessment) -> str:
    """Return what is spent of the limit, and what is left."""
    extra = f", {_usd(seen.carried, seen)} of it carried over" if seen.carried else ""
    left = f"{_usd(seen.left, seen)} left" if seen.left >= 0 else f"{_usd(-seen.left, seen)} over"
    spent = f"{_usd(seen.spent, seen)} of {_usd(seen.limit, seen)} spent {_when(budget)}"
    return f"{spent} ({_percent(seen.share)}{extra}), {left}."


def _end(budget: Budget, seen: Assessment) -> str:
    """Return what is expected at the end of the period."""
    ends = seen.projection
    total = _usd(ends.expected, seen)
    if ends.low is not None and ends.high is not None:
        total += f" (80% sure: {_usd(ends.low, seen)} to {_usd(ends.high, seen)})"
    if isinstance(budget.period, Rolling):
        return f"The next {_length(budget.period.length)} are expected to cost {total}."
    rest = _length(seen.period.end - seen.at)
    return f"Expected at the end of the {budget.period.unit}, in {rest}: {total}."


def _exhaustion(budget: Budget, seen: Assessment) -> str:
    moment = seen.exhaustion.expected
    if moment is None or seen.left <= 0:
        return ""
    local = from_micros(moment).astimezone(ZoneInfo(budget.period.time_zone))
    return f"It is expected to be used up on {_moment(local)}."


def _moment(local: datetime) -> str:
    return f"{local.day} {local:%B} at {local:%H:%M} {local.tzname()}"


def _when(budget: Budget) -> str:
    if isinstance(budget.period, Rolling):
        return f"in the last {_length(budget.period.length)}"
    return "today" if budget.period.unit == "day" else f"this {budget.period.unit}"


def _length(micros: int) -> str:
    """Return a duration in its largest unit that leaves no rest, or in days and hours."""
    days, hours = micros // _DAY, micros % _DAY // _HOUR
    if micros < 2 * _HOUR and micros % _HOUR:
        return _count(max(micros // MINUTE, 1), "minute")
    if days < 2 or (days == 3 and not hours):  # noqa: PLR2004 - people say 24 and 72 hours
        return _count(micros // _HOUR, "hour")
    return _count(days, "day") + (f" {_count(hours, 'hour')}" if hours else "")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("" if number == 1 else "s")


def _percent(points: int) -> str:
    return f"{points * 100 / FULL:.2f}".rstrip("0").rstrip(".") + "%"


def _usd(pico: int, seen: Assessment) -> str:
    return format_usd(pico, decimals=4 if seen.limit < _SMALL else 2)


def _joined(words: list[str]) -> str:
    return " ".join(filter(None, words))
