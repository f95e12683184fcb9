"""`spendstream report`: what was spent, owed, saved and wasted, for people and for machines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from spendstream.cli.asking import Asking
from spendstream.cli.context import load_config, log_to_stderr
from spendstream.cli.exporting import export
from spendstream.cli.local import reach
from spendstream.cli.reporting import By, Month, span_of, waiting, write
from spendstream.clock import from_micros, now_micros
from spendstream.focus.columns import VERSIONS
from spendstream.reports import cache, chargeback, costs, savings
from spendstream.reports.span import Span
from spendstream.reports.table import Table
from spendstream.sharing import POLICIES

__all__ = ["command"]

_FORMATS = ("table", "csv", "json", "parquet", "html")
_FOCUS = "focus"  # not a way to write a table, but a dataset of its own

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@click.group("report")
def command() -> None:
    """Report what was spent, owed, saved and wasted, as a table, a page or a file.

    Times are UTC. Money is exact in all formats but the table and the page, which round it.
    """


def _by(default: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--by", type=By(), default=default, show_default=True, help="Dimensions, with commas between."
    )


def _spanned(function: Decorated) -> Decorated:
    since = click.option(
        "--since", default="30d", show_default=True, help="A date, a time, or how long ago: 6h, 30d, 4w."
    )
    until = click.option("--until", help="The same.  [default: now]")
    return since(until(function))


def _written(*more: str) -> Callable[[Decorated], Decorated]:
    def add(function: Decorated) -> Decorated:
        form = click.option(
            "--format", "form", type=click.Choice([*_FORMATS, *more]), default="table", show_default=True
        )
        out = click.option(
            "--out",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A file instead of standard output.",
        )
        return form(out(function))

    return add


@command.command("costs")
@_by("team,model")
@_spanned
@_written(_FOCUS)
@click.option(
    "--focus-version",
    type=click.Choice(list(VERSIONS)),
    default=VERSIONS[0],
    show_default=True,
    help="Of the specification, for --format focus.",
)
def _costs(
    *, by: Sequence[str], since: str, until: str | None, form: str, out: Path | None, focus_version: Any
) -> None:
    """Report what was spent, and the calls and tokens that it bought.

    With --format focus it is a dataset for other FinOps tools, whatever --by says: Parquet if the name that
    --out gives ends so, else CSV.
    """
    span = span_of(since, until)
    if form == _FOCUS:
        export(span, focus_version, out)
    else:
        _report(lambda asking: asking.spend(costs.table, by, span), form, out)


@command.command("chargeback")
@_by("team")
@_spanned
@_written()
@click.option(
    "--shared",
    multiple=True,
    help=f"Whose costs all others share; {chargeback.NOBODY!r} is what has no owner, '(idle)' what is idle.",
)
@click.option(
    "--split",
    "policy",
    type=click.Choice(list(POLICIES)),
    default=POLICIES[0],
    show_default=True,
    help="How shared costs are split.",
)
@click.option("--weight", multiple=True, metavar="NAME=N", help="A whole number, for --split fixed.")
def _chargeback(
    *,
    by: Sequence[str],
    since: str,
    until: str | None,
    shared: Sequence[str],
    policy: Any,
    weight: Sequence[str],
    **written: Any,
) -> None:
    """Report what each owes: own spend, a part of what is shared, and how that stands to the budget.

    What clusters pay for beside containers has rows of its own, so that the sum is the whole bill. Without
    --shared it is a showback. Budgets are those whose scope is the one dimension of --by.
    """
    if len(by) != 1:
        raise click.BadParameter("name one dimension.", param_hint="--by")
    span = span_of(since, until)
    weights = _weights(weight)
    if weights and policy != "fixed":
        raise click.UsageError(f"--weight is for --split fixed; found --split {policy}.")
    sharing = chargeback.Sharing(shared=frozenset(shared), policy=policy, weights=weights)

    async def ask(asking: Asking) -> Table:
        try:
            return await asking.chargeback(by[0], span, sharing)
        except ValueError as error:
            raise click.UsageError(f"{error}.") from error

    _report(ask, **written)


@command.command("cache")
@_by("team,model")
@_spanned
@_written()
def _cache(*, by: Sequence[str], since: str, until: str | None, form: str, out: Path | None) -> None:
    """Report how often the cache answered, and what that saved."""
    span = span_of(since, until)
    _report(lambda asking: asking.spend(cache.table, by, span, ("tokens",)), form, out)


@command.command("savings")
@_by("team")
@_spanned
@_written()
def _savings(*, by: Sequence[str], since: str, until: str | None, form: str, out: Path | None) -> None:
    """Report what was not spent, by cause: cache, routing, compression."""
    span = span_of(since, until)
    _report(lambda asking: asking.spend(savings.table, by, span, ("tokens",)), form, out)


@command.command("budgets")
@_written()
def _budgets(*, form: str, out: Path | None) -> None:
    """Report how budgets stand now: what is spent, and what is left."""
    _report(lambda asking: asking.budgets(now_micros()), form, out)


@command.command("anomalies")
@_spanned
@_written()
def _anomalies(*, since: str, until: str | None, form: str, out: Path | None) -> None:
    """Report what was unusual, and what it cost more than expected."""
    span = span_of(since, until)
    _report(lambda asking: asking.anomalies(span), form, out)


@command.command("waste")
@_by("team,model")
@_spanned
@_written()
def _waste(*, by: Sequence[str], since: str, until: str | None, form: str, out: Path | None) -> None:
    """Report what was paid for calls that failed, or broke off."""
    span = span_of(since, until)
    _report(lambda asking: asking.waste(by, span), form, out)


@command.command("monthly")
@click.argument("month", type=Month(), metavar="YYYY-MM")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of standard output."
)
def _monthly(*, month: Span, out: Path | None) -> None:
    """Write a month as one HTML page with charts: costs, what each owes, savings, waste, anomalies."""

    async def ask(asking: Asking) -> Sequence[Table]:
        return [
            await asking.spend(costs.table, ("day",), month),
            await asking.chargeback("team", month, chargeback.Sharing()),
            await asking.spend(costs.table, ("provider", "model"), month),
            await asking.spend(costs.table, ("project", "environment"), month),
            await asking.spend(cache.table, ("team",), month, ("tokens",)),
            await asking.spend(savings.table, ("team",), month, ("tokens",)),
            await asking.waste(("team", "model"), month),
            await asking.anomalies(month),
        ]

    write(_asked(ask), "html", out, f"Spend in {from_micros(month.start):%B %Y}")


def _report(ask: Callable[[Asking], Awaitable[Table]], form: str, out: Path | None) -> None:
    if form == "parquet" and out is None:
        raise click.UsageError("Parquet is no text: say with --out where it goes.")
    table = _asked(ask)
    write([table], form, out, f"{table.title}; {table.about}")


def _asked(ask: Callable[[Asking], Awaitable[Any]]) -> Any:
    config = load_config()
    log_to_stderr(config)

    async def run() -> Any:
        async with reach(config) as reached:
            asking = Asking(config, reached)
            try:
                return await ask(asking)
            finally:
                await asking.close()

    with waiting("asking ClickHouse"):
        return asyncio.run(run())


def _weights(texts: Sequence[str]) -> Mapping[str, int]:
    weights = {}
    for text in texts:
        name, separator, number = text.rpartition("=")
        if not name or not separator or not number.isdecimal():
            raise click.BadParameter(f"{text!r}: expected one such as search=3.", param_hint="--weight")
        weights[name] = int(number)
    return weights
