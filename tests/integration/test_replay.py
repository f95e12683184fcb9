"""Replay and record against a real broker: order, keys, headers, retries, landing, and the round trip."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.local.broker import EmbeddedBroker
from producers import recordings
from producers.pace import MAX_SPEED
from producers.recorder import record
from producers.replay import Replayed, replay, wait_until_landed
from producers.streams import POD_STREAM, TOKEN_STREAM, stream_of
from spendstream.adapters.kafka import connect_producer, ensure_topics
from spendstream.errors import ConfigError, TransientError, UnknownPrice
from spendstream.events import Event, PodUsage, TokenUsage
from spendstream.ids import derived_id
from spendstream.topics import WORKER_GROUP
from tests.fixtures.kafka import Broker, read_topic

TOKENS, PODS = TOKEN_STREAM.topic.name, POD_STREAM.topic.name
DEADLINE = 60.0
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{second:02}.0000000,1000,100\n" for second in range(60)
)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that no other test sends to, and that may be killed."""
    with EmbeddedBroker(log=tmp_path / "broker.log") as broker:
        yield broker


@dataclass
class Told:
    """A progress that remembers."""

    acknowledged: int = 0
    reasons: list[str] = field(default_factory=list)

    def sent(self, events: int) -> None:
        self.acknowledged += events

    def waiting(self, reason: str) -> None:
        self.reasons.append(reason)


def calls(count: int, run: bytes = b"run") -> list[TokenUsage]:
    return [
        TokenUsage(
            id=derived_id(row * 1000, run, row),
            event_time=row * 1000,
            source="test",
            team=f"team-{row % 7}",
            model="gpt-4",
            input_tokens=row,
            output_tokens=1,
            cost=row + 1 if row % 2 else None,
        )
        for row in range(count)
    ]


def pods(count: int, run: bytes = b"run") -> list[PodUsage]:
    return [
        PodUsage(
            id=derived_id(row, run, row),
            event_time=row,
            end_time=row + 1,
            source="test",
            cluster="a",
            namespace="n",
            pod="p",
            cost=2,
        )
        for row in range(count)
    ]


async def sent(events: Sequence[Event], servers: str) -> Replayed:
    async with asyncio.timeout(DEADLINE):
        return await replay(events, servers, speed=MAX_SPEED, progress=Told())


async def arrived(servers: str, topic: str, events: Sequence[Event]) -> dict[int, list[Event]]:
    """Those of `events` that are in a topic, by partition and in order."""
    wanted = {event.id for event in events}
    codec = stream_of(events[0]).codec
    found: dict[int, list[Event]] = {}
    entries = await read_topic(servers, topic)
    decoded, _, _ = codec.decode_block([entry.value for entry in entries])  # others send what is no event
    for entry, event in zip(entries, decoded, strict=True):
        if event is not None and event.id in wanted:
            found.setdefault(entry.partition, []).append(event)
    return found


async def test_every_event_arrives_once_and_in_the_order_of_its_key(broker: Broker) -> None:
    run = os.urandom(8)
    events = calls(5000, run)
    await sent(events, broker.servers)
    by_partition = await arrived(broker.servers, TOKENS, events)
    got = [event for partition in by_partition.values() for event in partition]
    for team in {event.team for event in events}:
        assert [e for e in got if e.team == team] == [e for e in events if e.team == team]
    for partition in by_partition.values():
        assert {event.team for event in partition}.isdisjoint(
            event.team for other in by_partition.values() if other is not partition for event in other
        )


async def test_the_summary_adds_up(own_broker: EmbeddedBroker) -> None:
    events = [*calls(100), *pods(50)]
    replayed = await sent(events, own_broker.servers)
    assert replayed.topics == {TOKENS: 100, PODS: 50}
    assert replayed.tokens == {
        "input_tokens": sum(range(100)),
        "output_tokens": 100,
        "cache_read_tokens": 0,
    }
    assert (replayed.cost, replayed.unpriced) == (sum(range(2, 101, 2)) + 100, 50)


async def test_a_record_has_its_key_its_cloudevents_headers_and_the_time_of_sending(
    own_broker: EmbeddedBroker,
) -> None:
    before = time.time_ns() // 10**6
    [call], [pod] = calls(1), pods(1)
    await sent([call, pod], own_broker.servers)
    [token_record] = await read_topic(own_broker.servers, TOKENS)
    [pod_record] = await read_topic(own_broker.servers, PODS)
    assert (token_record.key, pod_record.key) == (b"team-0", b"a")
    assert list(token_record.headers) == TOKEN_STREAM.codec.headers(call)
    assert before <= token_record.timestamp <= time.time_ns() // 10**6


