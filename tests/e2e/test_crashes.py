"""kill -9 of anything, at any moment, ends with the same totals: rows and windows of every size, exactly."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import Self

import pytest

from spendstream.topics import USAGE_TOKENS
from tests.e2e import accounts
from tests.fixtures.kafka import ApacheKafka
from tests.fixtures.stack import BROKERS, Pipeline, kafka_of, running, until

pytestmark = pytest.mark.timeout(240)

EVENTS = 30_000
SPEED = str(accounts.SPAN / 6)  # so that sending takes six seconds
LETTERS = 400


@pytest.fixture(scope="module", params=BROKERS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all crashes: each test looks at its own org."""
    directory = tmp_path_factory.mktemp("crashes")
    with running(directory, "worker", "sink", kafka=kafka_of(request)) as pipeline:
        yield pipeline


@pytest.fixture
def pipeline(shared: Pipeline) -> Pipeline:
    """The pipeline, with what a failed test left dead."""
    for name in ("clickhouse", "worker", "sink"):
        if name not in shared.parts:
            shared.start(name)
    return shared


def crash(pipeline: Pipeline, org: str, victims: Sequence[str], times: int) -> None:
    """Kill `victims` as soon as a seeded share of an org's rows has landed, and start them again; repeat.

    Rows land before their windows: at that moment most of what can go wrong is half done.
    """
    rnd = random.Random(org)
    for share in sorted(rnd.uniform(0.01, 0.8) for _ in range(times)):
        until(lambda due=share * EVENTS: accounts.landed(pipeline, org) >= due, f"{share:.0%} landed")
        pipeline.restart(*victims)


def poison(pipeline: Pipeline, name: str, letters: int) -> Counter[str]:
    """Send records that are no events; return what each of them must be found as in ClickHouse."""
    values = [f'{{"no event": "{name}", "number": {number}}}' for number in range(letters)]
    pipeline.send(USAGE_TOKENS.name, [(str(n % 7).encode(), v.encode()) for n, v in enumerate(values)])
    return Counter(values)


def dead_letters(pipeline: Pipeline, name: str) -> Counter[str]:
    rows = pipeline.rows(f"SELECT value, count() FROM dead_letter WHERE value LIKE '%{name}%' GROUP BY value")
    return Counter({value: letters for value, letters in rows})  # noqa: C416  # rows are lists


def check_dead_letters(pipeline: Pipeline, name: str, sent: Counter[str]) -> None:
    until(lambda: len(dead_letters(pipeline, name)) >= len(sent), "all dead letters there")
    assert dead_letters(pipeline, name) == sent


@pytest.mark.slow
def test_a_killed_worker_counts_everything_once(pipeline: Pipeline, tmp_path: Path) -> None:
    recording, org = tmp_path / "calls.jsonl", "worker"
    accounts.write_tokens(recording, org, EVENTS)
    sent = poison(pipeline, org, LETTERS)
    with pipeline.replaying(recording, "--speed", SPEED):
        crash(pipeline, org, ["worker"], times=2)
    accounts.check(pipeline, org, recording)
    check_dead_letters(pipeline, org, sent)
    pipeline.replay(recording)
    accounts.check(pipeline, org, recording)


