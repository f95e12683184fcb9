"""From how a budget stands to the alerts that must go out now: each once, and a word when it is over.

What fires depends only on the assessment and on what the book says was told already. So asking again changes
nothing, and neither does a restart. An alert fires above one mark and is over below a lower one, held for a
time; the hold time is read off the spend itself, so that no clock needs to be remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from spendstream.alerts import Alert, AlertBook, Kind, Severity, alert_id
from spendstream.budgets.assessment import Assessment
from spendstream.budgets.burn import Burning
from spendstream.budgets.definition import FULL, Budget, Rolling
from spendstream.budgets.periods import period_at
from spendstream.budgets.projection import FORECAST_FIRES
from spendstream.budgets.wording import burn_words, forecast_words, standing, threshold_words

__all__ = ["decide", "rule_of", "withdrawn"]

_PREFIX = "budget/"
_WARNING = 8_000  # basis points from which on a threshold is more than information
_ROLLING_LOWER_MARK = 9_500  # basis points of its threshold: rolling spend wavers around it


class _Watch(NamedTuple):
    """One thing that a budget watches for: whether it is so, whether it is over, and what to say of it."""

    id: UUID
    fires: bool
    over: bool
    alert: Callable[[], Alert]


class _Subject(NamedTuple):
    """What an alert is about: the threshold part of its id, its kind and its severity."""

    label: str
    kind: Kind
    severity: Severity


def rule_of(budget_id: str) -> str:
    """Return the rule id under which a budget's alerts go."""
    return _PREFIX + budget_id


def decide(budget: Budget, assessment: Assessment, book: AlertBook) -> list[Alert]:
    """Return the alerts to publish, and to apply to `book`.

    Those that end with an earlier period come first. Alerts of periods that start after the assessment, and
    those that were over after it, are left alone: someone has looked further already.
    """
    watches = list(_watches(budget, assessment, book))
    watched = {watch.id for watch in watches}
    alerts = [
        _ended(budget, assessment, alert)
        for alert in book.open(rule_of(budget.id))
        if alert.id not in watched and alert.window <= assessment.at
    ]
    for watch in watches:
        known = book.find(watch.id)
        if known is not None and known.state == "firing":
            if watch.over:
                alerts.append(_over(budget, assessment, known))
        elif watch.fires and (known is None or (known.resolved_at or 0) <= assessment.at):
            alerts.append(replace(watch.alert(), version=known.version + 1 if known else 1))
    return alerts


def withdrawn(budget_ids: Collection[str], book: AlertBook, at: int) -> list[Alert]:
    """Return the end of each open alert whose budget is not in force any more."""
    rules = {rule_of(budget_id) for budget_id in budget_ids}
    return [
        _resolved(alert, at, "There is no such budget any more.")
        for alert in book.open()
        if alert.rule.startswith(_PREFIX) and alert.rule not in rules
    ]


def _watches(budget: Budget, seen: Assessment, book: AlertBook) -> Iterator[_Watch]:
    for threshold in budget.thresholds:
        yield _threshold_watch(budget, seen, threshold)
    if budget.burn_rate:
        yield from _burn_watches(budget, seen, book)
    if budget.forecast:
        yield _forecast_watch(budget, seen)


def _threshold_watch(budget: Budget, seen: Assessment, threshold: int) -> _Watch:
    subject = _Subject(f"{threshold} bp", "budget_threshold", _severity(threshold))
    mark = threshold * (_ROLLING_LOWER_MARK if _rolling(budget) else FULL)

    def alert() -> Alert:
        words = threshold_words(budget, seen, threshold)
        return replace(_alert(budget, seen, subject, words), started_at=seen.reached[threshold])

    return _Watch(
        id=_id(budget, seen, subject),
        fires=threshold in seen.reached,
        over=seen.spent * FULL * FULL < mark * seen.limit,
        alert=alert,
    )


