"""The worker as a process: it finishes cleanly, waits for what is away, and shares partitions with others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import accounts
from tests.fixtures.stack import BROKERS, Pipeline, kafka_of, running, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("worker")]


@pytest.fixture(scope="module", params=BROKERS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all tests here: each looks at its own org."""
    with running(tmp_path_factory.mktemp("worker"), "worker", kafka=kafka_of(request)) as pipeline:
        yield pipeline


@pytest.fixture
def pipeline(shared: Pipeline) -> Iterator[Pipeline]:
    """The pipeline with one worker."""
    if "worker" not in shared.parts:
        shared.start("worker")
    yield shared
    if "worker-2" in shared.parts:
        shared.kill("worker-2")


def test_sigterm_commits_what_has_landed_and_exits_0(pipeline: Pipeline, tmp_path: Path) -> None:
    recording, org = tmp_path / "calls.jsonl", "sigterm"
    accounts.write_tokens(recording, org, 500)
    pipeline.run("replay", str(recording))
    until(lambda: accounts.stored_windows(pipeline, org) == accounts.expected_windows(recording), "all there")
    assert pipeline.stop("worker") == 0
    assert pipeline.drained()


@pytest.mark.slow
def test_sigterm_in_the_middle_commits_nothing_that_has_not_landed(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    recording, org = tmp_path / "calls.jsonl", "middle"
    accounts.write_tokens(recording, org, 20_000)
    with pipeline.replaying(recording):
        until(lambda: accounts.landed(pipeline, org), "the first rows")
        assert pipeline.stop("worker") == 0
        pipeline.start("worker")
    accounts.check(pipeline, org, recording)


@pytest.mark.slow
def test_workers_that_come_and_go_lose_and_double_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    recording, org = tmp_path / "calls.jsonl", "rebalance"
    accounts.write_tokens(recording, org, 20_000)
    first = pipeline.parts["worker"]
    with pipeline.replaying(recording, "--speed", str(accounts.SPAN / 12)):
        until(lambda: accounts.landed(pipeline, org) > 1000, "the first rows")
        pipeline.start("worker-2")
        assert pipeline.stop("worker-2") == 0
    accounts.check(pipeline, org, recording)
    pipeline.replay(recording)
    accounts.check(pipeline, org, recording)
    assert first.process.poll() is None, "the first worker went on through both rebalances"


@pytest.mark.slow
def test_events_of_a_topic_that_was_deleted_and_created_again_count(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    before, after, org = tmp_path / "before.jsonl", tmp_path / "after.jsonl", "again"
    accounts.write_tokens(before, org, 3000, seed=1)
    accounts.write_tokens(after, org, 3000, seed=2)  # other events, of the same windows
    pipeline.replay(before)
    pipeline.delete_topics()
    pipeline.run("migrate")
    pipeline.run("replay", str(after))  # its offsets begin at 0: the worker must not go on from where it was
    assert pipeline.ended("worker") == 1  # who supervises it starts it again
    pipeline.start("worker")
    pipeline.wait_drained()
    accounts.check(pipeline, org, before, after)


def test_a_worker_waits_for_a_broker_and_a_clickhouse_that_are_not_there_yet(tmp_path: Path) -> None:
    recording = tmp_path / "calls.jsonl"
    accounts.write_tokens(recording, "early", 500)
    pipeline = Pipeline(tmp_path / "data")
    try:
        pipeline.launch("worker", "sink")
        until(lambda: b"Kafka" in pipeline.parts["sink"].said(), "the sink says that it waits")
        worker = pipeline.parts["worker"]
        pipeline.up()
        worker.wait_ready()
        pipeline.replay(recording)
        accounts.check(pipeline, "early", recording)
    finally:
        pipeline.close()
