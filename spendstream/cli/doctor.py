"""`spendstream doctor`: whether everything is there, up to date, and in agreement."""

from __future__ import annotations

import asyncio
from typing import Literal

import click
import msgspec
from rich.console import Console
from rich.table import Table

from spendstream.cli.checks import CHECKS, Check, Doubtful, Unwell, reconciliation
from spendstream.cli.context import load_config
from spendstream.config import Config
from spendstream.errors import SpendstreamError

__all__ = ["command"]

_MARKS = {"ok": "[green]ok[/]", "warning": "[bold yellow]warning[/]", "not well": "[bold red]not well[/]"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found; `said` says what to do when it is not well."""

    check: str
    state: Literal["ok", "warning", "not well"]
    said: str


@click.command("doctor")
@click.option("--reconcile", is_flag=True, help="Also compare every window with the rows; reads all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, reconcile: bool, as_json: bool) -> None:
    """Check Kafka, ClickHouse, clocks, prices, budgets, and that worker and sink can work.

    Exits with 1 if one is not well; a warning is none. The worker and the sink are asked where
    worker_metrics_port and sink_metrics_port say where they answer.
    """
    config = load_config()
    checks = {**CHECKS, "reconciliation": reconciliation} if reconcile else CHECKS

    async def examine() -> list[Finding]:
        return [await _finding(name, check, config) for name, check in checks.items()]

    findings = asyncio.run(examine())
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        _show(findings)
    if any(finding.state == "not well" for finding in findings):
        raise Unwell("not everything is well" if as_json else "not everything is well: see above")


async def _finding(name: str, check: Check, config: Config) -> Finding:
    try:
        return Finding(check=name, state="ok", said=await check(config))
    except Doubtful as doubt:
        return Finding(check=name, state="warning", said=str(doubt))
    except SpendstreamError as error:
        return Finding(check=name, state="not well", said=str(error))


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False)
    for finding in findings:
        table.add_row(_MARKS[finding.state], finding.check, finding.said)
    Console().print(table)
