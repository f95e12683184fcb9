"""A message: the alerts that are said together, and the words that all kinds of channels share."""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct

from spendstream.alerts import Alert
from spendstream.clock import from_micros

__all__ = ["Message", "clipped", "headline", "one_line", "span", "subject", "where"]

_SPACE = re.compile(r"\s+")
_ELLIPSIS = "…"


class Message(Struct, frozen=True, kw_only=True):
    """One or more alerts, none twice, oldest first; a `digest` is of what quiet hours held back."""

    alerts: tuple[Alert, ...]
    digest: bool = False


def headline(alert: Alert) -> str:
    """Return an alert in one line."""
    return f"{'Resolved: ' if alert.state == 'resolved' else ''}{one_line(alert.title)}"


def subject(message: Message) -> str:
    """Return a message in one line."""
    first, *others = message.alerts
    if message.digest:
        return f"During quiet hours: {_counted(message)}"
    if not others:
        return headline(first)
    of_team = f" for {one_line(first.team)}" if first.team else ""
    return f"{_counted(message)}{of_team}: {first.kind.replace('_', ' ')}"


def _counted(message: Message) -> str:
    total = len(message.alerts)
    over = sum(alert.state == "resolved" for alert in message.alerts)
    alerts = f"{total} alert{'s' if total > 1 else ''}"
    if not over:
        return alerts
    return f"{alerts}, resolved" if over == total else f"{alerts}, {over} of them resolved"


def where(alert: Alert) -> str:
    """Return what an alert is about."""
    return ", ".join(f"{name} {one_line(value)}" for name, value in alert.scope.items()) or "everything"


def span(alert: Alert) -> str:
    """Return since when, or from when until when, it is as the alert says."""
    start = from_micros(alert.started_at)
    if alert.resolved_at is None:
        return f"since {_minute(start)} UTC"
    return f"{_minute(start)} to {_minute(from_micros(alert.resolved_at))} UTC"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def one_line(text: str) -> str:
    """Return `text` in one line, of characters that can be seen."""
    return "".join(it for it in _SPACE.sub(" ", text).strip() if it.isprintable())


def clipped(text: str, most: int) -> str:
    """Return `text`, or as much of it as fits into `most` characters, marked as cut."""
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS
