"""How a message is sent: what every channel's sender does, and which one a channel has."""

from __future__ import annotations

from typing import Protocol

import aiohttp

from sinks.notifiers.mail import MailSender
from sinks.notifiers.post import PostSender
from spendstream.notifications import Channel, Message

__all__ = ["Sender", "sender_of"]


class Sender(Protocol):
    """Sends messages on one channel; what it raises shows no secret."""

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises TransientError to send it again later, TerminalError when this message, unlike others, will
        never be taken.
        """


def sender_of(channel: Channel, http: aiohttp.ClientSession) -> Sender:
    """Return the sender of a channel."""
    return MailSender(channel) if channel.kind == "email" else PostSender(channel, http)
