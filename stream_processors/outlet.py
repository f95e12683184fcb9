"""What the processors themselves send to Kafka: dead letters, alerts, recommendations; acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from spendstream import alerts, recommendations
from spendstream.adapters.kafka import connect_producer
from spendstream.alerts import Alert
from spendstream.deadletters import DeadLetter
from spendstream.errors import BrokerUnavailable
from spendstream.recommendations import Recommendation
from spendstream.topics import ALERTS, DEAD_LETTERS, RECOMMENDATIONS, Topic

__all__ = ["Outlet"]

_Message = tuple[bytes, bytes | None, list[tuple[str, bytes]]]


class Outlet:
    """Sends to Kafka at `servers`; connects when there is something to send. Raises BrokerUnavailable."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Send dead letters; on return they are durable."""
        await self._send(
            DEAD_LETTERS, [(letter.topic.encode(), letter.value, letter.headers()) for letter in letters]
        )

    async def announce(self, news: Sequence[Alert]) -> None:
        """Send alerts; on return they are durable."""
        await self._send(
            ALERTS, [(alert.id.bytes, alerts.encode(alert), alerts.headers(alert)) for alert in news]
        )

    async def recommend(self, news: Sequence[Recommendation]) -> None:
        """Send recommendations; on return they are durable."""
        await self._send(
            RECOMMENDATIONS,
            [
                (each.cluster.encode(), recommendations.encode(each), recommendations.headers(each))
                for each in news
            ],
        )

    async def close(self) -> None:
        """Let go of the connection."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _send(self, topic: Topic, messages: Iterable[_Message]) -> None:
        producer = await self._connected()
        try:
            sending = [
                await producer.send(topic.name, key=key, value=value, headers=headers)
                for key, value, headers in messages
            ]
            await asyncio.gather(*sending)
        except KafkaError as error:
            raise BrokerUnavailable(f"{topic.name} takes nothing: {error}", retry_after=1.0) from error

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:  # or two that come first would make a producer each, and lose one
            if self._producer is None:
                self._producer = await connect_producer(self._servers)
            return self._producer
