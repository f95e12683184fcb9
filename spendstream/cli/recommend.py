"""`spendstream recommend`: what containers should request, why, and how to do it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sinks.clickhouse.recommendations import find, listed
from sinks.clickhouse.tables import Tables
from spendstream.adapters.workload_patches import Target, WorkloadPatches, containers_of
from spendstream.cli.context import load_config
from spendstream.cli.local import reach
from spendstream.config import CollectorSettings, Config
from spendstream.errors import ConfigError, TerminalError
from spendstream.money import format_usd
from spendstream.recommendations import Recommendation, encode
from spendstream.rightsizing.amounts import cpu_quantity, memory_quantity
from spendstream.workloads.quantities import NANO, amount

__all__ = ["command"]

_STATES = ("open", "fits", "refused", "applied", "superseded")
_HOURS = 730  # in a month, as cloud providers count them
_SHORT = 8  # characters of an id that tell it apart


class Outdated(TerminalError):
    """The workload is not as it was when the recommendation was made."""


class AnotherCluster(TerminalError):
    """The recommendation is of another cluster than the one that would be changed."""


@click.group("recommend", invoke_without_command=True)
@click.option(
    "--state", "states", multiple=True, type=click.Choice(_STATES), default=("open",), show_default=True,
    help="Which ones; can be given several times.",
)  # fmt: skip
@click.option("--namespace", default="", help="Of one namespace.")
@click.option("--workload", default="", help="Of one workload.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one recommendation a line.")
@click.pass_context
def command(
    context: click.Context, *, states: tuple[str, ...], namespace: str, workload: str, as_json: bool
) -> None:
    """List what containers should request, those that free most first, with the reasons.

    Each has an id, of which the beginning is enough: see one with `spendstream recommend show ID`, and apply
    it with `spendstream recommend apply ID`.
    """
    if context.invoked_subcommand is not None:
        return
    found = [
        each
        for each in asyncio.run(_listed(load_config(), states))
        if namespace in ("", each.namespace) and workload in ("", each.workload)
    ]
    if as_json:
        for each in found:
            click.echo(encode(each))
        return
    if not found:
        click.echo(f"nothing is {' or '.join(states)}: a recommendation takes three days of usage")
        return
    Console(markup=False, emoji=False).print(_table(found))


@command.command("show")
@click.argument("recommendation_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(*, recommendation_id: str, as_json: bool) -> None:
    """Show a recommendation with all its figures, and the patch to apply."""
    found = asyncio.run(_one(load_config(), recommendation_id))
    if as_json:
        click.echo(encode(found))
        return
    for line in _told(found):
        click.echo(line)


@command.command("apply")
@click.argument("recommendation_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Change the cluster; without it, the cluster only tries.")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="How to reach the cluster; by default the collector's, else the usual one.",
)
@click.option("--context", default="", help="A context of the kubeconfig.")
def apply(*, recommendation_id: str, yes: bool, kubeconfig: Path | None, context: str) -> None:
    """Apply a recommendation to its workload: a dry run by the cluster itself, unless --yes is given.

    Says which cluster that is, and refuses when the recommendation is known to be of another one, or the
    workload requests something else by now. The workload is rolled out as its own strategy
    says. What becomes of it is followed up for two weeks: see `spendstream recommend --state applied`.
    """
    config = load_config()
    found = asyncio.run(_one(config, recommendation_id))
    if found.state != "open" or not found.patch:
        raise Outdated(f"{found.id} is {found.state}" + ("" if found.patch else ", and has no patch"))
    click.echo(found.patch, nl=False)
    for caveat in found.caveats:
        click.echo(f"note: {caveat}")
    target = asyncio.run(_apply(found, config.collector, kubeconfig, context, dry_run=not yes))
    if yes:
        click.echo(f"applied to {found.workload_kind} {found.namespace}/{found.workload} in {target}")
    else:
        click.echo(f"{target} would accept this; give --yes to apply it")


async def _apply(
    found: Recommendation,
    collector: CollectorSettings,
    kubeconfig: Path | None,
    context: str,
    *,
    dry_run: bool,
) -> Target:
    """Apply a recommendation, by the collector's way to the cluster if no other is given; return where."""
    patch: Mapping[str, Any] = yaml.safe_load(found.patch)
    way = kubeconfig or collector.kubeconfig, context or collector.context
    async with WorkloadPatches.connected(*way) as cluster:
        target = cluster.target
        click.echo(f"of cluster {found.cluster}, for {target}")
        if target.is_another(found.cluster, _called(collector, *way, target)):
            raise AnotherCluster(
                f"the recommendation is of cluster {found.cluster}, and {target} is another: "
                "give the --kubeconfig and --context of its own"
            )
        _check_current(found, await cluster.workload(patch))
        await cluster.apply(patch, dry_run=dry_run)
        return target


