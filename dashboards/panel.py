"""Panels, variables and dashboards as values: Grafana's JSON and the console are both made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

__all__ = ["Dashboard", "Kind", "Panel", "Row", "Threshold", "Unit", "Variable"]

Kind = Literal["stat", "time_series", "bars", "pie", "ranking", "table"]
"""How an answer is drawn. Each has a shape of its own:

`stat`: one row of numbers, each under its own name. `time_series` (lines) and `bars` (stacked over time):
`time`, ascending, then at most one label, then numbers. `pie` and `ranking`: a label, then one number.
`table`: anything, with units by column.
"""

Unit = Literal["usd", "ratio", "tokens", "calls", "ms", "s", "cores", "gib", "number"]

Colour = Literal["green", "orange", "red"]


class Threshold(Struct, frozen=True, kw_only=True):
    """From `value` on the answer has this colour; below the lowest it is plain."""

    value: float
    colour: Colour


class Panel(Struct, frozen=True, kw_only=True):
    """One question and its answer. `sql` has Grafana's macros and variables; see `dashboards.macros`.

    `id` is unique in its dashboard. `units` are those of single columns that differ from `unit`. With
    `prometheus`, PromQL, it is a question that only Prometheus can answer: only Grafana shows it.
    `step` is the least width of a point in seconds: 3600 where hours are the finest that there is.
    Sizes are Grafana's: `width` of 24 columns, `height` in steps of 30 pixels.
    """

    id: str
    title: str
    description: str
    kind: Kind
    unit: Unit
    sql: str = ""
    prometheus: str = ""
    units: Mapping[str, Unit] = {}
    thresholds: tuple[Threshold, ...] = ()
    decimals: int | None = None
    step: int = 60
    width: int = 12
    height: int = 8


class Row(Struct, frozen=True, kw_only=True):
    """Panels that belong together, under a heading."""

    title: str
    panels: tuple[Panel, ...]


class Variable(Struct, frozen=True, kw_only=True):
    """What a reader may narrow a dashboard to: `sql` lists the choices, of which several may be chosen."""

    name: str
    label: str
    description: str
    sql: str


class Dashboard(Struct, frozen=True, kw_only=True):
    """One page of panels. `slug` names its file and address; `since` is the range it opens with."""

    slug: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    since: str = "now-24h"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in the order in which they are read."""
        return tuple(panel for row in self.rows for panel in row.panels)
