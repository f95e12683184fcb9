"""Dashboards as Grafana's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard as Board
from grafana_foundation_sdk.builders.dashboard import (
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as BoardModel
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    RowPanel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.dashboard import Panel as PanelModel

from dashboards.grafana.drawing import drawn
from dashboards.grafana.target import CLICKHOUSE, CLICKHOUSE_PLUGIN, PROMETHEUS_PLUGIN
from dashboards.panel import Dashboard, Variable

__all__ = ["FOLDER", "files"]

FOLDER = Path(__file__).parent / "boards"
"""Where the JSON is."""

_COLUMNS = 24
_TAG = "spendstream"


def files(dashboards: Sequence[Dashboard]) -> Mapping[Path, str]:
    """Return the contents of each dashboard's file."""
    return {FOLDER / f"{each.slug}.json": _json(_board(each)) for each in dashboards}


def _json(board: BoardModel) -> str:
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _board(dashboard: Dashboard) -> BoardModel:
    builder = (
        Board(dashboard.title)
        .uid(f"{_TAG}-{dashboard.slug}")
        .description(dashboard.description)
        .tags([_TAG])
        .timezone("utc")
        .refresh("30s")
        .time(dashboard.since, "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(_source("datasource", "ClickHouse", CLICKHOUSE_PLUGIN))
        .link(_link())
    )
    if any(panel.prometheus for panel in dashboard.panels):
        builder.with_variable(_source("prometheus", "Prometheus", PROMETHEUS_PLUGIN))
    for variable in dashboard.variables:
        builder.with_variable(_variable(variable))
    board = builder.build()
    board.panels = list(_laid_out(dashboard))
    return board


def _source(name: str, label: str, plugin: str) -> DatasourceVariable:
    return DatasourceVariable(name).label(label).description(f"Which {label} is asked").type(plugin)


def _variable(variable: Variable) -> QueryVariable:
    everything = VariableOption(text="All", value="$__all", selected=True)
    return (
        QueryVariable(variable.name)
        .label(variable.label)
        .description(variable.description)
        .datasource(CLICKHOUSE)
        .query({"editorType": "sql", "rawSql": variable.sql, "refId": variable.name})
        .definition(variable.sql)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(everything)
    )


def _link() -> DashboardLink:
    link = DashboardLink("Spendstream").type(DashboardLinkType.DASHBOARDS).tags([_TAG])
    return link.include_vars(True).keep_time(True)


def _laid_out(dashboard: Dashboard) -> Iterator[PanelModel | RowPanel]:
    """Yield panels where they stand: side by side while they fit, each row below its heading."""
    top, number = 0, 0
    for row in dashboard.rows:
        number += 1
        yield RowPanel(
            id_val=number, title=row.title, grid_pos=GridPos(x=0, y=top, w=_COLUMNS, h=1), panels=[]
        )
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            yield drawn(panel, number, GridPos(x=left, y=top, w=panel.width, h=panel.height))
            left, height = left + panel.width, max(height, panel.height)
        top += height
