"""Every emitted event arrives at least once and in order, whatever happens to Kafka and to the process."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import CollectorRegistry

from infra.local.broker import EmbeddedBroker
from spendstream.adapters import kafka
from spendstream.adapters.publisher import Publisher
from spendstream.codec import MAX_EVENT_BYTES
from spendstream.errors import AlreadyRunning, ConfigError, MalformedEvent, TransientError
from spendstream.topics import USAGE_TOKENS, Topic
from tests.fixtures.kafka import read_topic

TOPIC = USAGE_TOKENS.name
HEADERS = [("ce_specversion", b"1.0"), ("ce_type", b"test")]
KEYS = 12
_LONG = 30.0
_NOWHERE = "127.0.0.1:1"

EMIT_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from spendstream.adapters.publisher import Publisher

async def emit_for_ever(directory, servers):
    publisher = Publisher(Path(directory), servers, max_bytes=1 << 30, registry=CollectorRegistry())
    await publisher.start()
    number = 0
    while True:
        publisher.emit("usage.tokens", b"key-%d" % (number % 12), b"%d" % number, [])
        print("emitted", number, flush=True)
        number += 1
        await asyncio.sleep(0)

asyncio.run(emit_for_ever(*sys.argv[1:]))
"""


def publisher(
    directory: Path,
    servers: str,
    *,
    max_bytes: int = 1 << 26,
    registry: CollectorRegistry | None = None,
    ack_timeout: float = 1.5,
) -> Publisher:
    registry = registry or CollectorRegistry()
    return Publisher(directory, servers, max_bytes=max_bytes, registry=registry, ack_timeout=ack_timeout)


@asynccontextmanager
async def running(directory: Path, servers: str, **options) -> AsyncIterator[Publisher]:
    life = publisher(directory, servers, **options)
    await life.start()
    try:
        yield life
    finally:
        await life.stop(0)


def emit(life: Publisher, numbers: Iterable[int]) -> None:
    for number in numbers:
        life.emit(TOPIC, b"key-%d" % (number % KEYS), b"%d" % number, HEADERS)


async def arrived(servers: str) -> dict[bytes, list[int]]:
    """Return, for each key, the events that arrived, in order of their first arrival."""
    found: dict[bytes, dict[int, None]] = {}
    for record in await read_topic(servers, TOPIC):
        if not record.key.startswith(b"key-"):
            continue  # another test's, as tests share one Apache Kafka
        found.setdefault(record.key, {})[int(record.value)] = None
    return {key: list(numbers) for key, numbers in found.items()}


def in_order(numbers: Iterable[int]) -> dict[bytes, list[int]]:
    expected: dict[bytes, list[int]] = {}
    for number in numbers:
        expected.setdefault(b"key-%d" % (number % KEYS), []).append(number)
    return expected


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_LONG):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in another task
            await asyncio.sleep(0.005)


