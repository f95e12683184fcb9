"""Messages sent by HTTP: to Slack, webhooks and PagerDuty."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from spendstream import clock
from spendstream.errors import TerminalError, TransientError
from spendstream.notifications import (
    Channel,
    Message,
    pagerduty_body,
    redacted,
    slack_body,
    webhook_body,
)

__all__ = ["PostSender", "seconds_in"]

_TIMEOUT_S = 10.0
_SOON_S = 5.0
_REPAIR_S = 60.0  # what only people can put right: a revoked webhook, a wrong key
_LONGEST_S = 3600.0  # whoever asks for more is asked again sooner
_OK, _REDIRECT, _CLIENT_ERROR, _TIMED_OUT, _TOO_MANY, _SERVER_ERROR = 200, 300, 400, 408, 429, 500
_UNPROCESSABLE = (400, 413, 422)
_MOST_SAID = 1_000  # bytes
_MOST_QUOTED = 200


class PostSender:
    """Posts messages as JSON. Redirects are not followed: the body may hold a key."""

    def __init__(
        self, channel: Channel, http: aiohttp.ClientSession, *, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._channel = channel
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def send(self, message: Message) -> None:
        """Send a message; see Sender."""
        headers = {"content-type": "application/json"}
        if self._channel.kind == "webhook" and self._channel.key:
            headers["authorization"] = f"Bearer {self._channel.key}"
        body = msgspec.json.encode(_body(self._channel, message))
        try:
            async with self._http.post(
                self._channel.address,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                status, after = answer.status, answer.headers.get("retry-after", "")
                said = (await answer.content.read(_MOST_SAID)).decode(errors="replace")
        except (aiohttp.ClientError, OSError) as error:
            # the error's own text would show the address, which is a secret
            raise TransientError(
                f"{self._channel.name} does not answer: {type(error).__name__}", retry_after=_SOON_S
            ) from None
        if not _OK <= status < _REDIRECT:
            raise self._failure(status, after, said)

    def _failure(self, status: int, after: str, said: str) -> TransientError | TerminalError:
        quoted = redacted(said, self._channel)[:_MOST_QUOTED]
        what = f"{self._channel.name} answers {status}: {quoted}"
        if status in _UNPROCESSABLE:
            return TerminalError(what)
        passing = status in (_TIMED_OUT, _TOO_MANY) or status >= _SERVER_ERROR
        return TransientError(what, retry_after=seconds_in(after) or (_SOON_S if passing else _REPAIR_S))


def seconds_in(retry_after: str) -> float | None:
    """Return the seconds to wait that a Retry-After tells, as a number or as a date; None for none."""
    seconds: float
    try:
        seconds = int(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except (ValueError, OverflowError):
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - clock.now()).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_S)


def _body(channel: Channel, message: Message) -> dict[str, Any]:
    if channel.kind == "slack":
        return slack_body(message)
    if channel.kind == "pagerduty":
        return pagerduty_body(message, channel.key)
    return webhook_body(message, channel.name)
