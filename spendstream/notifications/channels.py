"""Channels: where alerts are said, when, and what is wrong with how one was written down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import time
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from spendstream.alerts import Severity
from spendstream.clock import from_micros
from spendstream.secret import Secret

__all__ = ["Channel", "ChannelKind", "QuietHours", "channel_mistakes"]

ChannelKind = Literal["slack", "webhook", "pagerduty", "email"]
ClockTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

_PAGERDUTY = Secret("https://events.pagerduty.com/v2/enqueue")
_INTEGRATION_KEY = re.compile(r"[0-9A-Za-z]{32}")
_ADDRESS = re.compile(r"[!-~]+@[!-~]+")
_UNFIT = re.compile(r"[\s<>\",;]")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SCHEMES = {"email": ("smtp", "smtps")}
_EXAMPLES = {"email": "smtps://user:password@mail.example.com:465"}
_FIELDS: dict[ChannelKind, tuple[str, ...]] = {
    "slack": ("url", "quiet_hours"),
    "webhook": ("url", "key", "quiet_hours"),
    "pagerduty": ("url", "key"),
    "email": ("url", "sender", "to", "quiet_hours"),
}
_NEEDED: dict[ChannelKind, tuple[str, ...]] = {
    "slack": ("url",),
    "webhook": ("url",),
    "pagerduty": ("key",),
    "email": ("url", "sender", "to"),
}


class QuietHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of each day, by the clock on the wall of a time zone: from `start` until just before `end`."""

    start: ClockTime
    end: ClockTime
    time_zone: str = "UTC"

    def cover(self, at: int) -> bool:
        """Tell whether `at`, in microseconds since 1970 UTC, is one of them."""
        wall = from_micros(at).astimezone(ZoneInfo(self.time_zone)).time()
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        return start <= wall < end if start < end else wall >= start or wall < end


class Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place to say alerts. Its name is that of its consumer group, too, and must not change.

    `url` is that of the webhook, of PagerDuty's Events API, or of the mail server; `key` is PagerDuty's
    integration key, or the bearer token of a webhook. It is told of the `severities` named; of all with none.
    """

    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")]
    kind: ChannelKind
    url: Secret = Secret()
    key: Secret = Secret()
    sender: Secret = Secret()
    to: tuple[Secret, ...] = ()
    severities: tuple[Severity, ...] = ()
    quiet_hours: QuietHours | None = None

    @property
    def address(self) -> Secret:
        """Where messages are sent."""
        return self.url or (_PAGERDUTY if self.kind == "pagerduty" else self.url)

    def quiet(self, at: int) -> bool:
        """Tell whether it should be quiet, but for what is critical, at `at` (microseconds since 1970)."""
        return self.quiet_hours is not None and self.quiet_hours.cover(at)


def channel_mistakes(channel: Channel) -> Iterator[str]:
    """Yield what is wrong with a channel's settings; no mistake shows a secret."""
    for name in _NEEDED[channel.kind]:
        if not getattr(channel, name):
            yield f"{name}: is missing; {channel.kind} needs it"
    for name in ("url", "key", "sender", "to", "quiet_hours"):
        if getattr(channel, name) and name not in _FIELDS[channel.kind]:
            yield f"{name}: {channel.kind} has none{_schedules(name)}"
    if channel.url:
        yield from _url_mistakes(channel)
    if channel.key:
        yield from _key_mistakes(channel)
    yield from _address_mistakes(channel)
    if channel.quiet_hours is not None:
        yield from _quiet_mistakes(channel.quiet_hours)


def _key_mistakes(channel: Channel) -> Iterator[str]:
    if channel.kind == "pagerduty" and not _INTEGRATION_KEY.fullmatch(channel.key):
        yield "key: expected the 32 letters and digits of an Events API v2 integration key"
    elif not (channel.key.isascii() and channel.key.isprintable()):
        yield "key: expected printable ASCII characters only"
    elif (url := _split(channel.url)) is not None and "@" in url.netloc:
        yield "key: the url has a user already, and a request can show only one of them"


def _address_mistakes(channel: Channel) -> Iterator[str]:
    for name, address in (("sender", channel.sender), *(("to", address) for address in channel.to)):
        if address and (not _ADDRESS.fullmatch(address) or _UNFIT.search(address)):
            yield f"{name}: expected an address like finops@example.com"


def _schedules(name: str) -> str:
    return ": a service there has hours of its own" if name == "quiet_hours" else ""


def _url_mistakes(channel: Channel) -> Iterator[str]:
    schemes = _SCHEMES.get(channel.kind, ("http", "https"))
    url = _split(channel.url)
    if url is None or url.scheme not in schemes or not url.hostname or not channel.url.isprintable():
        yield f"url: expected an address like {_EXAMPLES.get(channel.kind, 'https://host/path')}"
    elif url.scheme == "http" and channel.kind in ("slack", "pagerduty") and url.hostname not in _LOOPBACK:
        yield "url: is a secret or goes with one: expected https"


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a wrong one is told when it is asked for
    except ValueError:
        return None
    return parts


def _quiet_mistakes(hours: QuietHours) -> Iterator[str]:
    if hours.start == hours.end:
        yield "quiet_hours: start and end are the same: a channel that is never heard is none"
    try:
        ZoneInfo(hours.time_zone)
    except (ValueError, OSError, LookupError):
        yield f"quiet_hours: time_zone: {hours.time_zone!r:.60} is none; expected one like Europe/Berlin"
