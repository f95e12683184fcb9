"""Dashboards over the two-phase simulation: every panel is answered, and says what its events say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient

from dashboards.answers import ask
from dashboards.catalogue import DASHBOARDS
from dashboards.console.ranges import time_range
from spendstream.adapters.clickhouse import connect
from spendstream.clock import now_micros
from spendstream.config import Secret
from tests.fixtures.clickhouse import running_endpoint
from tests.integration.test_dashboards_panels import check_shape

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WEEKS = ("2026-01-01", "2026-02-15")  # in which simulated clusters live; calls happen now
RANGES = (("now-24h", "now"), WEEKS)


async def money(client: AsyncClient, sql: str) -> dict[str, Decimal]:
    return {name: cost for name, cost in (await client.query(sql)).result_rows if name}


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[str]:
    """The address of a ClickHouse with both phases in it."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("SPENDSTREAM_")}
    subprocess.run(
        [sys.executable, "-m", "spendstream", "simulate", "--seed", "3"],
        env={**inherited, "SPENDSTREAM_DATA_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=500,
    )
    with running_endpoint(tmp_path / "simulation" / "clickhouse") as endpoint:
        yield endpoint.url


async def test_every_panel_shows_what_the_simulation_s_events_say(simulated: str) -> None:
    client = await connect(Secret(simulated))
    found: dict[tuple[str, str], list[Any]] = {}
    for start, end in RANGES:
        for board in DASHBOARDS:
            for panel in (panel for panel in board.panels if panel.sql):
                time = time_range(start, end, now_micros() // 1000, 120, panel.step)
                answer = await ask(client, panel.sql, time, {})
                check_shape(panel, answer)
                found[panel.id, start] = list(answer.rows)
    clusters = await money(client, "SELECT cluster, sum(cost) FROM node_usage GROUP BY cluster")
    calls = await money(client, "SELECT environment, sum(cost) FROM token_usage GROUP BY environment")
    await client.close()
    runs = {name for name in calls if name.startswith(("optimized-", "unoptimized-"))}
    assert len(runs) == len(clusters) == 2
    assert runs == set(clusters)
    said = dict(found["phases", "now-24h"])
    assert said == pytest.approx(
        {f"{run}: calls": float(calls[run]) for run in runs}
        | {f"{run}: clusters": float(clusters[run]) for run in runs}
    )
    bill = sum(cost for _, _, cost in found["bill", WEEKS[0]])
    assert bill == pytest.approx(float(sum(clusters.values())))
