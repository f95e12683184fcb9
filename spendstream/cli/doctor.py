"""`spendstream doctor`: whether everything is there, up to date, and in agreement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import click
import msgspec
from rich.console import Console
from rich.table import Table

from sinks.clickhouse.migrations import pending
from sinks.clickhouse.tables import Tables
from spendstream.adapters.kafka import committed_offsets, end_offsets, missing_topics
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config
from spendstream.clock import now_micros
from spendstream.config import Config
from spendstream.errors import SpendstreamError
from spendstream.money import format_usd
from spendstream.pricing import book_from
from spendstream.queries import RECONCILE, miscounted
from spendstream.topics import USAGE_PODS, USAGE_TOKENS, WORKER_GROUP

__all__ = ["command"]

_SKEW_S = 5.0
_TRIES = 20
_PAUSE_S = 0.25


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found; `said` says what to do when it is not well."""

    check: str
    well: bool
    said: str


class Unwell(SpendstreamError):
    """At least one check failed."""


@click.command("doctor")
@click.option("--reconcile", is_flag=True, help="Also compare every window with the rows; reads all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, reconcile: bool, as_json: bool) -> None:
    """Check Kafka, topics, ClickHouse, migrations, clocks, prices and lag; exit with 1 if one is not well."""
    config = load_config()
    checks: dict[str, Callable[[Config], Awaitable[str]]] = {
        "topics": _topics,
        "lag": _lag,
        "migrations": _migrations,
        "clocks": _clocks,
        "prices": _prices,
    }
    if reconcile:
        checks["reconciliation"] = _reconciliation

    async def examine() -> list[Finding]:
        return [await _finding(name, check, config) for name, check in checks.items()]

    findings = asyncio.run(examine())
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        _show(findings)
    if not all(finding.well for finding in findings):
        raise Unwell("not everything is well" if as_json else "not everything is well: see above")


async def _finding(name: str, check: Callable[[Config], Awaitable[str]], config: Config) -> Finding:
    try:
        return Finding(check=name, well=True, said=await check(config))
    except SpendstreamError as error:
        return Finding(check=name, well=False, said=str(error))


async def _topics(config: Config) -> str:
    missing = await missing_topics(kafka_servers(config))
    if missing:
        raise Unwell(f"missing: {', '.join(missing)}; run `spendstream migrate`")
    return f"all there, on {kafka_servers(config)}"


async def _lag(config: Config) -> str:
    servers = kafka_servers(config)
    landed = await committed_offsets(servers, WORKER_GROUP)
    behind = 0
    for topic in (USAGE_TOKENS.name, USAGE_PODS.name):
        for partition, end in (await end_offsets(servers, topic)).items():
            behind += end - landed.get((topic, partition), 0)
    return f"{behind:,} records have not landed yet"


async def _migrations(config: Config) -> str:
    steps = await pending(clickhouse_url(config))
    if steps:
        raise Unwell(f"{len(steps)} not applied: run `spendstream migrate`")
    return "up to date"


async def _clocks(config: Config) -> str:
    tables = Tables(clickhouse_url(config))
    try:
        asked = time.monotonic()
        rows = await tables.rows("SELECT toUnixTimestamp64Micro(now64(6))")
        took = time.monotonic() - asked
    finally:
        await tables.close()
    skew = abs(now_micros() - rows[0][0]) / 1_000_000
    if skew > _SKEW_S + took:
        raise Unwell(f"ClickHouse's clock and ours are {skew:.1f} s apart: set both by NTP")
    return f"ClickHouse's clock is within {max(skew, took):.1f} s of ours"


async def _prices(config: Config) -> str:
    rates = book_from(config).rates("openai", "gpt-4", now_micros())
    million = format_usd(rates.input)
    source = f"{config.price_file} and " if config.price_file else ""
    return f"{source}genai-prices {version('genai-prices')}; gpt-4 costs {million} a million input tokens"


async def _reconciliation(config: Config) -> str:
    """Compare windows with rows; since rows land first, events in flight are given time to be counted."""
    tables = Tables(clickhouse_url(config))
    try:
        for _ in range(_TRIES):
            wrong = miscounted(await tables.rows(RECONCILE))
            if not wrong:
                return "every window counts every stored row once"
            await asyncio.sleep(_PAUSE_S)
    finally:
        await tables.close()
    raise Unwell(f"windows of these sizes differ from the rows in (events, picodollars): {dict(wrong)}")


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.well else "[bold red]not well[/]"
        table.add_row(mark, finding.check, finding.said)
    Console().print(table)