async def test_chunks_of_several_megabytes_stay_in_order(own_broker: EmbeddedBroker) -> None:
    events = [
        TokenUsage(
            id=derived_id(0, b"", row), event_time=0, source="test", team="t", model="m", route="r" * 511
        )
        for row in range(4500)
    ]
    await sent(events, own_broker.servers)
    [partition] = (await arrived(own_broker.servers, TOKENS, events)).values()
    assert partition == events


async def test_an_error_of_the_first_event_sends_nothing_and_asks_for_no_broker() -> None:
    def unpriced() -> Iterator[Event]:
        raise UnknownPrice("no price")
        yield

    with pytest.raises(UnknownPrice):
        await replay(unpriced(), "127.0.0.1:1", speed=MAX_SPEED, progress=Told())


class Starting(Told):
    """Starts the broker when the replay says that it waits."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        super().__init__()
        self._broker = broker

    def waiting(self, reason: str) -> None:
        super().waiting(reason)
        if not self._broker.pid:
            self._broker.start()


class Restarting(Starting):
    """Kills the broker after the first chunk, too."""

    def sent(self, events: int) -> None:
        super().sent(events)
        if self.acknowledged == events:
            self._broker.kill()


async def test_a_broker_that_goes_away_is_waited_for_and_gets_all_that_follows(tmp_path: Path) -> None:
    events = calls(7000)
    with EmbeddedBroker(log=tmp_path / "broker.log") as any_port:
        port = any_port.port
    with EmbeddedBroker(port, log=tmp_path / "broker.log") as broker:
        progress = Restarting(broker)
        async with asyncio.timeout(DEADLINE):
            replayed = await replay(events, broker.servers, speed=MAX_SPEED, progress=progress)
        left = await arrived(broker.servers, TOKENS, events)
    assert replayed.events == progress.acknowledged == len(events)
    assert progress.reasons
    kept = sorted((event for partition in left.values() for event in partition), key=lambda e: e.event_time)
    assert kept == events[-len(kept) :]  # this broker forgets what it had before; after that, no hole
    assert len(events) - len(kept) == 2000


async def test_a_broker_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "broker.log") as any_port:
        port = any_port.port
    broker = EmbeddedBroker(port, log=tmp_path / "broker.log")
    progress = Starting(broker)
    try:
        async with asyncio.timeout(DEADLINE):
            replayed = await replay(calls(1), f"127.0.0.1:{port}", speed=MAX_SPEED, progress=progress)
    finally:
        broker.stop()
    assert replayed.events == 1
    assert "no connection" in progress.reasons[0]


@asynccontextmanager
async def worker(servers: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer with the name of the stream processors' group; it commits only when told to."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=WORKER_GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def test_waiting_ends_when_the_worker_has_committed_the_last_event(own_broker: EmbeddedBroker) -> None:
    replayed = await sent(pods(10), own_broker.servers)
    [place] = {
        TopicPartition(PODS, record.partition) for record in await read_topic(own_broker.servers, PODS)
    }
    async with worker(own_broker.servers, PODS) as consumer, asyncio.timeout(DEADLINE):
        while place not in consumer.assignment():
            await consumer.getmany(timeout_ms=50)
        await consumer.commit({place: 9})
        with pytest.raises(TransientError, match="1 partitions have not landed: is `spendstream worker`"):
            await wait_until_landed(own_broker.servers, replayed.topics, timeout=1, progress=Told())
        await consumer.commit({place: 10})
        await wait_until_landed(own_broker.servers, replayed.topics, timeout=DEADLINE, progress=Told())


async def test_what_is_recorded_and_replayed_are_the_same_events(
    own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    events, path = calls(3000), tmp_path / "a.parquet"
    await sent(events, own_broker.servers)
    recorded = await record(
        own_broker.servers, TOKENS, path, stop=asyncio.Event(), from_start=True, count=3000, seconds=DEADLINE
    )
    assert (recorded.events, recorded.malformed) == (3000, 0)
    assert sorted(recordings.read(path), key=lambda event: event.event_time) == events


async def test_malformed_records_are_left_out_counted_and_explained(
    own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    [event] = calls(1)
    await ensure_topics(own_broker.servers)
    producer = await connect_producer(own_broker.servers)
    for value in (b"not json", TOKEN_STREAM.codec.encode(event), b"{}", None):
        await producer.send_and_wait(TOKENS, value, key=b"k", partition=0)
    await producer.stop()
    path = tmp_path / "a.jsonl"
    recorded = await record(
        own_broker.servers, TOKENS, path, stop=asyncio.Event(), from_start=True, seconds=2
    )
    assert (recorded.events, recorded.malformed) == (1, 3)
    assert "malformed" in recorded.first_reason
    assert list(recordings.read(path)) == [event]


async def begun(path: Path) -> None:
    """Return once a recorder has found the topic's ends, and opened its file."""
    while not path.with_name(f"{path.name}.partial").exists():  # noqa: ASYNC110 - it is another's file
        await asyncio.sleep(0.02)