def _called(
    collector: CollectorSettings, kubeconfig: Path | None, context: str, target: Target
) -> Mapping[str, str]:
    """Return what the cluster of the collector's context is called, if that is in this kubeconfig."""
    if not collector.cluster or collector.kubeconfig is None or collector.kubeconfig != kubeconfig:
        return {}
    own = collector.context or ("" if context else target.context)
    return {own: collector.cluster} if own else {}


def _check_current(found: Recommendation, workload: Mapping[str, Any]) -> None:
    """Raise Outdated unless the workload requests what it did when the recommendation was made."""
    for container in containers_of(workload):
        if container["name"] == found.container:
            resources = container.get("resources") or {}
            # a pod requests its limits where its template requests nothing
            requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            now = amount(requests.get("cpu", 0), NANO), amount(requests.get("memory", 0))
            if now != (found.cpu.current, found.memory.current):
                there = f"{cpu_quantity(now[0])} {memory_quantity(now[1])}"
                raise Outdated(
                    f"{found.workload} requests {there} now, not {_amounts(found)[0]}: "
                    "a new recommendation comes once that is known"
                )
            return
    raise Outdated(f"{found.workload} has no container {found.container} any more")


async def _listed(config: Config, states: Sequence[str]) -> Sequence[Recommendation]:
    async with reach(config) as reached:
        tables = Tables(reached.clickhouse)
        try:
            return await listed(tables, states)
        finally:
            await tables.close()


async def _one(config: Config, beginning: str) -> Recommendation:
    """Return the recommendation whose id begins so. Raises ConfigError for none, or several."""
    async with reach(config) as reached:
        tables = Tables(reached.clickhouse)
        try:
            found = await find(tables, beginning)
        finally:
            await tables.close()
    if len(found) != 1:
        what = "no recommendation has" if not found else f"{len(found)} recommendations have"
        raise ConfigError(f"{what} an id that begins with {beginning!r}: see `spendstream recommend`")
    return found[0]


def _table(found: Sequence[Recommendation]) -> Table:
    table = Table(box=SIMPLE)
    for name in ("id", "workload", "container", "requests", "should", "a month", "breach", "sure"):
        table.add_column(name, overflow="fold", justify="right" if name in _NUMBERS else "left")
    table.add_column("why", overflow="fold", ratio=1)
    for each in found:
        before, after = _amounts(each)
        table.add_row(
            str(each.id)[:_SHORT],
            f"{each.namespace}/{each.workload}",
            each.container,
            before,
            after,
            _monthly(each.freed_per_hour),
            f"{each.breach_rate:.0%}",
            f"{each.confidence:.0%}",
            "; ".join([*each.reasons, *_followed(each)]),
        )
    return table


_NUMBERS = frozenset({"a month", "breach", "sure"})


def _told(found: Recommendation) -> list[str]:
    before, after = _amounts(found)
    freed = f"{cpu_quantity(found.cpu_freed)} CPU and {memory_quantity(found.memory_freed)} memory"
    nodes = "not known, as no packing has said so" if found.nodes is None else str(found.nodes)
    over = (
        f"memory failed {found.breach_rate:.0%} of the back-tests, CPU {found.cpu_time_over:.0%} of the time"
    )
    lines = [
        f"{found.id}, {found.state}",
        f"{found.workload_kind} {found.namespace}/{found.workload} in {found.cluster}, {found.container}",
        f"requests {before}, should request {after}, {found.replicas:.1f} replicas",
        *(f"- {reason}" for reason in (*found.reasons, *_followed(found))),
        f"requests freed: {freed}, charged with {_monthly(found.freed_per_hour)} a month",
        f"nodes that can go: {nodes}; the bill falls by {_monthly(found.nodes_per_hour)} a month",
        f"idle changes by {_monthly(found.idle_per_hour)} a month",
        f"{found.days:.1f} days known; {over}; confidence {found.confidence:.0%}",
        *(f"note: {caveat}" for caveat in found.caveats),
    ]
    return [*lines, "", found.patch.rstrip()] if found.patch else lines


def _amounts(found: Recommendation) -> tuple[str, str]:
    """Return the requests before and after, such as 1000m 1024Mi."""

    def both(name: str) -> str:
        cpu, memory = (getattr(decision, name) for decision in (found.cpu, found.memory))
        return f"{cpu_quantity(cpu)} {memory_quantity(memory)}"

    return both("current"), both("target")


def _followed(found: Recommendation) -> list[str]:
    """Return what became of it, if it was applied."""
    known = found.follow_up
    if known is None:
        return []
    exceeded = f"memory exceeded its request on {known.breaches} of {known.days} days"
    return [f"applied: {_monthly(known.saved_per_hour)} a month freed since, {exceeded}"]


def _monthly(per_hour: int | None) -> str:
    return "unpriced" if per_hour is None else format_usd(per_hour * _HOURS)
