"""Redaction: what servers and libraries say of a channel, without what is secret about it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from spendstream.notifications.channels import Channel

__all__ = ["redacted"]

_LEAST = 4  # a shorter part of an address, such as /v2, tells nothing
_HIDDEN = "***"


def redacted(text: str, channel: Channel) -> str:
    """Return `text` without the channel's key, its addresses, and the path, user and password of its URL."""
    for secret in sorted(set(_secrets(channel)), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _secrets(channel: Channel) -> Iterator[str]:
    yield from filter(None, (channel.url, channel.key, channel.sender, *channel.to))
    url = urlsplit(channel.url)
    for part in (url.username, url.password, url.path, url.query, *url.path.split("/")):
        if part and len(part) >= _LEAST:
            yield part
            yield unquote(part)
    if url.username or url.password:
        login = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
        yield b64encode(login.encode()).decode()  # which is how it is sent
