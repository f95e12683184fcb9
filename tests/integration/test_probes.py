"""Worker and sink say when they can work, and why not, while a server of theirs comes and goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest

from tests.fixtures.stack import BROKERS, Pipeline, free_port, kafka_of, running, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("probes")]


@pytest.fixture(scope="module", params=BROKERS)
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all tests here, which leave it as they found it."""
    with running(tmp_path_factory.mktemp("probes"), "worker", "sink", kafka=kafka_of(request)) as fresh:
        yield fresh


def ask(pipeline: Pipeline, part: str, probe: str) -> tuple[int, dict[str, object]]:
    address = urlsplit(pipeline.parts[part].address)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", f"/{probe}")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ready(pipeline: Pipeline, part: str) -> bool:
    return ask(pipeline, part, "ready") == (200, {"ready": True, "reasons": {}})


@pytest.mark.parametrize("part", ["worker", "sink"])
def test_a_part_is_ready_until_clickhouse_is_away_and_healthy_all_the_time(
    pipeline: Pipeline, part: str
) -> None:
    until(lambda: ready(pipeline, part), f"{part} ready")
    pipeline.kill("clickhouse")
    try:
        until(lambda: not ready(pipeline, part), f"{part} not ready")
        status, answer = ask(pipeline, part, "ready")
        assert status == 503
        assert "ClickHouse" in str(answer["reasons"]) or "query" in str(answer["reasons"])
        assert ask(pipeline, part, "health") == (200, {"healthy": True, "reasons": {}})
    finally:
        pipeline.start("clickhouse")
    until(lambda: ready(pipeline, part), f"{part} ready again")


@pytest.mark.slow
def test_workers_that_share_the_partitions_are_all_ready(pipeline: Pipeline) -> None:
    pipeline.start("worker-2")
    try:
        until(lambda: ready(pipeline, "worker") and ready(pipeline, "worker-2"), "both ready")
    finally:
        assert pipeline.stop("worker-2") == 0
    until(lambda: ready(pipeline, "worker"), "the first ready again")


def test_a_worker_without_kafka_is_alive_and_says_what_it_waits_for(tmp_path: Path) -> None:
    port = free_port()
    alone = Pipeline(tmp_path, SPENDSTREAM_WORKER_METRICS_PORT=str(port))
    try:
        alone.start("clickhouse")
        alone.launch("worker")
        part = alone.parts["worker"]
        part.address = f"http://127.0.0.1:{port}"
        until(lambda: b"waiting" in part.said(), "the worker waits")
        status, answer = until(lambda: ask(alone, "worker", "ready"), "an answer")
        assert status == 503
        assert {"kafka", "partitions"} <= cast("dict[str, str]", answer["reasons"]).keys()
        assert ask(alone, "worker", "health")[0] == 200
        assert alone.stop("worker") == 0
    finally:
        alone.close()