async def test_recording_begins_with_what_arrives_from_now_on(
    own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    old, new, stop, path = calls(50, b"old"), calls(50, b"new"), asyncio.Event(), tmp_path / "a.jsonl.zst"
    await sent(old, own_broker.servers)
    recording = asyncio.create_task(record(own_broker.servers, TOKENS, path, stop=stop, count=50))
    async with asyncio.timeout(DEADLINE):
        await begun(path)
        await sent(new, own_broker.servers)
        assert (await recording).events == 50
    assert sorted(recordings.read(path), key=lambda event: event.event_time) == new


async def test_a_topic_without_usage_events_cannot_be_recorded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"deadletter.*usage\.tokens or usage\.pods"):
        await record("127.0.0.1:1", "deadletter", tmp_path / "a.jsonl", stop=asyncio.Event())


async def spendstream(*arguments: str | Path, servers: str = "") -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPENDSTREAM_")}
    environment["SPENDSTREAM_KAFKA"] = servers
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "spendstream", *arguments, env=environment, stdout=PIPE, stderr=PIPE
    )


async def test_the_command_replays_a_trace_and_repeats_it_with_the_same_ids(
    own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    for _ in range(2):
        command = await spendstream("replay", path, "--json", "--team", "search", servers=own_broker.servers)
        out, err = await command.communicate()
        assert (command.returncode, err) == (0, b"")
        summary = json.loads(out, parse_float=Decimal)
        assert summary.pop("seconds") >= 0
        assert summary == {
            "format": "azure-llm",
            "events": 60,
            "topics": {TOKENS: 60},
            "input_tokens": 60_000,
            "output_tokens": 6_000,
            "cache_read_tokens": 0,
            "cost_usd": Decimal("2.16"),
            "unpriced": 0,
            "landed": False,
        }
    records = await read_topic(own_broker.servers, TOKENS)
    events, _, _ = TOKEN_STREAM.codec.decode_block([entry.value for entry in records])
    assert events[:60] == events[60:]
    assert {event.team for event in events} == {"search"}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--model", "no-such-model"], 1, "no price covers model 'no-such-model'"),
        (["--speed", "fast"], 2, "expected max, or a number"),
        (["--speed", "0"], 2, "expected max, or a number"),
        (["--start", "2024-01-01"], 2, "--start: means nothing for format azure-llm"),
        (["--format", "mooncake"], 2, "row 1: expected an object with timestamp"),
    ],
)
async def test_a_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    command = await spendstream("replay", path, *options, servers="127.0.0.1:1")
    _, err = await command.communicate()
    assert command.returncode == code
    assert len(err.splitlines()) == 1
    assert message in err.decode()


async def test_ctrl_c_completes_a_recording(own_broker: EmbeddedBroker, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    events = calls(20)
    await sent(events, own_broker.servers)
    command = await spendstream("record", TOKENS, path, "--from-start", servers=own_broker.servers)
    async with asyncio.timeout(DEADLINE):
        await begun(path)
        command.send_signal(signal.SIGINT)
        out, _ = await command.communicate()
    assert command.returncode == 0
    assert f"events of usage.tokens recorded in {path}" in out.decode()
    assert {event.id for event in recordings.read(path)} <= {event.id for event in events}


async def test_sigterm_ends_the_load_generator_with_a_summary() -> None:
    called = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        called.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        command = await spendstream("load", "--url", f"{host}:{port}", "--rate", "50", "--json")
        async with asyncio.timeout(DEADLINE):
            await called.wait()
            command.terminate()
            out, err = await command.communicate()
    finally:
        await runner.cleanup()
    assert command.returncode == 0, err
    summary = json.loads(out)
    assert summary["calls"] == summary["statuses"]["200"] >= 1
