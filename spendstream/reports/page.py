"""Reports as one HTML page that needs nothing else: style and charts are in it, and it runs no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from html import escape
from itertools import pairwise
from typing import cast

from spendstream.reports import charts
from spendstream.reports.table import Column, Kind, Row, Table
from spendstream.reports.wording import NOTHING, shown, usd

__all__ = ["filled", "page"]

_MOST_BARS = 12
_PARTS = 1000  # of a share, in a chart
_NUMBERS: Sequence[Kind] = ("count", "money", "share")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --faint: #5b6675; --paper: #ffffff; --line: #d5dbe3;
  --bar: #2f6fb5; --warn: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --faint: #a3afbf; --paper: #14181f;
  --line: #333c49; --bar: #6aa7e8; --warn: #3a3115; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
.faint { color: var(--faint); fill: var(--faint); }
.note { background: var(--warn); padding: .5rem .75rem; border-radius: 4px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--faint); padding: .25rem 0; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; }
tfoot td, tfoot th { font-weight: 600; border-top: 2px solid var(--line); }
svg { width: 100%; max-width: 48rem; height: auto; margin: .5rem 0; }
svg text { font-size: 12px; fill: var(--ink); }
svg .bar { fill: var(--bar); } svg .axis { stroke: var(--line); }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""


def page(title: str, tables: Sequence[Table]) -> str:
    """Return the page: a section for each table, with a chart where it has one, and its notes."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{''.join(map(_section, tables))}</main>\n</body>\n</html>\n"
    )


def _section(table: Table) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>\n' for note in table.notes)
    if not table.rows:
        body = f'<p class="faint">{escape(table.empty)}</p>\n'
    else:
        body = f'{_chart(table)}<div class="scroll" tabindex="0">{_table(table)}</div>\n'
    return f"<section>\n<h2>{escape(table.title)}</h2>\n{body}{notes}</section>\n"


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_class(column)}>{escape(column.heading)}</th>' for column in table.columns
    )
    rows = "".join(f"<tr>{_cells(table.columns, row)}</tr>\n" for row in table.rows)
    total = "" if table.total is None else f"<tfoot><tr>{_cells(table.columns, table.total, '')}</tr></tfoot>"
    return (
        f"<table><caption>{escape(table.about)}</caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody>{total}</table>"
    )


def _cells(columns: Sequence[Column], row: Row, nothing: str = NOTHING) -> str:
    texts = [
        nothing if cell is None else shown(column, cell) for column, cell in zip(columns, row, strict=True)
    ]
    first, *others = [f"{_class(column)}>{escape(text)}" for column, text in zip(columns, texts, strict=True)]
    return f'<th scope="row"{first}</th>' + "".join(f"<td{other}</td>" for other in others)


def _class(column: Column) -> str:
    return ' class="n"' if column.kind in _NUMBERS else ""


def _chart(table: Table) -> str:
    """Return the chart of a table: columns if its rows are times, else bars for the first of them."""
    names = [column.name for column in table.columns]
    if table.chart not in names:
        return ""
    place = names.index(table.chart)
    label, charted = table.columns[0], table.columns[place]
    over_time = label.kind == "time"
    labels = [column for column in table.columns[:place] if column.kind in ("text", "time")]
    scale = _PARTS if charted.kind == "share" else 1
    rows = [row for row in table.rows if row[place]]
    values = [int(cast("Fraction | int", row[place]) * scale) for row in rows]
    words: Callable[[int], str] = usd if charted.kind == "money" else lambda value: f"{value / _PARTS:.1%}"
    if not any(value > 0 for value in values):
        return ""
    if over_time and len(labels) == 1:
        times = filled([(cast("int", row[0]), value) for row, value in zip(rows, values, strict=True)])
        drawn = charts.columns(table.title, [(shown(label, time), value) for time, value in times], words)
    else:
        named = [(_name(labels, row), value) for row, value in zip(rows, values, strict=True)]
        drawn = charts.bars(table.title, named[:_MOST_BARS], words)
    return f"<figure>{drawn}</figure>\n"


def filled(points: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """Return points in order of time with zeros where regular steps have none: a chart skips no day."""
    step = min((later - earlier for (earlier, _), (later, _) in pairwise(points)), default=0)
    if not step or any((time - points[0][0]) % step for time, _ in points):
        return points
    known = dict(points)
    return [(time, known.get(time, 0)) for time in range(points[0][0], points[-1][0] + step, step)]


def _name(columns: Sequence[Column], row: Row) -> str:
    cells = (shown(column, cell) for column, cell in zip(columns, row, strict=False) if cell != "")
    return " · ".join(cells) or "none"
