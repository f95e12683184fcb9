"""`spendstream simulate`: a cluster and its AI calls before and after optimisation, and what that saves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from producers.simulation.chart import bill, chart, requests
from producers.simulation.comparison import Comparison
from producers.simulation.figures import Account, account
from spendstream.cli.context import load_config, log_to_stderr
from spendstream.cli.simulated import Site, site
from spendstream.config import Config, Secret
from spendstream.errors import ConfigError
from spendstream.money import dollars
from spendstream.rightsizing.sizing import Sizing

__all__ = ["command"]

_FOLDER = "simulation"
_HOUR = 3600 * 10**6  # microseconds
_JSON = msgspec.json.Encoder(decimal_format="number")  # exact, and a number to every reader


@click.command("simulate")
@click.option(
    "--phase",
    type=click.Choice(["unoptimized", "optimized", "compare"]),
    default="compare",
    show_default=True,
    help="The first phase, the second (after the newest first one of the seed), or both.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="The same seed, the same figures.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where files are kept.  [default: `simulation` in the data directory]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(*, phase: str, seed: int, data_dir: Path | None, as_json: bool) -> None:
    """Play a week of a cluster and of AI calls through the pipeline, and tell what it cost.

    Unoptimized: requests as provisioned, on-demand nodes, gpt-4 for every call. Optimized: requests as
    recommended, fewer nodes, spot where that is tolerated, cached answers, cheaper models. The demand is the
    same in both. Every figure is asked of ClickHouse. It runs on a stack of its own.
    """
    config = _own(load_config(), data_dir)
    log_to_stderr(config)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the broker is away, we say ourselves
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")

    async def run() -> _Answer:
        async with site(config, stamp) as stage:
            return await _PHASES[phase](stage, seed)

    answer = asyncio.run(run())
    if as_json:
        click.echo(_JSON.encode(answer.summary))
    else:
        Console().print(answer.picture)


class _Answer(NamedTuple):
    """What is told: to programs and to people."""

    summary: Mapping[str, Any]
    picture: RenderableType


async def _unoptimized(stage: Site, seed: int) -> _Answer:
    name = await stage.unoptimized(seed)
    cost = await account(stage.query, name)
    return _Answer({"runs": [name], "unoptimized": _bill(cost)}, bill(cost))


async def _optimized(stage: Site, seed: int) -> _Answer:
    before = await stage.newest(seed)
    if before is None:
        raise ConfigError(
            f"there is no whole unoptimized run with seed {seed} to optimize: "
            f"run `spendstream simulate --phase unoptimized --seed {seed}` first"
        )
    return await _after(stage, seed, before)


async def _compare(stage: Site, seed: int) -> _Answer:
    return await _after(stage, seed, await stage.unoptimized(seed))


async def _after(stage: Site, seed: int, before: str) -> _Answer:
    after, sizings = await stage.optimized(seed, before)
    found = await stage.compared(before, after)
    return _Answer(_summary(found, sizings), Group(requests(sizings), Text(), chart(found)))


_PHASES = {"unoptimized": _unoptimized, "optimized": _optimized, "compare": _compare}


def _own(config: Config, data_dir: Path | None) -> Config:
    """Return the configuration of a stack that shares nothing with what else is configured."""
    folder = (data_dir or config.data_dir / _FOLDER).resolve()
    return msgspec.structs.replace(config, data_dir=folder, kafka="", clickhouse=Secret())


def _summary(found: Comparison, sizings: Mapping[str, Sizing]) -> Mapping[str, Any]:
    return {
        "runs": [found.before.run, found.after.run],
        "unoptimized": _bill(found.before),
        "optimized": _bill(found.after),
        "saved": {
            "compute": dollars(found.compute_saving),
            "ai": dollars(found.ai_saving),
            "total": dollars(found.saving),
        },
        "causes": {name: dollars(saved) for name, saved in {**found.compute, **found.ai}.items()},
        "hit_rate": float(found.hit_rate),
        "requests": {
            name: {"cpu": msgspec.to_builtins(one.cpu), "memory": msgspec.to_builtins(one.memory)}
            for name, one in sorted(sizings.items())
        },
    }


def _bill(cost: Account) -> Mapping[str, Any]:
    hours = {"spot": 0, "on-demand": 0}
    for line in cost.nodes:
        hours[line.purchase_option] += line.time
    return {
        "compute": dollars(cost.compute),
        "allocated": dollars(cost.allocated),
        "idle": dollars(cost.idle),
        "ai": dollars(cost.ai),
        "total": dollars(cost.compute + cost.ai),
        "node_hours": {name: time / _HOUR for name, time in hours.items()},
        "calls": cost.answered(),
        "cache_hits": {outcome: cost.answered(outcome) for outcome in ("exact", "semantic")},
        "calls_by_model": cost.by_model(),
    }
