"""Messages for Slack: Block Kit for people, and `text` for notifications and screen readers.

Limits are those of https://docs.slack.dev/reference/block-kit/blocks.
"""

from __future__ import annotations

import re
from typing import Any

from spendstream.alerts import Alert
from spendstream.notifications.message import Message, clipped, headline, one_line, span, subject, where

__all__ = ["slack_body"]

_MARKS = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}
_RESOLVED = ":white_check_mark:"
_HEADER, _SECTION, _TEXT = 150, 3_000, 3_000
_EACH = 500  # of several alerts, so that all together stay well within what Slack takes
_PART = re.compile(r"&[a-z]*$")  # of an entity that was cut in two


def slack_body(message: Message) -> dict[str, Any]:
    """Return what to post to an incoming webhook."""
    if len(message.alerts) == 1 and not message.digest:
        return _single(message.alerts[0])
    said = "; ".join(headline(alert) for alert in message.alerts)
    return {
        "text": _escaped(f"{subject(message)}: {said}", _TEXT),
        "blocks": [_header(subject(message)), *(_section(_entry(alert)) for alert in message.alerts)],
    }


def _single(alert: Alert) -> dict[str, Any]:
    about = _escaped(f"{alert.severity} · {where(alert)} · {span(alert)}", _SECTION)
    return {
        "text": _escaped(f"{headline(alert)}: {alert.summary}", _TEXT),
        "blocks": [
            _header(f"{_mark(alert)} {headline(alert)}"),
            _section(_escaped(alert.summary, _SECTION) or about),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": about}]},
        ],
    }


def _entry(alert: Alert) -> str:
    about = f"{alert.severity} · {where(alert)} · {span(alert)}"
    return (
        f"{_mark(alert)} {_escaped(headline(alert), _EACH)}\n{_escaped(f'{alert.summary} ({about})', _EACH)}"
    )


def _mark(alert: Alert) -> str:
    return _RESOLVED if alert.state == "resolved" else _MARKS[alert.severity]


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": clipped(one_line(text), _HEADER)}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(text: str, most: int) -> str:
    """Return `text` so that nothing in it is markup that calls people, in at most `most` characters."""
    text = text.strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text if len(text) <= most else _PART.sub("", text[: most - 1]) + "…"
