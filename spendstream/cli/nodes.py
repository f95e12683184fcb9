"""`spendstream nodes`: which nodes of a cluster can go, what that saves, and why the others must stay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sinks.clickhouse.clusters import newest_nodes
from sinks.clickhouse.recommendations import listed
from sinks.clickhouse.tables import Tables
from spendstream.cli.context import load_config
from spendstream.cli.local import reach
from spendstream.config import Config
from spendstream.errors import ConfigError
from spendstream.money import dollars, format_usd
from spendstream.scheduling import Consolidation, Node, WhatIf, changes_of, price, what_if

__all__ = ["command"]

_JSON = msgspec.json.Encoder(decimal_format="number")  # exact, and a number to every reader


@click.command("nodes")
@click.option("--cluster", default="", help="Of one cluster.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, cluster: str, as_json: bool) -> None:
    """Tell which nodes can go, in which order, what that saves an hour, and why the others must stay.

    Each cluster is taken as it was last seen. First as it is; then as it would be if the open recommendations
    were applied (see `spendstream recommend`). What events do not say is not assumed in a pod's favour: it
    moves only if a controller makes it anew, and to spot nodes only if it is on one.
    """
    found = asyncio.run(_asked(load_config(), cluster))
    if not found:
        raise ConfigError(
            f"no nodes of cluster {cluster!r} are known" if cluster else "no nodes are known: run a collector"
        )
    if as_json:
        click.echo(_JSON.encode({name: _values(*each) for name, each in found.items()}))
        return
    for name, (nodes, plans) in found.items():
        _show(Console(markup=False, emoji=False), name, nodes, plans)


async def _asked(config: Config, cluster: str) -> Mapping[str, tuple[Sequence[Node], WhatIf]]:
    """Return the nodes of each cluster, and what can go of them without and with the recommendations."""
    async with reach(config) as reached:
        tables = Tables(reached.clickhouse)
        try:
            clusters = await newest_nodes(tables, cluster)
            proposals = await listed(tables, ["open"])
        finally:
            await tables.close()
    return {
        name: (nodes, what_if(nodes, changes_of(each for each in proposals if each.cluster == name)))
        for name, nodes in clusters.items()
    }


def _values(nodes: Sequence[Node], plans: WhatIf) -> Mapping[str, Any]:
    return {
        "hourly_price": dollars(price(nodes)),
        "now": _plan(plans.now),
        "with_recommendations": _plan(plans.then),
    }


def _plan(plan: Consolidation) -> Mapping[str, Any]:
    return {
        "saving_per_hour": dollars(plan.saving),
        "steps": [
            {
                "nodes": step.nodes,
                "saving_per_hour": dollars(step.saving),
                "rounds": step.rounds,
                "moves": step.moves,
            }
            for step in plan.steps
        ],
        "stays": plan.stays,
    }


def _show(console: Console, cluster: str, nodes: Sequence[Node], plans: WhatIf) -> None:
    costs = f": {len(nodes)} nodes, {format_usd(price(nodes))} an hour"
    console.print(Text.assemble((cluster, "bold"), costs))
    for title, plan in (("as it is", plans.now), ("with the open recommendations", plans.then)):
        table = Table("node", "saves an hour", "", box=None, header_style="bold", padding=(0, 2))
        table.columns[1].justify = "right"
        for row in _rows(plan):
            table.add_row(*row)
        gone = len(nodes) - len(plan.nodes)
        console.print(f"\n{title}: {gone} can go, which saves {format_usd(plan.saving)} an hour")
        console.print(table)
    console.print()


def _rows(plan: Consolidation) -> Iterator[tuple[str, str, str]]:
    for number, step in enumerate(plan.steps, 1):
        moves = f"step {number}: {len(step.moves)} pods move to {', '.join(sorted(set(step.moves.values())))}"
        yield (
            ", ".join(step.nodes),
            format_usd(step.saving, decimals=4),
            moves if step.moves else "it is empty",
        )
    for name, reason in plan.stays.items():
        yield name, "", f"stays: {reason}"
