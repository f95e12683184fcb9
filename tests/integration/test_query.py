"""`spendstream query`: read-only, in three formats, and every mistake one line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.fixtures import in_process
from tests.fixtures.stack import Pipeline

ROW = """
SELECT 'a, "b"' AS team, toDecimal128('0.000000000001', 12) AS cost, CAST(NULL AS Nullable(Int8)) AS none
"""

pytestmark = pytest.mark.xdist_group("query")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A ClickHouse with our tables."""
    fresh = Pipeline(tmp_path_factory.mktemp("query"))
    try:
        yield fresh.up()
    finally:
        fresh.close()


def query(pipeline: Pipeline, *arguments: str) -> CompletedProcess[str]:
    return pipeline.ran("query", *arguments)


def refused(pipeline: Pipeline, *arguments: str, code: int) -> str:
    """Run a query that fails; return its one line of explanation."""
    ran = query(pipeline, *arguments)
    assert (ran.returncode, ran.stdout) == (code, ""), ran.stderr
    [line] = ran.stderr.splitlines()
    assert line.startswith("spendstream: ")
    return line


def test_json_is_an_array_of_objects(pipeline: Pipeline) -> None:
    ran = query(pipeline, ROW, "--format", "json")
    assert ran.returncode == 0, ran.stderr
    [row] = json.loads(ran.stdout, parse_float=str)
    assert (row["team"], row["none"]) == ('a, "b"', None)
    assert float(row["cost"]) == 1e-12
    assert json.loads(query(pipeline, "SELECT 1 WHERE 0;", "--format", "json").stdout) == []


def test_csv_has_a_header_and_exact_money(pipeline: Pipeline) -> None:
    ran = query(pipeline, ROW, "--format", "csv")
    assert list(csv.reader(ran.stdout.splitlines())) == [
        ["team", "cost", "none"],
        ['a, "b"', "0.000000000001", "\\N"],
    ]


def test_a_table_is_the_default(pipeline: Pipeline) -> None:
    lines = query(pipeline, "SELECT team, sum(cost) AS spend FROM token_usage GROUP BY ALL").stdout
    assert "team" in lines
    assert "spend" in lines
    assert "0.000000000001" in query(pipeline, ROW).stdout


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO schema_migration (number) VALUES (99)",
        "DROP TABLE token_usage_raw",
        "ALTER TABLE token_usage_raw DELETE WHERE 1",
        "CREATE TABLE mine (a Int8) ENGINE = Memory",
        "TRUNCATE TABLE token_usage_raw",
        "SELECT 1 SETTINGS readonly = 0",
        "SET readonly = 0",
        "SYSTEM STOP MERGES",
    ],
)
def test_nothing_can_be_changed(pipeline: Pipeline, sql: str) -> None:
    before = pipeline.rows(
        "SELECT name, total_rows FROM system.tables WHERE database = 'spendstream' ORDER BY 1"
    )
    refused(pipeline, sql, code=1)
    assert before == pipeline.rows(
        "SELECT name, total_rows FROM system.tables WHERE database = 'spendstream' ORDER BY 1"
    )


def test_a_mistake_in_the_query_is_one_line(pipeline: Pipeline) -> None:
    assert "SELEC" in refused(pipeline, "SELEC 1", code=1)
    assert "no_such_table" in refused(pipeline, "SELECT * FROM no_such_table", code=1)
    assert "spnd" in refused(pipeline, "SELECT sum(spnd) FROM token_usage", code=1)


def test_a_mistake_in_the_command_is_one_line_and_exit_code_2(pipeline: Pipeline) -> None:
    assert "--format" in refused(pipeline, "SELECT 1", "--format", "xml", code=2)
    assert "SQL" in refused(pipeline, code=2)


def test_a_clickhouse_that_is_away_is_one_line(tmp_path: Path) -> None:
    nowhere = Pipeline(tmp_path)
    assert nowhere.clickhouse in refused(nowhere, "SELECT 1", code=1)


def test_a_clickhouse_without_our_tables_says_how_to_make_them(tmp_path: Path) -> None:
    bare = Pipeline(tmp_path).start("clickhouse")
    try:
        for command in (("query", "SELECT 1"), ("report", "costs")):
            ran = bare.ran(*command)
            assert (ran.returncode, ran.stdout) == (1, "")
            [line] = ran.stderr.splitlines()
            assert "no database spendstream" in line
            assert "run `spendstream migrate`" in line
    finally:
        bare.close()


@pytest.mark.parametrize("command", [("query", "SELECT 1"), ("report", "costs"), ("report", "budgets")])
def test_where_nothing_ever_ran_nothing_is_started_to_be_asked(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "none"
    ran = in_process.ran({"SPENDSTREAM_DATA_DIR": str(folder)}, *command)
    assert (ran.returncode, ran.stdout) == (1, "")
    [line] = ran.stderr.splitlines()
    assert "run `spendstream up`" in line
    assert not folder.exists()
