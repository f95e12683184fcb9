"""Alerts as Slack messages: what is said (pure), and how it is sent to an incoming webhook."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec

from spendstream.alerts import Alert
from spendstream.config import Secret
from spendstream.errors import TerminalError, TransientError

__all__ = ["SlackWebhook", "message"]

_MARKS = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}
_RESOLVED = ":white_check_mark:"
_HEADER_MAX, _SECTION_MAX = 150, 3_000  # Block Kit's limits
_TIMEOUT_S = 10.0
_PAUSE_S = 1.0  # Slack takes one message a second for each webhook
_TOO_MANY, _SERVER_ERROR, _OK = 429, 500, 200


def message(alert: Alert) -> dict[str, Any]:
    """Return the message for an alert: blocks for people, and `text` for notifications and screen readers."""
    mark = _RESOLVED if alert.state == "resolved" else _MARKS[alert.severity]
    title = f"{'Resolved: ' if alert.state == 'resolved' else ''}{alert.title}"
    where = ", ".join(f"{name} {_escaped(value)}" for name, value in alert.scope.items()) or "everything"
    return {
        "text": _escaped(f"{title}: {alert.summary}"),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": f"{mark} {title}"[:_HEADER_MAX]}},
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": _escaped(alert.summary)[:_SECTION_MAX]},
            },
            {"type": "context", "elements": [{"type": "mrkdwn", "text": f"{alert.severity} · {where}"}]},
        ],
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class SlackWebhook:
    """One incoming webhook; messages go one after the other, at most one a second."""

    def __init__(self, url: Secret, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self.free_at = 0.0

    async def send(self, alert: Alert) -> None:
        """Send one message. Raises TransientError to try again later, TerminalError when Slack refuses it."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self.free_at - loop.time()))
        self.free_at = loop.time() + _PAUSE_S
        body = msgspec.json.encode(message(alert))
        try:
            async with self._http.post(
                self._url,
                data=body,
                headers={"content-type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            ) as answer:
                said = (await answer.text())[:200]
                status, retry_after = answer.status, answer.headers.get("retry-after", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            # the error's own text would show the webhook, which is a secret
            raise TransientError(f"Slack does not answer: {type(error).__name__}", retry_after=5.0) from None
        if status == _TOO_MANY or status >= _SERVER_ERROR:
            seconds = float(retry_after) if retry_after.isdigit() else 5.0
            raise TransientError(f"Slack answers {status}: {said}", retry_after=seconds)
        if status != _OK:
            raise TerminalError(f"Slack refuses the message with {status}: {said}")
