"""What Spendstream relies on in a broker: the same bodies run on the embedded one and on Apache Kafka.

Where the two differ, the test says how, by the broker's name.
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from infra.local.broker import EmbeddedBroker
from spendstream.adapters import kafka
from spendstream.errors import BrokerUnavailable, ConfigError
from spendstream.topics import ALL_TOPICS, USAGE_TOKENS, Topic
from tests.fixtures.kafka import read_topic

_LONG = 30.0
_SESSION_MS = 1_500

MEMBER_UNTIL_KILLED = f"""
import asyncio, sys
from aiokafka import AIOKafkaConsumer

async def read_for_ever(servers, topic, group):
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, group_id=group, enable_auto_commit=False,
                                session_timeout_ms={_SESSION_MS}, heartbeat_interval_ms=200)
    await consumer.start()
    while True:
        await consumer.getmany(timeout_ms=100)
        print(len(consumer.assignment()), flush=True)

asyncio.run(read_for_ever(*sys.argv[1:]))
"""


def fresh(partitions: int = 4, **settings) -> Topic:
    name = f"contract.{uuid.uuid4().hex}"
    return Topic(name=name, holds="", keyed_by="", partitions=partitions, **settings)


async def created(servers: str, partitions: int = 4) -> str:
    topic = fresh(partitions)
    await kafka.ensure_topics(servers, [topic])
    return topic.name


@asynccontextmanager
async def producer(servers: str, **options) -> AsyncIterator[AIOKafkaProducer]:
    connected = await kafka.connect_producer(servers, **options)
    try:
        yield connected
    finally:
        await connected.stop()


async def fill(servers: str, topic: str, records: int, partition: int | None = None) -> None:
    async with producer(servers) as connected:
        sent = [
            await connected.send(topic, b"%d" % number, b"%d" % number, partition=partition)
            for number in range(records)
        ]
        await asyncio.gather(*sent)


@asynccontextmanager
async def admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def member(servers: str, topic: str, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=_SESSION_MS,
        heartbeat_interval_ms=200,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def take(consumer: AIOKafkaConsumer, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(_LONG):
        while len(found) < count:
            for block in (await consumer.getmany(timeout_ms=100)).values():
                found += [int(record.value) for record in block]
    return found


async def delete(servers: str, topic: str) -> None:
    async with admin(servers) as client, asyncio.timeout(_LONG):
        await client.delete_topics([topic])
        while topic in await client.list_topics():  # noqa: ASYNC110  # the broker tells nobody
            await asyncio.sleep(0.05)


async def settings_of(servers: str, topic: str) -> dict[str, str]:
    async with admin(servers) as client:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    entries = answer.to_object()["resources"][0]["config_entries"]
    return {entry["config_names"]: entry["config_value"] for entry in entries}


async def test_topics_are_created_with_their_partitions_and_settings(broker):
    topic = fresh(partitions=3, retention_ms=86_400_000, cleanup="compact", max_record_bytes=123_456)
    await kafka.ensure_topics(broker.servers, [topic])

    assert sorted(await kafka.end_offsets(broker.servers, topic.name)) == [0, 1, 2]
    assert topic.settings.items() <= (await settings_of(broker.servers, topic.name)).items()


async def test_our_own_topics_are_accepted_and_stay_when_asked_for_again(broker):
    await kafka.ensure_topics(broker.servers)
    before = [await kafka.topic_incarnation(broker.servers, topic.name) for topic in ALL_TOPICS]
    await asyncio.gather(*(kafka.ensure_topics(broker.servers) for _ in range(3)))
    assert [await kafka.topic_incarnation(broker.servers, topic.name) for topic in ALL_TOPICS] == before


async def test_a_topic_with_another_partition_count_is_a_configuration_error(broker):
    topic = fresh(partitions=2)
    await kafka.ensure_topics(broker.servers, [topic])
    wanted = [msgspec.structs.replace(topic, partitions=5), fresh()]
    with pytest.raises(ConfigError, match=f"{topic.name}: the topic has 2 partitions, expected 5"):
        await kafka.ensure_topics(broker.servers, wanted)


async def test_nobody_creates_a_topic_by_asking_for_it(broker):
    name = fresh().name
    producer = AIOKafkaProducer(bootstrap_servers=broker.servers, request_timeout_ms=500)
    await producer.start()
    with pytest.raises(UnknownTopicOrPartitionError):
        await producer.send(name, b"")
    await producer.stop()
    with pytest.raises(ConfigError, match="no such topic"):
        await kafka.topic_incarnation(broker.servers, name)


async def test_a_client_that_may_create_topics_would_get_the_wrong_partition_count(broker):
    """Why `spendstream.adapters.kafka` forbids it: the count is the broker's, and final."""
    name = fresh().name
    client = AIOKafkaClient(bootstrap_servers=broker.servers)
    await client.bootstrap()
    async with asyncio.timeout(_LONG):
        while True:
            answer = await client.send(client.get_random_node(), MetadataRequest([name], True))
            if partitions := answer.to_object()["topics"][0]["partitions"]:
                break
    await client.close()
    assert len(partitions) == {"embedded": 4, "apache": 1}[broker.name]


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_records_come_back_as_they_were_sent(broker, compression):
    topic = await created(broker.servers, partitions=1)
    sent = [
        (b"%d" % number, b"value %d" % number * 50, 1_600_000_000_000 + number, (("ce_id", b"%d" % number),))
        for number in range(500)
    ] + [(b"tombstone", None, 1_600_000_001_000, ())]
    async with producer(broker.servers, compression=compression) as connected:
        acknowledged = [
            await connected.send(topic, value, key, timestamp_ms=timestamp, headers=list(headers))
            for key, value, timestamp, headers in sent
        ]
        await asyncio.gather(*acknowledged)

    found = await read_topic(broker.servers, topic)
    assert [(r.key, r.value, r.timestamp, tuple(r.headers)) for r in found] == sent


