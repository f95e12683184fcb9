"""From samples in Kafka to a recommendation, and to what became of it, whoever is killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spendstream.codec import PODS
from spendstream.events import HOUR_MICROS, PodUsage
from spendstream.ids import derived_id
from spendstream.rightsizing.days import DAY
from spendstream.topics import USAGE_PODS
from tests.fixtures.containers import MIB, START, sample
from tests.fixtures.stack import BROKERS, Pipeline, kafka_of, running, until

pytestmark = [pytest.mark.xdist_group("rightsizing"), pytest.mark.timeout(180)]


@pytest.fixture(params=BROKERS)
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pipeline]:
    with running(tmp_path, "worker", "sink", kafka=kafka_of(request)) as fresh:
        yield fresh


def hours(day: int, **fields: object) -> list[PodUsage]:
    """Return a day of samples of an hour, of a container that uses a third of what it requests."""
    return [
        sample(
            id=derived_id(start, str(fields).encode()[:64], 0),
            event_time=start,
            end_time=start + HOUR_MICROS,
            memory_usage=(280 + hour) * MIB,
            **fields,
        )
        for hour in range(24)
        for start in [START + day * DAY + hour * HOUR_MICROS]
    ]


def send(pipeline: Pipeline, samples: list[PodUsage]) -> None:
    pipeline.send(USAGE_PODS.name, [(each.cluster.encode(), PODS.encode(each)) for each in samples])


@pytest.mark.slow
def test_a_container_is_recommended_for_and_followed_up_though_worker_and_sink_are_killed(
    pipeline: Pipeline,
) -> None:
    send(pipeline, [each for day in range(14) for each in hours(day)])
    cpu, memory = proposed(pipeline)
    assert memory < 600 * MIB
    pipeline.restart("worker", "sink")
    applied = {"cpu_request": cpu, "memory_request": memory, "revision": "two"}
    send(pipeline, hours(14, **applied))
    until(lambda: told(pipeline) == [["applied", 1, 0]], "it was applied")
    send(pipeline, hours(15, oom_kills=1, **applied))
    until(lambda: told(pipeline) == [["applied", 2, 1]], "it was followed up")


def proposed(pipeline: Pipeline) -> tuple[int, int]:
    """Return what the container should request, once that is made of all that was sent."""
    pipeline.wait_drained()
    send(pipeline, hours(13, workload="marker"))  # is looked at after the other one
    until(
        lambda: pipeline.rows("SELECT 1 FROM recommendation WHERE workload = 'marker'"), "all was looked at"
    )
    [[cpu, memory]] = pipeline.rows(f"SELECT cpu_target, memory_target {_OF_LEGACY} AND state = 'open'")
    return int(cpu), int(memory)


def told(pipeline: Pipeline) -> list[list[object]]:
    """Return state, days and breaches of what was applied of the container."""
    rows = pipeline.rows(f"SELECT state, followed_days, breaches {_OF_LEGACY} AND state = 'applied'")
    return [[state, int(days), int(breaches)] for state, days, breaches in rows]


_OF_LEGACY = "FROM recommendation WHERE workload = 'legacy-app'"
