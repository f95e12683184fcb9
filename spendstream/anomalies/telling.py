"""Which anomalies people are told of, and the alerts that tell them. Everything else is left to the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from spendstream import alerts
from spendstream.alerts import Alert
from spendstream.anomalies.anomaly import Anomaly
from spendstream.anomalies.episode import Severity
from spendstream.anomalies.watch import Notice
from spendstream.anomalies.wording import summary_of, title_of
from spendstream.money import PICO
from spendstream.windows import HOUR, MINUTE

__all__ = ["Telling", "alert_of"]

_MICROS = 1_000_000
_LEAST = PICO  # picodollars an hour too much, below which nobody wants to be called
_SEVERITIES: Mapping[str, alerts.Severity] = MappingProxyType(
    {"warn": "warning", "high": "warning", "critical": "critical"}
)
_VERSIONS: Mapping[Severity, int] = MappingProxyType({"warn": 1, "high": 2, "critical": 3})
_OF_ORGANISATIONS = ("price_change", "new_model", "unpriced_model")
_MOST = 1 << 63  # what the wire's numbers hold


class Telling(Struct, frozen=True, kw_only=True):
    """A notice, and the alert that tells people of it, if one does."""

    notice: Notice
    alert: Alert | None = None


def alert_of(notice: Notice, before: Alert | None) -> Alert | None:
    """Return the alert that a notice is told by; None if it is none of those that people are called for.

    `before` is the newest alert of the same anomaly. Who was told of an anomaly is told how it goes on, and
    who was not, is not told of its end. The alert's version is the anomaly's severity, so that the same
    notice makes the same alert whoever finds it.
    """
    anomaly = notice.anomaly
    if anomaly.state == "resolved":
        return before and _alert(notice, version=before.version, state="resolved")
    if before is None and not _calls(notice):
        return None
    return _alert(notice, version=_VERSIONS[anomaly.severity], state="firing")


def _calls(notice: Notice) -> bool:
    """Tell whether people want to be called for what a notice says."""
    anomaly, of_team = notice.anomaly, notice.key.team is not None
    if anomaly.planned:
        return False
    if anomaly.state == "told":  # each size finds it: the finest is the first
        return anomaly.type in _OF_ORGANISATIONS and not of_team and notice.size == MINUTE
    if anomaly.severity == "warn" or (notice.size < HOUR and not _is_urgent(anomaly)):
        return False
    if anomaly.type == "cost_spike":
        return _is_costly(notice) and (of_team or _is_shared(anomaly))
    return of_team


def _is_urgent(anomaly: Anomaly) -> bool:
    """Tell whether one minute is enough to call people; for usage that pauses or surges it is not."""
    return anomaly.severity == "critical" and anomaly.type != "usage_pattern"


def _is_costly(notice: Notice) -> bool:
    excess = notice.anomaly.value - notice.anomaly.expected
    return excess * HOUR >= _LEAST * min(notice.size, HOUR)


def _is_shared(anomaly: Anomaly) -> bool:
    """Tell whether no single team is behind most of a spike: else that team's own alert will do."""
    whole = anomaly.value - anomaly.expected
    return not any(part.dimension == "team" and 2 * part.difference > whole for part in anomaly.contributors)


def _alert(notice: Notice, *, version: int, state: alerts.State) -> Alert:
    key, anomaly = notice.key, notice.anomaly
    seen_at = (anomaly.window + notice.size) * _MICROS
    scope = {name: value for name, value in key._asdict().items() if value}
    return Alert(
        id=anomaly.id,
        kind="anomaly",
        state=state,
        severity="info" if anomaly.type == "new_model" else _SEVERITIES[anomaly.severity],
        rule=f"anomaly/{anomaly.type}",
        scope=scope,
        window=anomaly.start * _MICROS,
        version=version,
        team=key.team or "",
        title=title_of(notice),
        summary=summary_of(notice),
        started_at=anomaly.start * _MICROS,
        resolved_at=seen_at if state == "resolved" else None,
        values=_money(anomaly),
        ratios={"severity": round(anomaly.score, 1)},
        link=scope,
    )


def _money(anomaly: Anomaly) -> dict[str, int]:
    values = {"impact": anomaly.impact}
    if anomaly.type == "cost_spike":
        values |= {name: round(getattr(anomaly, name)) for name in ("value", "expected", "low", "high")}
    return {name: value for name, value in values.items() if value is not None and abs(value) < _MOST}
