"""A dead member can be made to leave its group: its successor need not wait for its session to end."""

from __future__ import annotations

import asyncio
import uuid

from aiokafka import AIOKafkaConsumer

from spendstream.adapters.kafka import ensure_topics, leave_group
from spendstream.topics import USAGE_TOKENS
from tests.fixtures.kafka import Broker

# The embedded broker lets a first member wait for about as long as its session.
SESSION_MS = {"embedded": 6_000, "apache": 60_000}
SOON_S = 30


async def joined(broker: Broker, group: str) -> AIOKafkaConsumer:
    """Return a member of a group that has all partitions."""
    consumer = AIOKafkaConsumer(
        USAGE_TOKENS.name,
        bootstrap_servers=broker.servers,
        group_id=group,
        session_timeout_ms=SESSION_MS[broker.name],
    )
    try:
        async with asyncio.timeout(SOON_S):
            await consumer.start()
            while not consumer.assignment():  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.05)
    except BaseException:
        await consumer.stop()
        raise
    return consumer


async def dies(consumer: AIOKafkaConsumer) -> str:
    """End a member as a crash does, without a word to the group; return its name."""
    member: str = consumer._coordinator.member_id
    consumer._coordinator._group_instance_id = "a static member does not leave"
    await consumer.stop()
    return member


async def test_the_successor_of_a_member_that_left_is_there_long_before_its_session_ends(
    broker: Broker,
) -> None:
    await ensure_topics(broker.servers, [USAGE_TOKENS])
    group = f"leaving-{uuid.uuid4().hex}"
    dead = await dies(await joined(broker, group))
    await leave_group(broker.servers, group, dead)
    successor = await joined(broker, group)
    assert len(successor.assignment()) == USAGE_TOKENS.partitions
    await successor.stop()


async def test_a_member_that_the_group_does_not_know_is_no_error(broker: Broker) -> None:
    await leave_group(broker.servers, f"leaving-{uuid.uuid4().hex}", "nobody")
