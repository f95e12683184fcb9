"""Notifications: which alerts a channel says, when, in which words, and what it has yet to say.

    outbox = Outbox(channel, lambda alert: leads_to(routes, alert, channel.name))
    outbox.add(offset, alert, at=arrived, said=0)
    message = outbox.due(now)          # None: not yet
    slack_body(message)                # or webhook_body, pagerduty_body, mail
    outbox.said(message, now)          # or put_off, or refused

Nothing here speaks to a server.
"""

from __future__ import annotations

from spendstream.notifications.alertmanager import webhook_body
from spendstream.notifications.block_kit import slack_body
from spendstream.notifications.channels import Channel, QuietHours
from spendstream.notifications.mail import mail
from spendstream.notifications.message import Message
from spendstream.notifications.outbox import Outbox
from spendstream.notifications.pagerduty import pagerduty_body
from spendstream.notifications.redaction import redacted
from spendstream.notifications.routes import Route, leads_to, setting_mistakes

__all__ = [
    "Channel",
    "Message",
    "Outbox",
    "QuietHours",
    "Route",
    "leads_to",
    "mail",
    "pagerduty_body",
    "redacted",
    "setting_mistakes",
    "slack_body",
    "webhook_body",
]
