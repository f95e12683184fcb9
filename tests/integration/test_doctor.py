"""`spendstream doctor`, `topics` and `deadletter`: what they find, say and exit with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from spendstream.cli.checks import CHECKS
from spendstream.topics import ALL_TOPICS, USAGE_TOKENS
from tests.e2e import accounts
from tests.fixtures.stack import Pipeline, free_port, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("doctor")]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Broker and ClickHouse with topics and tables, a worker, and a sink that nobody is told of."""
    fresh = Pipeline(tmp_path_factory.mktemp("doctor"), SPENDSTREAM_WORKER_METRICS_PORT=str(free_port()))
    try:
        yield fresh.up("worker", "sink")
    finally:
        fresh.close()


def ran(pipeline: Pipeline, *arguments: str, **settings: str) -> CompletedProcess[str]:
    before = pipeline.environment
    pipeline.environment = {**before, **settings}
    try:
        return pipeline.ran(*arguments)
    finally:
        pipeline.environment = before


def findings(pipeline: Pipeline, *options: str, code: int = 0, **settings: str) -> dict[str, tuple[str, str]]:
    """Return (state, words) by check."""
    doctor = ran(pipeline, "doctor", "--json", *options, **settings)
    assert doctor.returncode == code, doctor.stdout + doctor.stderr
    return {found["check"]: (found["state"], found["said"]) for found in json.loads(doctor.stdout)}


def states(found: Mapping[str, tuple[str, str]], state: str) -> set[str]:
    return {check for check, (is_, _) in found.items() if is_ == state}


def test_a_pipeline_that_works_is_well_in_every_check(pipeline: Pipeline, tmp_path: Path) -> None:
    recording = tmp_path / "calls.jsonl"
    accounts.write_tokens(recording, "well", 200)
    pipeline.replay(recording)
    found = findings(pipeline, "--reconcile")
    assert found.keys() == {*CHECKS, "reconciliation"}
    assert states(found, "not well") == set()
    assert found["worker"] == (
        "ok",
        f"ready, on port {pipeline.environment['SPENDSTREAM_WORKER_METRICS_PORT']}",
    )
    assert "sink_metrics_port is not set" in found["sink"][1]


def test_calls_without_a_price_are_a_warning_that_names_their_models(pipeline: Pipeline) -> None:
    event = {
        "id": "0198aaaa-0000-7000-8000-000000000001", "source": "test", "team": "a", "model": "mystery-9",
        "event_time": int(pipeline.value("SELECT toUnixTimestamp64Micro(now64(6))")), "v": 1,
    }  # fmt: skip
    pipeline.send(USAGE_TOKENS.name, [(b"a", json.dumps(event).encode())])
    until(lambda: pipeline.value("SELECT count() FROM token_usage WHERE model = 'mystery-9'"), "it lands")
    pipeline.wait_drained()
    state, said = findings(pipeline)["unpriced"]
    assert state == "warning"
    assert "mystery-9" in said


