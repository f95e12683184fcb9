"""The dead letter office on Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from spendstream.adapters.kafka import connect_producer
from spendstream.deadletters import DeadLetter
from spendstream.errors import BrokerUnavailable
from spendstream.topics import DEAD_LETTERS

__all__ = ["KafkaOffice"]


class KafkaOffice:
    """Sends dead letters to their topic; connects when the first one comes."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._producer: AIOKafkaProducer | None = None

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Send `letters`; on return all brokers in sync have them. Raises BrokerUnavailable."""
        if self._producer is None:
            self._producer = await connect_producer(self._servers)
        try:
            sent = [await self._send(self._producer, letter) for letter in letters]
            await asyncio.gather(*sent)
        except KafkaError as error:
            raise BrokerUnavailable(f"cannot keep dead letters: {error}", retry_after=1.0) from error

    @staticmethod
    async def _send(producer: AIOKafkaProducer, letter: DeadLetter) -> asyncio.Future[object]:
        sending: asyncio.Future[object] = await producer.send(
            DEAD_LETTERS.name, value=letter.value, key=letter.topic.encode(), headers=letter.headers()
        )
        return sending

    async def close(self) -> None:
        """Let go of the connection."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None
