"""What Spendstream asks of Kafka beyond reading and writing records: topics, offsets, a ready producer.

Every function takes the bootstrap servers, opens its own connection, and raises BrokerUnavailable when the
broker does not answer. Importing this module forbids aiokafka to create topics: a client that asks for a
topic that is not there would else get one with the broker's default partition count, which is final.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Literal

import aiokafka.client
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidReplicationFactorError,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorError,
    TopicAlreadyExistsError,
    UnknownError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from spendstream.adapters.kafka_metadata import TopicState, describe
from spendstream.errors import BrokerUnavailable, ConfigError
from spendstream.topics import ALL_TOPICS, DEAD_LETTERS, Topic

__all__ = [
    "Compression",
    "Incarnations",
    "TopicPartition",
    "committed_offsets",
    "connect_producer",
    "end_offsets",
    "ensure_topics",
    "leave_group",
    "missing_topics",
    "topic_incarnation",
]

Compression = Literal["gzip", "snappy", "lz4", "zstd"]

aiokafka.client.MetadataRequest = functools.partial(MetadataRequest, allow_auto_topic_creation=False)

_DEADLINE_S = 15.0
_REQUEST_MS = 10_000
_RETRY_S = 0.1
_BATCH_BYTES = 1 << 20
_FETCH_WAIT_MS = 100
_FETCH_BYTES = 1 << 20
_LATEST = -1
_DEFAULT_REPLICATION = -1
_NOT_COORDINATING = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
_NO_ANSWER = (KafkaError, OSError, TimeoutError)
# InitProducerId's ways to say no: Tansu's (an internal error), and an ACL's
_NO_PRODUCER_IDS = (UnknownError, ClusterAuthorizationFailedError)


async def connect_producer(servers: str, *, compression: Compression | None = "lz4") -> AIOKafkaProducer:
    """Return a started producer: acks=all, idempotent where the broker can, big enough for a dead letter.

    The caller stops it. Raises BrokerUnavailable.
    """
    async with _client(servers) as client, asyncio.timeout(_DEADLINE_S):
        idempotent = await _gives_producer_ids(client)
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        compression_type=compression,
        enable_idempotence=idempotent,
        max_batch_size=_BATCH_BYTES,
        max_request_size=DEAD_LETTERS.max_record_bytes,
        request_timeout_ms=_REQUEST_MS,
    )
    try:
        async with asyncio.timeout(_DEADLINE_S):
            await producer.start()
    except BaseException as error:
        await producer.stop()
        if isinstance(error, _NO_ANSWER):
            raise _unavailable(servers, error) from error
        raise
    return producer


async def ensure_topics(servers: str, topics: Sequence[Topic] = ALL_TOPICS) -> None:
    """Create the topics that are missing, and wait until all have leaders.

    Raises ConfigError when one exists with another partition count (it cannot be changed without moving keys
    between partitions) or the broker refuses one; BrokerUnavailable.
    """
    names = [topic.name for topic in topics]
    async with _client(servers) as client, asyncio.timeout(_DEADLINE_S):
        there = await describe(client, names)
        missing = [topic for topic in topics if topic.name not in there]
        if missing:
            await _create(client, missing)
        while len(there) < len(names) or not all(state.ready for state in there.values()):
            await asyncio.sleep(_RETRY_S)
            there = await describe(client, names)
        _check_partitions(topics, there)


async def missing_topics(servers: str, topics: Sequence[Topic] = ALL_TOPICS) -> list[str]:
    """Return the names of topics that are not there.

    Raises ConfigError when one exists with another partition count; BrokerUnavailable.
    """
    async with _client(servers) as client, asyncio.timeout(_DEADLINE_S):
        there = await describe(client, [topic.name for topic in topics])
        _check_partitions([topic for topic in topics if topic.name in there], there)
        return [topic.name for topic in topics if topic.name not in there]


async def topic_incarnation(servers: str, name: str) -> str:
    """Return the topic's unique id, 32 hex digits: it changes when the topic is deleted and created again.

    The embedded broker forgets its topics when it stops, so there it changes at every start.
    Raises ConfigError when there is no such topic; BrokerUnavailable.
    """
    async with _client(servers) as client:
        return (await _existing(client, servers, name)).id.hex


class Incarnations:
    """Asks for topics' incarnations over a connection that it keeps; see `topic_incarnation`."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._connection = AsyncExitStack()
        self._client: AIOKafkaClient | None = None
        self._asking = asyncio.Lock()

    async def of(self, name: str) -> str:
        """Return the topic's incarnation; raise ConfigError when there is none, and BrokerUnavailable."""
        async with self._asking:
            try:
                if self._client is None:
                    self._client = await self._connection.enter_async_context(_client(self._servers))
                async with asyncio.timeout(_DEADLINE_S):
                    return (await _existing(self._client, self._servers, name)).id.hex
            except _NO_ANSWER as error:
                await self._disconnect()
                raise _unavailable(self._servers, error) from error

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._asking:
            await self._disconnect()

    async def _disconnect(self) -> None:
        self._client = None
        await self._connection.aclose()


