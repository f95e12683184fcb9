"""Sending dead letters back to where they came from, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.adapters.delivery import MAX_CHUNK_BYTES, Delivery, Record
from spendstream.deadletters import DeadLetter

__all__ = ["send_back"]

_ACK_S = 30.0


async def send_back(servers: str, letters: Sequence[DeadLetter]) -> int:
    """Send `letters` to their topics; return how many, once Kafka has them.

    A letter without a value has nothing to send. Raises BrokerUnavailable; what was sent by then may be
    sent again, since events have ids.
    """
    records: list[Record] = [
        (letter.topic, letter.key or b"", letter.value, [("spendstream-replayed", b"deadletter")])
        for letter in letters
        if letter.value is not None
    ]
    async with Delivery.connected(servers, ack_timeout=_ACK_S) as delivery:
        for chunk in _chunks(records):
            await delivery.deliver(chunk)
    return len(records)


def _chunks(records: Sequence[Record]) -> list[list[Record]]:
    """Split records so that each chunk fits a batch."""
    chunks: list[list[Record]] = []
    room = 0
    for record in records:
        size = len(record[2])
        if size > room:
            chunks.append([])
            room = MAX_CHUNK_BYTES
        chunks[-1].append(record)
        room -= size
    return chunks