def _severity(threshold: int) -> Severity:
    if threshold >= FULL:
        return "critical"
    return "warning" if threshold >= _WARNING else "info"


def _burn_watches(budget: Budget, seen: Assessment, book: AlertBook) -> Iterator[_Watch]:
    """Yield the tiers, fastest first; while a faster one fires, the slower ones have nothing to add."""
    louder = False
    for burning in seen.tiers:
        watch = _burn_watch(budget, seen, burning)
        yield watch._replace(fires=watch.fires and not louder)
        known = book.find(watch.id)
        stays_open = known is not None and known.state == "firing" and not watch.over
        louder = louder or watch.fires or stays_open


def _burn_watch(budget: Budget, seen: Assessment, burning: Burning) -> _Watch:
    subject = _Subject(f"burn over {burning.tier.name}", "burn_rate", burning.tier.severity)

    def alert() -> Alert:
        ratios = {"burn_long": float(burning.long), "burn_short": float(burning.short)}
        return replace(_alert(budget, seen, subject, burn_words(budget, seen, burning)), ratios=ratios)

    return _Watch(id=_id(budget, seen, subject), fires=burning.firing, over=burning.calm, alert=alert)


def _forecast_watch(budget: Budget, seen: Assessment) -> _Watch:
    subject = _Subject("forecast", "budget_forecast", "warning")
    breach = seen.projection.breach or 0.0

    def alert() -> Alert:
        return replace(_alert(budget, seen, subject, forecast_words(budget, seen)), ratios={"breach": breach})

    return _Watch(
        id=_id(budget, seen, subject),
        fires=breach >= FORECAST_FIRES and seen.spent < seen.limit,  # after the breach it is no forecast
        over=seen.breach_calm,
        alert=alert,
    )


def _rolling(budget: Budget) -> bool:
    return isinstance(budget.period, Rolling)


def _window(budget: Budget, seen: Assessment) -> int:
    return 0 if _rolling(budget) else seen.period.start


def _id(budget: Budget, seen: Assessment, subject: _Subject) -> UUID:
    return alert_id(rule_of(budget.id), budget.scope, _window(budget, seen), subject.label)


def _alert(budget: Budget, seen: Assessment, subject: _Subject, words: tuple[str, str]) -> Alert:
    title, summary = words
    return Alert(
        id=_id(budget, seen, subject),
        kind=subject.kind,
        state="firing",
        severity=subject.severity,
        rule=rule_of(budget.id),
        scope=dict(budget.scope),
        window=_window(budget, seen),
        team=budget.owner,
        title=title,
        summary=summary,
        started_at=seen.at,
        values=_values(seen),
        link={**budget.scope, "budget": budget.id},
    )


def _values(seen: Assessment) -> dict[str, int]:
    ends = seen.projection
    known = {"projected_low": ends.low, "projected_high": ends.high}
    return {
        "spent": seen.spent,
        "limit": seen.limit,
        "carried": seen.carried,
        "left": seen.left,
        "velocity": seen.velocity,
        "projected": ends.expected,
        **{name: value for name, value in known.items() if value is not None},
    }


def _ended(budget: Budget, seen: Assessment, alert: Alert) -> Alert:
    """Return the end of an alert of an earlier period, or of something that is not watched any more."""
    if isinstance(budget.period, Rolling) or alert.window in (0, seen.period.start):
        return _resolved(alert, seen.at, "The budget no longer watches for this.")
    end = period_at(budget, alert.window).end
    return _resolved(alert, min(end, seen.at), f"The {budget.period.unit} is over.")


def _over(budget: Budget, seen: Assessment, alert: Alert) -> Alert:
    """Return the end of an alert whose reason is gone, with how the budget stands now."""
    return replace(_resolved(alert, seen.at, standing(budget, seen)), values=_values(seen))


def _resolved(alert: Alert, at: int, why: str) -> Alert:
    return replace(alert, state="resolved", summary=why, resolved_at=max(at, alert.started_at))