async def committed_offsets(servers: str, group: str) -> dict[TopicPartition, int]:
    """Return the next offset that `group` reads, for each partition it has committed.

    Partitions are named one by one: Tansu answers a request for "all" with a frame that does not parse.
    """
    async with _client(servers) as client, asyncio.timeout(_DEADLINE_S):
        states = await describe(client)
        wanted = [(name, sorted(state.leaders)) for name, state in states.items()]
        return {
            TopicPartition(name, partition): offset
            for name, partitions in await _fetch_offsets(client, group, wanted)
            for partition, offset, *_ in partitions
            if offset >= 0
        }


async def leave_group(servers: str, group: str, member: str) -> None:
    """End the membership of `member`, which is dead; one that the group does not know is no error.

    Else the others, and its successor, wait until its session is over. Raises BrokerUnavailable.
    """
    async with _client(servers) as client, asyncio.timeout(_DEADLINE_S):
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await client.send(coordinator, LeaveGroupRequest(group, member))


async def end_offsets(servers: str, topic: str) -> dict[int, int]:
    """Return the offset that the next record gets, for each partition of `topic`.

    It is read as a fetch's high watermark: Tansu answers ListOffsets(latest) with the base offset of the
    last batch, plus one. That offset serves as the place to fetch from, which keeps the answer small on any
    broker. Raises ConfigError when there is no such topic; BrokerUnavailable.
    """
    async with _client(servers) as client, asyncio.timeout(_DEADLINE_S):
        state = await _existing(client, servers, topic)
        while not state.ready:
            await asyncio.sleep(_RETRY_S)
            state = await _existing(client, servers, topic)
        ends: dict[int, int] = {}
        for node in set(state.leaders.values()):
            led = sorted(partition for partition, leader in state.leaders.items() if leader == node)
            ends |= await _high_watermarks(client, node, topic, led)
        return dict(sorted(ends.items()))


@asynccontextmanager
async def _client(servers: str) -> AsyncIterator[AIOKafkaClient]:
    """Give a connected client; say of every error in the block that it is the broker's."""
    client = AIOKafkaClient(bootstrap_servers=servers, request_timeout_ms=_REQUEST_MS)
    try:
        async with asyncio.timeout(_DEADLINE_S):
            await client.bootstrap()
        yield client
    except NotImplementedError as error:
        raise ConfigError(
            f"the broker at {servers} is too old: Apache Kafka 2.8 or newer is needed"
        ) from error
    except _NO_ANSWER as error:
        raise _unavailable(servers, error) from error
    finally:
        await client.close()


def _unavailable(servers: str, error: Exception) -> BrokerUnavailable:
    if isinstance(error, KafkaConnectionError):
        reason = "no connection; is it running, and is this its address?"
    else:
        reason = str(error) or f"no answer in {_DEADLINE_S:.0f} s"
    return BrokerUnavailable(f"Kafka at {servers}: {reason}")