def emit_until_killed(directory: Path, servers: str, *, at_least: int) -> int:
    """Kill a process after it said that it emitted `at_least` events; return the last that it said so of."""
    command = [sys.executable, "-c", EMIT_UNTIL_KILLED, str(directory), servers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        matches = (re.fullmatch(rb"emitted (\d+)\n", line) for line in child.stdout)
        said = (int(match[1]) for match in matches if match)
        last = max(itertools.islice(said, at_least))
        child.kill()
        return max(said, default=last)


async def test_events_arrive_with_key_value_and_headers(tmp_path):
    with EmbeddedBroker() as broker:
        async with running(tmp_path, broker.servers) as life:
            life.emit(TOPIC, b"search", b"{}", HEADERS)
            assert await life.flush(_LONG) == 0
        (record,) = await read_topic(broker.servers, TOPIC)

    assert (record.key, record.value, list(record.headers)) == (b"search", b"{}", HEADERS)


async def test_events_wait_for_a_broker_that_starts_late(tmp_path):
    with EmbeddedBroker() as early:
        port = early.port
    async with running(tmp_path, f"127.0.0.1:{port}") as life:
        emit(life, range(2_000))
        assert await life.flush(0.3) == 2_000

        with EmbeddedBroker(port) as late:
            assert await life.flush(_LONG) == 0
            assert await arrived(late.servers) == in_order(range(2_000))


async def test_a_broker_that_dies_midway_gets_everything_it_has_not_acknowledged(tmp_path):
    with EmbeddedBroker() as first:
        async with running(tmp_path, first.servers) as life:
            emit(life, range(20_000))
            await until(lambda: life.owed_frames < 18_000)
            acknowledged = 20_000 - life.owed_frames
            first.kill()
            emit(life, range(20_000, 20_500))

            with EmbeddedBroker(first.port) as second:  # Tansu forgets: here is only what came after
                assert await life.flush(_LONG) == 0
                assert await arrived(second.servers) == in_order(range(acknowledged, 20_500))


@pytest.mark.kafka
async def test_nothing_is_lost_when_apache_kafka_dies_midway(tmp_path, apache):
    async with running(tmp_path, apache.servers) as life:
        emit(life, range(20_000))
        await until(lambda: life.owed_frames < 18_000)
        assert life.owed_frames
        await apache.restart()
        emit(life, range(20_000, 20_500))
        assert await life.flush(_LONG) == 0
        assert await arrived(apache.servers) == in_order(range(20_500))


@pytest.mark.parametrize("kafka_is_there", [True, False])
async def test_no_emitted_event_is_lost_by_kill_minus_9(tmp_path, kafka_is_there):
    with EmbeddedBroker() as broker:
        servers = broker.servers if kafka_is_there else _NOWHERE
        emitted = await asyncio.to_thread(emit_until_killed, tmp_path, servers, at_least=3_000)

        async with running(tmp_path, broker.servers) as life:
            assert await life.flush(_LONG) == 0
        found = await arrived(broker.servers)

    last = max(max(numbers) for numbers in found.values())
    assert found == in_order(range(last + 1))
    assert emitted <= last <= emitted + 1  # it may have died between emitting and saying so


async def test_the_next_life_ships_what_a_stop_without_kafka_left(tmp_path):
    life = publisher(tmp_path, _NOWHERE)
    await life.start()
    emit(life, range(100))
    assert await life.stop(0.05) == 100

    with EmbeddedBroker() as broker:
        async with running(tmp_path, broker.servers) as life:
            emit(life, range(100, 200))
            assert await life.flush(_LONG) == 0
            assert await arrived(broker.servers) == in_order(range(200))


async def test_a_full_spool_refuses_and_accepts_again_when_kafka_is_back(tmp_path):
    with EmbeddedBroker() as early:
        port = early.port
    async with running(tmp_path, f"127.0.0.1:{port}", max_bytes=20_000) as life:
        with pytest.raises(TransientError, match="is full"):
            emit(life, range(10_000))
        taken = life.owed_frames

        with EmbeddedBroker(port) as broker:
            assert await life.flush(_LONG) == 0
            emit(life, range(taken, taken + 10))
            assert await life.flush(_LONG) == 0
            assert await arrived(broker.servers) == in_order(range(taken + 10))


async def test_a_topic_with_the_wrong_partition_count_holds_events_back_until_it_is_mended(tmp_path):
    wrong = Topic(name=TOPIC, holds="", keyed_by="", partitions=3)
    with EmbeddedBroker() as broker:
        await kafka.ensure_topics(broker.servers, [wrong])
        async with running(tmp_path, broker.servers) as life:
            emit(life, range(10))
            assert await life.flush(0.5) == 10

            admin = AIOKafkaAdminClient(bootstrap_servers=broker.servers)
            await admin.start()
            await admin.delete_topics([TOPIC])
            await admin.close()
            assert await life.flush(_LONG) == 0
            assert await arrived(broker.servers) == in_order(range(10))


async def test_an_event_that_nobody_would_read_is_refused(tmp_path):
    async with running(tmp_path, _NOWHERE) as life:
        with pytest.raises(MalformedEvent, match="at most"):
            life.emit(TOPIC, b"", bytes(MAX_EVENT_BYTES + 1), [])
        life.emit(TOPIC, b"", bytes(MAX_EVENT_BYTES), [])
        assert life.owed_frames == 1


async def test_a_topic_that_is_not_ours_is_refused_before_it_holds_up_the_others(tmp_path):
    async with running(tmp_path, _NOWHERE) as life:
        with pytest.raises(ValueError, match="no topic of ours"):
            life.emit("usage.token", b"", b"{}", [])


async def test_two_publishers_cannot_share_a_spool(tmp_path):
    async with running(tmp_path, _NOWHERE):
        with pytest.raises(AlreadyRunning):
            await publisher(tmp_path, _NOWHERE).start()


async def test_a_spool_that_cannot_be_kept_is_a_configuration_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot keep a spool here"):
        await publisher(tmp_path / "file" / "spool", _NOWHERE).start()


async def test_a_publisher_that_is_not_running_takes_nothing(tmp_path):
    with pytest.raises(TransientError, match="not running"):
        emit(publisher(tmp_path, _NOWHERE), [1])


async def test_metrics_account_for_every_event(tmp_path):
    registry = CollectorRegistry()

    def value(name, **labels):
        return registry.get_sample_value(f"spendstream_publisher_{name}", labels)

    async with running(tmp_path, _NOWHERE) as life:
        emit(life, range(5))
    with EmbeddedBroker() as broker:
        life = publisher(tmp_path, broker.servers, registry=registry, ack_timeout=0.3)
        await life.start()
        emit(life, range(5, 12))
        assert (value("received_total"), value("recovered_total")) == (7, 5)
        assert (value("owed_frames"), value("sent_total")) == (12, 0)
        assert value("owed_bytes") > 12 * 8

        await life.flush(_LONG)
        assert (value("owed_frames"), value("owed_bytes"), value("sent_total")) == (0, 0, 12)
        broker.kill()
        emit(life, [12])
        await until(lambda: value("errors_total", stage="ship") > 0)
        await life.stop(0)
