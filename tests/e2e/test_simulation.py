"""The simulation through the whole pipeline: its figures are those of the raw events, and come out again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner

from producers.simulation.comparison import Comparison
from producers.simulation.figures import account
from spendstream.cli import nodes
from spendstream.cli.simulate import command
from spendstream.cli.simulated import Site, Size, site
from spendstream.config import Config
from spendstream.errors import ConfigError
from spendstream.money import PICO

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("simulation")]

SMALL = Size(days=3, calls=200)


def raw(table: str, column: str) -> str:
    """Return a question for what events cost, asked of the raw rows: each id once, whatever was delivered."""
    return (
        f"SELECT toInt128(sum(once) * {PICO}), count() FROM (SELECT toDecimal256(any(cost), 12) AS once "
        f"FROM {table}_raw WHERE {column} = {{run:String}} GROUP BY event_id)"
    )


async def spent(stage: Site, run: str) -> tuple[int, int, int]:
    """Return what a run's nodes and calls cost, in picodollars, and how many calls there were."""
    [(compute, _)] = await stage.query(raw("node_usage", "cluster"), {"run": run})
    [(ai, calls)] = await stage.query(raw("token_usage", "environment"), {"run": run})
    return compute, ai, calls


def figures(found: Comparison) -> dict[str, Any]:
    """Return all that may not depend on when and where it ran."""
    return {
        "compute": (found.before.compute, found.after.compute, dict(found.compute)),
        "ai": (found.before.ai, found.after.ai, dict(found.ai)),
        "nodes": (found.before.nodes, found.after.nodes),
        "containers": (found.before.containers, found.after.containers),
        "calls": (found.before.calls, found.after.calls),
    }


async def played(folder: Path, stamp: str, seed: int = 1) -> dict[str, Any]:
    """Play both phases; check their figures against the raw events, and return them."""
    async with site(Config(data_dir=folder), stamp, SMALL) as stage:
        before = await stage.unoptimized(seed)
        assert await stage.newest(seed) == before
        assert await stage.newest(seed + 1) is None
        after, sizings = await stage.optimized(seed, before)
        found = await stage.compared(before, after)
        then, now = await spent(stage, before), await spent(stage, after)
        assert (then[2], now[2]) == (SMALL.calls, SMALL.calls)
        assert found.compute_saving == then[0] - now[0] == sum(found.compute.values())
        assert found.ai_saving == then[1] - now[1] == sum(found.ai.values())
        assert found.saving == sum(then[:2]) - sum(now[:2]) > 0
        assert (await account(stage.query, before)).allocated < found.before.compute
        assert found.hit_rate > 0
        assert {line.purchase_option for line in found.before.nodes} == {"on-demand"}
        assert sizings["legacy-app"].cpu.verdict == "lower"
        return figures(found)


def test_savings_are_those_of_the_raw_events_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    assert asyncio.run(played(tmp_path / "one", "one")) == asyncio.run(played(tmp_path / "two", "two"))
    told = what_can_go(tmp_path / "one", "unoptimized-1-one")
    assert told["hourly_price"] == pytest.approx(8 * 0.384 + 2 * 0.526)
    plan = told["now"]
    gone = [name for step in plan["steps"] for name in step["nodes"]]
    assert len(gone) + len(plan["stays"]) == 10
    assert len(gone) > 0  # the nightly job's nodes
    assert plan["saving_per_hour"] == pytest.approx(0.384 * len(gone))
    assert {"g4dn.xlarge-on-demand-1", "g4dn.xlarge-on-demand-2"} <= plan["stays"].keys()


def what_can_go(folder: Path, cluster: str) -> dict[str, Any]:
    """Ask the command which nodes of a cluster can go."""
    ran = CliRunner().invoke(
        nodes.command, ["--cluster", cluster, "--json"], env={"SPENDSTREAM_DATA_DIR": str(folder)}
    )
    assert ran.exit_code == 0, ran.output
    found: dict[str, Any] = json.loads(ran.stdout)[cluster]
    return found


def test_alerts_of_a_simulation_go_to_no_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "spendstream.toml"
    file.write_text('[[channel]]\nname = "tickets"\nkind = "webhook"\nurl = "http://127.0.0.1:1/"\n', "utf-8")
    monkeypatch.setenv("SPENDSTREAM_CONFIG", str(file))
    monkeypatch.setenv("SPENDSTREAM_SLACK_WEBHOOK", "http://127.0.0.1:1/")

    async def metrics() -> str:
        async with (
            site(Config(data_dir=tmp_path / "stack"), "quiet", SMALL) as stage,
            ClientSession() as http,
            http.get(stage._stack.address("sink")) as answer,
        ):
            return await answer.text()

    found = asyncio.run(metrics())
    assert 'sink="alerts"' in found
    assert 'sink="channel ' not in found


def test_nothing_is_optimized_that_has_not_been_simulated(tmp_path: Path) -> None:
    ran = CliRunner().invoke(command, ["--phase", "optimized", "--seed", "7", "--data-dir", str(tmp_path)])
    assert isinstance(ran.exception, ConfigError)
    assert "--phase unoptimized --seed 7" in str(ran.exception)
