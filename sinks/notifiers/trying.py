"""Trying channels out: an alert that is only a test, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import aiohttp
from msgspec.structs import replace

from sinks.notifiers.sender import sender_of
from spendstream.alerts import Alert
from spendstream.clock import now_micros
from spendstream.errors import SpendstreamError
from spendstream.notifications import Channel, Message

__all__ = ["try_out"]

_PAUSE_S = 1.0  # Slack takes one message a second for each webhook


async def try_out(channels: Sequence[Channel]) -> dict[str, SpendstreamError]:
    """Send a test alert, and its end, on channels at the same time, once; return what went wrong, by name."""
    async with aiohttp.ClientSession() as http:
        found = await asyncio.gather(*(_tried(channel, http) for channel in channels))
    return {channel.name: error for channel, error in zip(channels, found, strict=True) if error is not None}


async def _tried(channel: Channel, http: aiohttp.ClientSession) -> SpendstreamError | None:
    sender, now = sender_of(channel, http), now_micros()
    firing = Alert(
        id=uuid4(),
        kind="test",
        state="firing",
        severity="info",
        rule="test",
        title="Test: alerts of Spendstream reach this channel",
        summary="Nothing is wrong. This was sent by hand, with `spendstream alerts test`.",
        started_at=now,
    )
    try:
        await sender.send(Message(alerts=(firing,)))
        await asyncio.sleep(_PAUSE_S)
        await sender.send(Message(alerts=(replace(firing, state="resolved", resolved_at=now),)))
    except SpendstreamError as error:
        return error
    return None