async def test_a_partition_keeps_the_order_of_one_producer(broker):
    topic = await created(broker.servers)
    await fill(broker.servers, topic, 3_000, partition=2)
    found = await read_topic(broker.servers, topic)
    assert [int(record.value) for record in found] == list(range(3_000))
    assert [record.offset for record in found] == list(range(3_000))


async def test_a_record_of_five_megabytes_passes(broker):
    await kafka.ensure_topics(broker.servers)
    value = os.urandom(5 << 20)
    async with producer(broker.servers) as connected:
        place = await connected.send_and_wait(USAGE_TOKENS.name, value, b"big")
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.servers)
    await consumer.start()
    consumer.assign([place.topic_partition])
    consumer.seek(place.topic_partition, place.offset)
    async with asyncio.timeout(_LONG):
        record = await consumer.getone()
    await consumer.stop()
    assert record.value == value


async def test_end_offsets_count_every_record(broker):
    topic = await created(broker.servers, partitions=3)
    assert await kafka.end_offsets(broker.servers, topic) == {0: 0, 1: 0, 2: 0}
    await fill(broker.servers, topic, 40, partition=0)
    await fill(broker.servers, topic, 2, partition=2)
    assert await kafka.end_offsets(broker.servers, topic) == {0: 40, 1: 0, 2: 2}


async def test_the_clients_own_end_offsets_are_right_on_apache_kafka_only(broker):
    """Why lag is never computed from ListOffsets: Tansu answers with the last batch's base offset, plus 1."""
    topic = await created(broker.servers, partitions=1)
    async with producer(broker.servers) as connected:
        batch = connected.create_batch()
        for _ in range(40):
            batch.append(timestamp=None, key=None, value=b"x")
        await (await connected.send_batch(batch, topic, partition=0))
    place = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.servers)
    await consumer.start()
    ends = await consumer.end_offsets([place])
    await consumer.stop()
    assert ends[place] == {"embedded": 1, "apache": 40}[broker.name]


