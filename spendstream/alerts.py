"""Alerts: what a rule tells people, as frozen values on the wire, and the book of what was told already.

An alert's id is derived from what it is about: rule, scope, period or window, threshold. The same alert found
twice is therefore one. An id can fire again after it was resolved; `version` counts its episodes. Of two
alerts with one id the later episode is the newer, and within an episode `resolved` follows `firing`. That
order is all the book needs, so alerts may reach it repeated and in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from spendstream.clock import from_micros
from spendstream.errors import MalformedEvent
from spendstream.events import Micros

__all__ = [
    "MAX_ALERT_BYTES",
    "Alert",
    "AlertBook",
    "Kind",
    "Severity",
    "alert_id",
    "decode",
    "encode",
    "headers",
]

SCHEMA_VERSION = 1
MAX_ALERT_BYTES = 1 << 16

Kind = Literal["budget_threshold", "burn_rate", "budget_forecast", "anomaly", "opportunity", "test"]
State = Literal["firing", "resolved"]
Severity = Literal["info", "warning", "critical"]
Version = Annotated[int, Meta(ge=1, lt=2**32)]

_VERSION_8 = 0x8 << 76  # RFC 9562: the layout of the rest is ours
_VARIANT = 0b10 << 62
_FREE_BITS = (1 << 128) - 1 & ~(0xF << 76) & ~(0b11 << 62)


class Alert(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="v", tag=SCHEMA_VERSION):
    """Something that people should know, or (`resolved`) that they need no longer worry about.

    Times are microseconds since 1970 UTC; `window` is the start of the period or window, 0 for a sliding one.
    `values` is money in picodollars, `ratios` is plain numbers (burn rate, probability). `team` is whom to
    tell, and `link` the dimensions from which a link to a dashboard is made.
    """

    id: UUID
    kind: Kind
    state: State
    severity: Severity
    rule: str
    scope: dict[str, str] = {}
    window: Micros = 0
    version: Version = 1
    team: str = ""
    title: str
    summary: str
    started_at: Micros
    resolved_at: Micros | None = None
    values: dict[str, int] = {}
    ratios: dict[str, float] = {}
    link: dict[str, str] = {}

    @property
    def time(self) -> int:
        """When that which the alert says became true."""
        return self.started_at if self.resolved_at is None else self.resolved_at


def alert_id(rule: str, scope: Mapping[str, str], window: int, threshold: str) -> UUID:
    """Return the id of what `rule` says of `threshold` in the period or window that starts at `window`."""
    parts = msgspec.json.encode([rule, sorted(scope.items()), window, threshold])
    digest = int.from_bytes(blake2b(parts, digest_size=16).digest(), "big")
    return UUID(int=digest & _FREE_BITS | _VERSION_8 | _VARIANT)


_decoder = msgspec.json.Decoder(Alert)


def encode(alert: Alert) -> bytes:
    """Return the record's value."""
    return msgspec.json.encode(alert)


def decode(value: bytes | None) -> Alert:
    """Return the alert in a record's value; raise MalformedEvent with the reason."""
    if value is None:
        raise MalformedEvent("empty record: expected a JSON object")
    if len(value) > MAX_ALERT_BYTES:
        raise MalformedEvent(f"record of {len(value)} bytes: at most {MAX_ALERT_BYTES} are accepted")
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedEvent(str(error)) from error


def headers(alert: Alert) -> list[tuple[str, bytes]]:
    """Return the CloudEvents 1.0 attributes (Kafka binding, binary mode).

    An alert fires and is resolved under one id, so `ce_id` also says which of the two, and which episode.
    """
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{alert.id}/{alert.version}/{alert.state}".encode()),
        ("ce_source", b"spendstream/alerts"),
        ("ce_type", b"spendstream.alert"),
        ("ce_time", from_micros(alert.time).isoformat().encode()),
        ("content-type", b"application/json"),
    ]


class AlertBook:
    """The newest state of each alert, by id.

    Fill it with the newest state of all open alerts *and* of the resolved ones whose period is not over: an
    alert that was resolved and is then forgotten would fire again as its first episode, which readers who
    remember it take for the old one.
    """

    def __init__(self, alerts: Iterable[Alert] = ()) -> None:
        self._newest: dict[UUID, Alert] = {}
        for alert in alerts:
            self.apply(alert)

    def apply(self, alert: Alert) -> bool:
        """Note down `alert`; return whether it was news."""
        known = self._newest.get(alert.id)
        if known is not None and _order(alert) <= _order(known):
            return False
        self._newest[alert.id] = alert
        return True

    def find(self, alert_id: UUID) -> Alert | None:
        """Return the newest state of an alert, or None if it was never seen."""
        return self._newest.get(alert_id)

    def open(self, rule: str | None = None) -> Iterator[Alert]:
        """Yield the alerts that are firing, of one rule or of all."""
        for alert in self._newest.values():
            if alert.state == "firing" and rule in (None, alert.rule):
                yield alert

    def forget(self, before: int) -> None:
        """Drop resolved alerts whose window started before `before`; those of sliding windows stay."""
        self._newest = {
            key: alert
            for key, alert in self._newest.items()
            if alert.state == "firing" or alert.window == 0 or alert.window >= before
        }


def _order(alert: Alert) -> tuple[int, bool]:
    return alert.version, alert.state == "resolved"