@pytest.mark.slow
def test_a_killed_clickhouse_and_a_killed_sink_lose_and_double_nothing(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    recording, org = tmp_path / "pods.jsonl", "clickhouse"
    accounts.write_pods(recording, org, EVENTS)
    with pipeline.replaying(recording, "--speed", SPEED):
        first = poison(pipeline, "first-wave", LETTERS)
        until(lambda: dead_letters(pipeline, "first-wave"), "the first dead letter there")
        pipeline.restart("sink")
        crash(pipeline, org, ["clickhouse"], times=2)
        second = poison(pipeline, "second-wave", LETTERS)
        crash(pipeline, org, ["clickhouse"], times=2)
        pipeline.restart("sink")
    accounts.check(pipeline, org, recording)
    check_dead_letters(pipeline, "first-wave", first)
    check_dead_letters(pipeline, "second-wave", second)
    pipeline.replay(recording)
    accounts.check(pipeline, org, recording)


@pytest.mark.slow
def test_a_power_cut_of_all_but_the_broker_changes_no_total(pipeline: Pipeline, tmp_path: Path) -> None:
    recording, org = tmp_path / "calls.jsonl", "power"
    accounts.write_tokens(recording, org, EVENTS)
    with pipeline.replaying(recording, "--speed", SPEED):
        sent = poison(pipeline, org, LETTERS)
        crash(pipeline, org, ["worker", "sink", "clickhouse"], times=1)
    accounts.check(pipeline, org, recording)
    check_dead_letters(pipeline, org, sent)


@pytest.mark.parametrize("shared", BROKERS[1:], indirect=True)
def test_a_killed_broker_keeps_what_it_acknowledged(
    pipeline: Pipeline, apache: ApacheKafka, tmp_path: Path
) -> None:
    recording, org = tmp_path / "calls.jsonl", "broker"
    accounts.write_tokens(recording, org, EVENTS)
    with pipeline.replaying(recording, "--speed", SPEED):
        until(lambda: accounts.landed(pipeline, org) > EVENTS / 10, "a tenth landed")
        asyncio.run(apache.restart())
    accounts.check(pipeline, org, recording)


class Callers:
    """Clients of a gateway that go on through its crashes, and remember the replies they got to the end."""

    def __init__(self, pipeline: Pipeline, org: str, clients: int) -> None:
        self.replies: dict[str, tuple[int, int, int]] = {}
        self._address = pipeline.gateway.removeprefix("http://")
        self._org = org
        self._users = count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call_on) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call_on(self) -> None:
        while not self._stop.is_set():
            user = next(self._users)
            with suppress(OSError, HTTPException):  # killed before the reply was complete
                self.replies[f"user-{user}"] = self._call(f"user-{user}", stream=user % 2 == 0)

    def _call(self, user: str, *, stream: bool) -> tuple[int, int, int]:
        """Return a reply's status, and its tokens in and out; raise HTTPException for half a reply."""
        body = {
            "model": "claude-haiku",
            "messages": [{"role": "user", "content": f"How much does {user} spend?"}],
            "max_tokens": 5,
            "stream": stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        connection = HTTPConnection(self._address, timeout=30)
        try:
            connection.request(
                "POST", "/v1/chat/completions", json.dumps(body),
                {"x-spendstream-org": self._org, "x-spendstream-user": user},
            )  # fmt: skip
            response = connection.getresponse()
            reply = response.read()
        finally:
            connection.close()
        if response.status != 200:
            return response.status, 0, 0
        if stream:
            *_, reply, done = [line.removeprefix(b"data: ") for line in reply.splitlines() if line]
            if done != b"[DONE]":
                raise HTTPException("half a stream")
        usage = json.loads(reply)["usage"]
        return response.status, usage["prompt_tokens"], usage["completion_tokens"]


@pytest.mark.slow
def test_every_call_that_a_killed_gateway_replied_to_lands_once(pipeline: Pipeline) -> None:
    org, rnd = "gateway", random.Random(7)
    pipeline.start("gateway")
    with Callers(pipeline, org, clients=12) as callers:
        for _ in range(4):
            due = len(callers.replies) + rnd.randrange(5, 40)
            until(lambda due=due: len(callers.replies) >= due, "replies")
            pipeline.restart("gateway")
        due = len(callers.replies) + 5
        until(lambda: len(callers.replies) >= due, "replies after the last crash")
    assert pipeline.stop("gateway") == 0
    pipeline.wait_drained()
    rows = pipeline.rows(
        f"SELECT user, status, input_tokens, output_tokens FROM token_usage WHERE org = '{org}'"
    )
    landed = Counter(user for user, *_ in rows)
    assert set(landed.values()) == {1}
    assert {user: tuple(row) for user, *row in rows if user in callers.replies} == callers.replies
    counted = pipeline.value(
        f"SELECT sum(events) FROM cost_window WHERE org = '{org}' AND window_seconds = 60"
    )
    assert counted == len(rows)


@pytest.mark.slow
def test_all_counts_after_the_whole_embedded_stack_was_killed_and_began_anew(tmp_path: Path) -> None:
    before, after, org = tmp_path / "before.jsonl", tmp_path / "after.jsonl", "anew"
    accounts.write_tokens(before, org, 5000, seed=1)
    accounts.write_tokens(after, org, 5000, seed=2)  # other events, of the same windows
    pipeline = Pipeline(tmp_path / "data")
    try:
        pipeline.up("worker").replay(before)
        pipeline.close()  # what the broker held is gone, and offsets begin at 0 again
        pipeline.up("worker").replay(after)
        accounts.check(pipeline, org, before, after)
        pipeline.replay(before)
        accounts.check(pipeline, org, before, after)
        pipeline.stop_all()
    finally:
        pipeline.close()