@pytest.mark.slow
def test_a_wrong_budget_file_a_dead_part_and_an_edited_price_file_are_all_found_at_once(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    budgets, prices = tmp_path / "budgets.yaml", tmp_path / "prices.toml"
    budgets.write_text("budgets: 7\n")
    prices.write_text("[[price]]\n")
    found = findings(
        pipeline,
        code=1,
        SPENDSTREAM_BUDGET_FILE=str(budgets),
        SPENDSTREAM_PRICE_FILE=str(prices),
        SPENDSTREAM_SINK_METRICS_PORT=str(free_port()),
    )
    assert states(found, "not well") == {"budgets", "prices", "sink"}
    assert str(budgets) in found["budgets"][1]
    assert "does not answer" in found["sink"][1]


def test_servers_that_are_away_are_findings_and_not_the_end(pipeline: Pipeline) -> None:
    nowhere = str(free_port())
    found = findings(
        pipeline,
        code=1,
        SPENDSTREAM_KAFKA=f"127.0.0.1:{nowhere}",
        SPENDSTREAM_CLICKHOUSE=f"http://127.0.0.1:{nowhere}",
    )
    assert states(found, "not well") == {
        "broker", "topics", "lag", "clickhouse", "migrations", "clocks", "unpriced"
    }  # fmt: skip


def test_a_person_reads_a_table_and_one_line_of_verdict(pipeline: Pipeline) -> None:
    doctor = ran(pipeline, "doctor", SPENDSTREAM_SINK_METRICS_PORT=str(free_port()))
    assert doctor.returncode == 1
    assert "not well" in doctor.stdout
    assert doctor.stderr == "spendstream: not everything is well: see above\n"


def test_topics_are_listed_with_what_they_hold(pipeline: Pipeline) -> None:
    rows = json.loads(pipeline.run("topics", "list", "--json"))
    assert [(row["name"], row["state"], row["partitions"]) for row in rows] == [
        (topic.name, "there", topic.partitions) for topic in ALL_TOPICS
    ]
    kept = {row["name"] for row in rows if row["retention_ms"] is None}
    assert kept == {topic.name for topic in ALL_TOPICS if topic.cleanup == "compact"}
    shown = pipeline.run("topics", "list")
    assert all(topic.name in shown for topic in ALL_TOPICS)


def test_topics_that_are_missing_are_created_once_and_told(tmp_path: Path) -> None:
    bare = Pipeline(tmp_path)
    try:
        bare.start("broker")
        assert {row["state"] for row in json.loads(bare.run("topics", "list", "--json"))} == {"missing"}
        assert bare.run("topics", "create") == f"created {', '.join(topic.name for topic in ALL_TOPICS)}\n"
        assert bare.run("topics", "create") == f"all {len(ALL_TOPICS)} are there\n"
        assert {row["state"] for row in json.loads(bare.run("topics", "list", "--json"))} == {"there"}
    finally:
        bare.close()


class TestDeadLetters:
    @pytest.fixture(scope="class")
    @staticmethod
    def letters(pipeline: Pipeline) -> list[dict[str, Any]]:
        """Three letters: two that are no JSON, and one that lacks fields."""
        values = (b"{broken one", b"{broken two", b'{"v":1}')
        pipeline.send(USAGE_TOKENS.name, [(b"letters", value) for value in values])

        def listed() -> list[dict[str, Any]]:
            found = json.loads(pipeline.run("deadletter", "list", "--json"))
            return found if len(found) == len(values) else []

        return until(listed, "three letters")

    def test_they_are_listed_with_place_and_reason(
        self, pipeline: Pipeline, letters: list[dict[str, Any]]
    ) -> None:
        assert {(letter["topic"], letter["stage"]) for letter in letters} == {("usage.tokens", "decode")}
        assert sorted("malformed" in letter["reason"] for letter in letters) == [False, True, True]
        assert pipeline.run("deadletter", "list").count("decode") >= len(letters)

    def test_filters_and_the_limit_choose(self, pipeline: Pipeline, letters: list[dict[str, Any]]) -> None:
        def chosen(*options: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = json.loads(pipeline.run("deadletter", "list", "--json", *options))
            return found

        assert chosen("--reason", "missing required field") == [
            letter for letter in letters if "missing required field" in letter["reason"]
        ]
        assert chosen("--limit", "1") == letters[-1:]
        assert chosen("--topic", "usage.pods") == chosen("--stage", "land") == []
        assert pipeline.run("deadletter", "list", "--topic", "usage.pods") == "no dead letters\n"

    def test_one_is_shown_byte_for_byte(self, pipeline: Pipeline, letters: list[dict[str, Any]]) -> None:
        letter = letters[0]
        shown = pipeline.ran(
            "deadletter", "show", letter["topic"], str(letter["partition"]), str(letter["offset"])
        )
        assert shown.stdout in ("{broken one", "{broken two", '{"v":1}')
        assert shown.stderr == f"decode: {letter['reason']}\n"

    def test_one_that_is_not_there_is_a_mistake_of_the_caller(self, pipeline: Pipeline) -> None:
        ran = pipeline.ran("deadletter", "show", "usage.tokens", "0", "123456789")
        assert ran.returncode == 2
        assert ran.stderr == (
            "spendstream: no dead letter from usage.tokens, partition 0, offset 123456789, line 0\n"
        )

    def test_a_dry_run_sends_nothing_and_a_replay_that_is_still_wrong_comes_back(
        self, pipeline: Pipeline, letters: list[dict[str, Any]]
    ) -> None:
        before = len(letters)
        assert pipeline.run("deadletter", "replay", "--dry-run") == f"{before} letters would be sent\n"
        pipeline.wait_drained()
        assert len(json.loads(pipeline.run("deadletter", "list", "--json"))) == before
        assert pipeline.run("deadletter", "replay", "--reason", "missing") == "1 letters sent\n"
        until(
            lambda: len(json.loads(pipeline.run("deadletter", "list", "--json"))) == before + 1,
            "it comes back",
        )
