"""Messages sent by e-mail, each over a connection of its own."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog

from spendstream import clock
from spendstream.errors import TerminalError, TransientError
from spendstream.notifications import Channel, Message, mail, redacted

__all__ = ["MailSender"]

_log = structlog.get_logger(__name__)

_TIMEOUT_S = 10.0
_SOON_S = 5.0
_LATER_S = 60.0  # a server that wants to see whether we come back, or what only people can put right
_PERMANENT = 500
_MOST_QUOTED = 200


class MailSender:
    """Sends messages through the channel's mail server.

    `smtps` is encrypted from the beginning. `smtp` becomes so by STARTTLS where the server offers that; with
    a password it has to.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        url = urlsplit(channel.url)
        self._host, self._port = url.hostname, url.port
        self._tls = url.scheme == "smtps"
        self._user = unquote(url.username) if url.username else None
        self._password = unquote(url.password) if url.password else None

    async def send(self, message: Message) -> None:
        """Send a message; see Sender."""
        letter = mail(message, self._channel, clock.now_micros())
        try:
            refused, _ = await aiosmtplib.send(
                letter,
                hostname=self._host,
                port=self._port,
                username=self._user,
                password=self._password,
                use_tls=self._tls,
                start_tls=True if self._password and not self._tls else None,
                timeout=_TIMEOUT_S,
            )
        except aiosmtplib.SMTPDataError as error:
            if error.code >= _PERMANENT:
                raise TerminalError(self._words(f"refuses the message: {error}")) from None
            raise TransientError(self._words(f"says: {error}"), retry_after=_LATER_S) from None
        except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused) as error:
            raise TransientError(self._words(f"says: {error}"), retry_after=_LATER_S) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # what a library says of an address, or of how to log in, may show it
            words = self._words(f"does not answer: {type(error).__name__}")
            raise TransientError(words, retry_after=_SOON_S) from None
        if refused:
            _log.warning("some have not got it", channel=self._channel.name, recipients=len(refused))

    def _words(self, what: str) -> str:
        return redacted(f"{self._channel.name} {what}", self._channel)[:_MOST_QUOTED]
