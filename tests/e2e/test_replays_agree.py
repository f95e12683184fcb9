"""A recording makes the same rows, however fast it is replayed and however many workers share the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import accounts
from tests.fixtures.stack import BROKERS, kafka_of, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EVENTS = 6_000
SPEED = str(accounts.SPAN / 10)  # so that sending takes ten seconds
WORKERS = ("worker", "worker-2", "worker-3")

# Everything but the topic's incarnation, which is another for each pipeline, and the time of arrival.
STATES = (
    "SELECT * EXCEPT (src, arrived_at), splitByChar('@', toString(src))[1] AS place "
    "FROM cost_window_state FINAL ORDER BY ALL"
)
WINDOWS = "SELECT * FROM cost_window ORDER BY ALL"


Row = list[Any]


@pytest.fixture(params=BROKERS)
def servers(request: pytest.FixtureRequest) -> str:
    """The Kafka to use; empty for an embedded one of one's own."""
    return kafka_of(request)


def replayed(
    directory: Path, servers: str, recording: Path, workers: Sequence[str], *options: str
) -> tuple[list[Row], list[Row]]:
    """Replay into a fresh pipeline; return the states of all sources, and the windows that people see.

    Versions are positions, and those follow from which events share a record. Alone they are always the same.
    """
    with running(directory, *workers, kafka=servers, SPENDSTREAM_EVENTS_PER_RECORD="1") as pipeline:
        pipeline.replay(recording, *options)
        accounts.check(pipeline, "agree", recording)
        return pipeline.rows(STATES), pipeline.rows(WINDOWS)


def test_replays_at_any_speed_and_on_any_number_of_workers_give_identical_rows(
    servers: str, tmp_path: Path
) -> None:
    recording = tmp_path / "calls.jsonl"
    accounts.write_tokens(recording, "agree", EVENTS)
    states, windows = replayed(tmp_path / "first", servers, recording, WORKERS[:1], "--speed", "max")
    assert len(states) >= len(windows) > 1000
    for number, (workers, speed) in enumerate([(WORKERS[:1], SPEED), (WORKERS, "max"), (WORKERS, SPEED)]):
        again = replayed(tmp_path / str(number), servers, recording, workers, "--speed", speed)
        assert again == (states, windows), f"{len(workers)} workers at speed {speed}"
