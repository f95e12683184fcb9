"""What one channel has yet to say: held while it should be quiet, told together, once each and in order.

The topic is the outbox; this is what of it was read and not yet said. A channel that starts again reads on
from `position`, and is told of each alert what it has said already.

Alerts of a team and a kind that come within half a second, or while the channel has to wait, are one message.
Of those that quiet hours held back, the newest state of each is said, in a digest. What is critical is not
held back, and may so overtake what is; of one alert no older state is said after a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec import Struct

from spendstream.alerts import Alert
from spendstream.notifications.channels import Channel
from spendstream.notifications.message import Message

__all__ = ["Outbox", "place"]

_SECOND = 1_000_000
_WAIT = _SECOND // 2
_PAUSE = _SECOND  # Slack takes one message a second for each webhook
_TOGETHER = 20
_FULL = 10_000  # more than a night brings: what is critical is behind what is held back
_DIGEST = ("quiet hours",)


def place(alert: Alert) -> int:
    """Return where a state of an alert comes among all states of it: 2 or more, resolved ones are odd."""
    return 2 * alert.version + (alert.state == "resolved")


class _Waiting(Struct, frozen=True, kw_only=True):
    alert: Alert
    at: int
    group: tuple[object, ...]


class Outbox:
    """What `channel` has yet to say of the alerts that `leads_here` says are for it.

    Times are microseconds since 1970 UTC.
    """

    def __init__(self, channel: Channel, leads_here: Callable[[Alert], bool]) -> None:
        self._channel = channel
        self._leads_here = leads_here
        self._most = 1 if channel.kind == "pagerduty" else _TOGETHER  # an event has one alert
        self._waiting: dict[int, _Waiting] = {}  # by offset, in order
        self._newest: dict[UUID, int] = {}  # of these, the newest states
        self._next: int | None = None
        self._free_at = 0

    @property
    def position(self) -> int | None:
        """The offset of the first record that has to be read again after a crash; None if none was read."""
        return next(iter(self._waiting), self._next)

    @property
    def full(self) -> bool:
        """Whether to wait with reading more until something was said."""
        return len(self._waiting) >= _FULL

    def skip(self, offset: int) -> None:
        """Take note of a record that is not for it."""
        self._next = offset + 1

    def add(self, offset: int, alert: Alert, *, at: int, said: int) -> None:
        """Take in the alert at `offset`, which came `at`; `said` is the `place` of what was said of it, or 0.

        Whoever said that an alert fires says its end, too, wherever the routes lead by then.
        """
        known = max(said, self._newest.get(alert.id, 0))
        ends = alert.state == "resolved" and known > 0 and known % 2 == 0
        if place(alert) > known and (ends or self._leads_here(alert)):
            self._waiting[offset] = _Waiting(alert=alert, at=at, group=self._group(alert, at))
            self._newest[alert.id] = place(alert)
        self.skip(offset)

    def due(self, now: int) -> Message | None:
        """Return what to say now; None if there is nothing, or it is too soon."""
        quiet = self._channel.quiet(now)
        ready = [it for it in self._waiting.values() if not quiet or it.alert.severity == "critical"]
        if not ready or now < max(self._free_at, ready[0].at + _WAIT):
            return None
        group = ready[0].group
        return self._message(_together(ready, group), digest=group == _DIGEST)

    def said(self, message: Message, now: int) -> None:
        """Take note that a message was sent."""
        self._drop({alert.id: place(alert) for alert in message.alerts})
        self._pause(now, _PAUSE)

    def put_off(self, now: int, wait: int) -> None:
        """Say nothing for `wait`: the channel does not answer, or asked for it."""
        self._pause(now, max(wait, _PAUSE))

    def refused(self, message: Message, now: int) -> bool:
        """Give up on a message that was refused; if it has several alerts, say each by itself instead.

        Return whether it was given up.
        """
        self._pause(now, _PAUSE)
        if len(message.alerts) == 1:
            self._drop({alert.id: place(alert) for alert in message.alerts})
            return True
        ids = {alert.id for alert in message.alerts}
        for offset, it in self._waiting.items():
            if it.alert.id in ids:
                self._waiting[offset] = _Waiting(alert=it.alert, at=it.at, group=(it.alert.id,))
        return False

    def clear(self) -> None:
        """Forget everything: another reads the topic from now on, or it is read again."""
        self._waiting.clear()
        self._newest.clear()
        self._next = None

    def _group(self, alert: Alert, at: int) -> tuple[object, ...]:
        if alert.severity != "critical" and self._channel.quiet(at):
            return _DIGEST
        return alert.team, alert.kind

    def _message(self, alerts: Sequence[Alert], *, digest: bool) -> Message:
        together: dict[UUID, Alert] = {}
        for alert in alerts:
            if alert.id in together and not digest:
                break
            if alert.id in together or len(together) < self._most:
                together[alert.id] = alert
        return Message(alerts=tuple(together.values()), digest=digest)

    def _drop(self, said: dict[UUID, int]) -> None:
        """Forget these states, and older ones of the same alerts."""
        self._waiting = {
            offset: it for offset, it in self._waiting.items() if place(it.alert) > said.get(it.alert.id, 0)
        }
        self._newest = {it.alert.id: place(it.alert) for it in self._waiting.values()}

    def _pause(self, now: int, wait: int) -> None:
        self._free_at = now + wait


def _together(ready: Sequence[_Waiting], group: tuple[object, ...]) -> list[Alert]:
    """Return the alerts of a group, but for those of which an older state waits in another one."""
    found: list[Alert] = []
    elsewhere: set[UUID] = set()
    for it in ready:
        if it.group == group and it.alert.id not in elsewhere:
            found.append(it.alert)
        else:
            elsewhere.add(it.alert.id)
    return found
