"""E-mails: plain text, with an id of their own, so that mail servers know one that is sent again."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import blake2b

from spendstream.alerts import Alert
from spendstream.clock import from_micros
from spendstream.notifications.channels import Channel
from spendstream.notifications.message import Message, clipped, headline, span, subject, where

__all__ = ["mail"]

_SUBJECT = 200
_WORST_FIRST = ("critical", "warning", "info")


def mail(message: Message, channel: Channel, now: int) -> EmailMessage:
    """Return the e-mail to a channel's addresses; `now` (microseconds since 1970) is its date."""
    letter = EmailMessage()
    letter["Subject"] = clipped(f"[{_worst(message)}] {subject(message)}", _SUBJECT)
    letter["From"] = str(channel.sender)
    letter["To"] = ", ".join(channel.to)
    letter["Date"] = format_datetime(from_micros(now))
    letter["Message-ID"] = f"<{_id(message)}@{channel.sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"  # so that nobody's absence is answered; RFC 3834
    letter.set_content("\n\n".join(map(_entry, message.alerts)) + "\n")
    return letter


def _worst(message: Message) -> str:
    found = {alert.severity for alert in message.alerts if alert.state == "firing"}
    return next((severity for severity in _WORST_FIRST if severity in found), "resolved")


def _id(message: Message) -> str:
    states = "\n".join(f"{alert.id}/{alert.version}/{alert.state}" for alert in message.alerts)
    return blake2b(states.encode(), digest_size=16).hexdigest()


def _entry(alert: Alert) -> str:
    return f"{headline(alert)}\n{alert.summary}\n{alert.severity}, {where(alert)}, {span(alert)}"
