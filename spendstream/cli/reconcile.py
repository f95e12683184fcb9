"""`spendstream reconcile`: a provider's invoice against the ledger."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from spendstream.adapters.reading import Reader
from spendstream.cli.context import load_config, log_to_stderr
from spendstream.cli.local import reach
from spendstream.cli.reporting import span_of, waiting, write
from spendstream.errors import ConfigError
from spendstream.invoices import comparison
from spendstream.invoices.comparison import Compared
from spendstream.invoices.lines import COLUMNS, Invoice, read
from spendstream.reports.span import Span
from spendstream.windows import DAY

__all__ = ["command"]

_DAY = DAY * 1_000_000
_DIFFERS = 1


@click.command("reconcile")
@click.argument("path", metavar="INVOICE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=TITLE",
    help=f"What the invoice calls one of {', '.join(COLUMNS)}.",
)
@click.option("--provider", default="", help="Whose invoice it is, if no column says so.")
@click.option("--since", help="From when on, if no column has days.")
@click.option("--until", help="Until when.")
@click.option(
    "--tolerance",
    default="0",
    show_default=True,
    help="How far a line may be off: in dollars, such as 0.01, or in percent, such as 0.5%.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all lines as JSON.")
def command(
    *,
    path: Path,
    columns: Sequence[str],
    provider: str,
    since: str | None,
    until: str | None,
    tolerance: str,
    as_json: bool,
) -> None:
    """Compare the lines of a provider's INVOICE, a CSV file, with the ledger; exits with 1 if they differ.

    Days are those of UTC. Calls that our own cache answered are not expected on an invoice.
    """
    invoice = _read(path, _mapping(columns), provider)
    span = _span(invoice, since, until)
    try:
        allowed = comparison.tolerance(tolerance)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--tolerance") from error
    lines = comparison.compare(invoice, _recorded(invoice, span), allowed)
    different = [line for line in lines if line.state != "agrees"]
    _tell(invoice, lines if as_json else different, span, as_json=as_json)
    if not as_json:
        click.echo(f"{len(lines) - len(different):,} of {len(lines):,} lines agree.")
    if different:
        sys.exit(_DIFFERS)


def _tell(invoice: Invoice, lines: Sequence[Compared], span: Span, *, as_json: bool) -> None:
    table = comparison.table(invoice, lines, span)
    write([table], "json" if as_json else "table", None, table.title)


def _read(path: Path, columns: Mapping[str, str], provider: str) -> Invoice:
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            return read(text, columns, provider=provider)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except ConfigError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def _mapping(texts: Sequence[str]) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in texts]
    if any(not separator for _, separator, _ in pairs):
        raise click.BadParameter("expected one such as amount=Cost.", param_hint="--column")
    return {name: title for name, _, title in pairs}


def _span(invoice: Invoice, since: str | None, until: str | None) -> Span:
    if since is not None:
        return span_of(since, until)
    if until is not None:
        raise click.UsageError("--until alone says nothing: say with --since from when on.")
    if "day" not in invoice.keys:
        raise click.UsageError("The invoice has no days: say with --since and --until what it is of.")
    days = [int(day) for day in invoice.values("day")]
    return Span(start=min(days), end=max(days) + _DAY)


def _recorded(invoice: Invoice, span: Span) -> Mapping[tuple[str | int, ...], Mapping[str, int]]:
    config = load_config()
    log_to_stderr(config)
    question = comparison.ask(invoice.keys, [str(name) for name in invoice.values("provider")], span)

    async def run() -> Sequence[Sequence[object]]:
        async with reach(config) as reached:
            reader = Reader(reached.clickhouse)
            try:
                return await reader.rows(question.sql)
            finally:
                await reader.close()

    with waiting("asking ClickHouse"):
        return comparison.recorded(question, invoice.keys, asyncio.run(run()))
