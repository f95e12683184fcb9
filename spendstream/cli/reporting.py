"""What commands that report have in common: where the output goes, and how a table looks to people."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Drawing
from rich.text import Text

from spendstream.clock import now_micros
from spendstream.errors import ConfigError
from spendstream.reports import formats
from spendstream.reports.dimensions import parse
from spendstream.reports.page import page
from spendstream.reports.span import Span, between, month_of
from spendstream.reports.table import Cell, Column, Table
from spendstream.reports.wording import shown

__all__ = ["By", "Month", "destination", "span_of", "waiting", "write"]

_ROOMY = 120  # columns of a terminal that shows details too
_PAGE = 200
_STYLES = {
    "exceeded": "red",
    "critical": "red",
    "differs": "red",
    "burning fast": "yellow",
    "warning": "yellow",
    "within": "green",
    "agrees": "green",
}


class By(click.ParamType):
    """Dimensions, such as team,model."""

    name = "dimensions"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[str]:
        """Return the dimensions' names."""
        try:
            return parse(value) if isinstance(value, str) else tuple(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Month(click.ParamType):
    """A calendar month, such as 2024-01."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        """Return the month's span."""
        try:
            return value if isinstance(value, Span) else month_of(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def span_of(since: str, until: str | None) -> Span:
    """Return the span that two options name."""
    try:
        return between(since, until, now_micros())
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--since, --until") from error


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal that something is being done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


@contextmanager
def destination(out: Path | None) -> Iterator[BinaryIO]:
    """Give the file that becomes `out` when all of it is written, or standard output. Raises ConfigError."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from error
    half = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        half.chmod(0o644)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)


def write(tables: Sequence[Table], form: str, out: Path | None, title: str) -> None:
    """Write tables in a format; only a page holds more than one."""
    if form == "table" and out is None:
        _draw(tables[0], Console(highlight=False))
        return
    with destination(out) as file:
        if form == "parquet":
            formats.write_parquet(tables[0], file)
        else:
            file.write(_text(tables, form, title).encode())


def _text(tables: Sequence[Table], form: str, title: str) -> str:
    if form == "html":
        return page(title, tables)
    if form == "csv":
        return formats.to_csv(tables[0])
    if form == "json":
        return formats.to_json(tables[0]).decode() + "\n"
    text = io.StringIO()
    _draw(tables[0], Console(file=text, highlight=False))
    return text.getvalue()


def _draw(table: Table, console: Console) -> None:
    if not console.is_terminal:
        console.width = _PAGE  # nobody is to find numbers in pieces in a file
    console.print(f"{table.title}; {table.about}", style="bold", markup=False)
    if table.rows:
        console.print(_drawing(table, detailed=console.width >= _ROOMY))
    else:
        console.print(table.empty, style="dim", markup=False)
    for note in table.notes:
        console.print(note, style="yellow", markup=False)


def _drawing(table: Table, *, detailed: bool) -> Drawing:
    shown_places = [place for place, column in enumerate(table.columns) if detailed or not column.detail]
    drawing = Drawing(box=SIMPLE_HEAD, show_footer=table.total is not None, footer_style="bold")
    for place in shown_places:
        column = table.columns[place]
        total = None if table.total is None else table.total[place]
        number = column.kind in ("count", "money", "share")
        drawing.add_column(
            column.heading,
            footer="" if total is None else shown(column, total),
            justify="right" if number else "left",
            no_wrap=column.kind != "text",
            overflow="fold",
        )
    for row in table.rows:
        drawing.add_row(*(_coloured(table.columns[place], row[place]) for place in shown_places))
    return drawing


def _coloured(column: Column, cell: Cell) -> Text:
    """Return a cell's text, with a colour where it says something good or bad."""
    style = ""
    if column.name == "variance" and isinstance(cell, int):
        style = "red" if cell > 0 else "green"
    elif isinstance(cell, str):
        style = _STYLES.get(cell, "")
    return Text(shown(column, cell), style=style)