async def test_a_group_resumes_where_it_has_committed(broker):
    topic = await created(broker.servers, partitions=1)
    place = TopicPartition(topic, 0)
    await fill(broker.servers, topic, 10)
    group = f"group.{topic}"
    assert await kafka.committed_offsets(broker.servers, group) == {}

    async with member(broker.servers, topic, group) as reader:
        assert await take(reader, 10) == list(range(10))
        await reader.commit({place: 6})
    assert await kafka.committed_offsets(broker.servers, group) == {place: 6}
    async with member(broker.servers, topic, group) as reader:
        assert await take(reader, 4) == [6, 7, 8, 9]


async def test_members_share_the_partitions_and_take_over_from_one_that_dies(broker):
    topic = await created(broker.servers, partitions=4)
    group = f"group.{topic}"
    await fill(broker.servers, topic, 400)
    command = [sys.executable, "-c", MEMBER_UNTIL_KILLED, broker.servers, topic, group]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)

    async def child_has(partitions: int) -> None:
        async with asyncio.timeout(_LONG):
            while int(await child.stdout.readline()) != partitions:
                pass

    try:
        await child_has(4)
        async with member(broker.servers, topic, group) as survivor:
            await child_has(2)
            child.kill()
            found = await take(survivor, 400)
            assert len(survivor.assignment()) == 4
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()
    assert sorted(set(found)) == list(range(400))


async def test_an_incarnation_is_stable_until_the_topic_is_made_anew(broker):
    topic = fresh()
    await kafka.ensure_topics(broker.servers, [topic])
    first = await kafka.topic_incarnation(broker.servers, topic.name)
    await fill(broker.servers, topic.name, 5)
    assert await kafka.topic_incarnation(broker.servers, topic.name) == first
    assert len(bytes.fromhex(first)) == 16

    await delete(broker.servers, topic.name)
    await kafka.ensure_topics(broker.servers, [topic])
    assert await kafka.topic_incarnation(broker.servers, topic.name) != first


async def test_producers_are_idempotent_where_the_broker_gives_producer_ids(broker):
    async with producer(broker.servers) as connected:
        assert (connected._txn_manager is not None) == (broker.name == "apache")


async def test_no_broker_is_told_apart_from_a_broker_without_the_topic(broker):
    with pytest.raises(BrokerUnavailable, match="no connection"):
        await kafka.end_offsets("127.0.0.1:1", USAGE_TOKENS.name)
    with pytest.raises(ConfigError, match="no such topic"):
        await kafka.end_offsets(broker.servers, fresh().name)


@pytest.mark.kafka
async def test_apache_kafka_keeps_records_offsets_and_incarnations_over_a_crash(apache):
    topic = await created(apache.servers, partitions=1)
    place = TopicPartition(topic, 0)
    await fill(apache.servers, topic, 100)
    async with member(apache.servers, topic, f"group.{topic}") as reader:
        await take(reader, 100)
        await reader.commit({place: 60})
    incarnation = await kafka.topic_incarnation(apache.servers, topic)

    await apache.restart()

    assert await kafka.topic_incarnation(apache.servers, topic) == incarnation
    assert await kafka.committed_offsets(apache.servers, f"group.{topic}") == {place: 60}
    assert len(await read_topic(apache.servers, topic)) == 100


async def test_the_embedded_broker_forgets_all_and_says_so_by_new_incarnations():
    topic = fresh()
    with EmbeddedBroker() as broker:
        await kafka.ensure_topics(broker.servers, [topic])
        await fill(broker.servers, topic.name, 10)
        before = await kafka.topic_incarnation(broker.servers, topic.name)
    with EmbeddedBroker(broker.port) as broker:
        await kafka.ensure_topics(broker.servers, [topic])
        assert await kafka.topic_incarnation(broker.servers, topic.name) != before
        assert await read_topic(broker.servers, topic.name) == []