async def _gives_producer_ids(client: AIOKafkaClient) -> bool:
    """Ask for a producer id, as an idempotent producer does; a fresh Apache Kafka has none at first."""
    while True:
        answer = await client.send(client.get_random_node(), InitProducerIdRequest(None, _REQUEST_MS))
        error = for_code(answer.error_code)
        if error in _NO_PRODUCER_IDS:
            return False
        if not error.retriable:
            _raise_for(answer.error_code)
            return True
        await asyncio.sleep(_RETRY_S)


async def _create(client: AIOKafkaClient, topics: Sequence[Topic]) -> None:
    wanted: list[Any] = [
        (topic.name, topic.partitions, _DEFAULT_REPLICATION, [], list(topic.settings.items()))
        for topic in topics
    ]
    answer = await client.send(client.get_random_node(), CreateTopicsRequest(wanted, _REQUEST_MS, False))
    refused = []
    for name, code, message in answer.topic_errors:
        error = for_code(code)
        if error.retriable or error is InvalidReplicationFactorError:  # brokers may still be registering
            raise error(message)
        if code and error is not TopicAlreadyExistsError:  # another process may create it at the same time
            refused.append(f"{name}: the broker refuses to create this topic: {message or error.__name__}")
    if refused:
        raise ConfigError("\n".join(refused))


def _check_partitions(topics: Sequence[Topic], there: dict[str, TopicState]) -> None:
    mistakes = [
        f"{topic.name}: the topic has {found} partitions, expected {topic.partitions}: "
        "their number decides where keys go; use another cluster, or delete the topic to start it anew"
        for topic in topics
        if (found := len(there[topic.name].leaders)) != topic.partitions
    ]
    if mistakes:
        raise ConfigError("\n".join(mistakes))


async def _existing(client: AIOKafkaClient, servers: str, name: str) -> TopicState:
    states = await describe(client, [name])
    if name not in states:
        raise ConfigError(f"{name}: no such topic on {servers}: run `spendstream migrate` to create it")
    return states[name]


async def _fetch_offsets(
    client: AIOKafkaClient, group: str, wanted: list[tuple[str, list[int]]]
) -> list[tuple[str, list[tuple[int, int, str, int]]]]:
    """Return (partition, offset, metadata, error) for each topic, once the group's coordinator is ready.

    A fresh Apache Kafka names none at first; one that was restarted answers while it still loads the offsets,
    with an error beside an empty list.
    """
    while True:
        with suppress(*_NOT_COORDINATING):
            coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
            answer = await client.send(coordinator, OffsetFetchRequest(group, wanted))
            _raise_for(answer.error_code)
            for _, partitions in answer.topics:
                for *_, code in partitions:
                    _raise_for(code)
            return list(answer.topics)
        await asyncio.sleep(_RETRY_S)


async def _high_watermarks(
    client: AIOKafkaClient, node: int, topic: str, partitions: list[int]
) -> dict[int, int]:
    latest = OffsetRequest(-1, 0, [(topic, [(partition, _LATEST) for partition in partitions])])
    starts = {}
    for _, answers in (await client.send(node, latest)).topics:
        for partition, code, _, offset in answers:
            _raise_for(code)
            starts[partition] = offset
    marks: dict[int, int] = {}
    while len(marks) < len(starts):  # Tansu leaves out what it did not reach within the wait
        asked = [(part, offset, _FETCH_BYTES) for part, offset in starts.items() if part not in marks]
        fetch = FetchRequest(_FETCH_WAIT_MS, 0, _FETCH_BYTES, 0, [(topic, asked)])
        for _, answers in (await client.send(node, fetch)).topics:
            for partition, code, high_watermark, *_ in answers:
                _raise_for(code)
                marks[partition] = high_watermark
    return marks


def _raise_for(code: int) -> None:
    if code:
        raise for_code(code)
