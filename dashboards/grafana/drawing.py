"""Panels as Grafana's panels: one builder for each way to draw an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders import bargauge, piechart, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.piechart import PieChartLegendOptions
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, GridPos
from grafana_foundation_sdk.models.piechart import PieChartLegendValues, PieChartType

from dashboards.grafana.target import Target, source_of
from dashboards.panel import Kind, Panel, Unit

__all__ = ["POINTS", "drawn"]

POINTS = 120
"""How many points a series has at most: so a month is asked of windows of hours, not of minutes."""

_UNITS: Mapping[Unit, str] = {
    "usd": "currencyUSD",
    "ratio": "percentunit",
    "tokens": "short",
    "calls": "short",
    "ms": "ms",
    "s": "s",
    "cores": "short",
    "gib": "gbytes",
    "number": "short",
}
_Builder = timeseries.Panel | stat.Panel | piechart.Panel | bargauge.Panel | table.Panel


def drawn(panel: Panel, number: int, place: GridPos) -> model.Panel:
    """Return a panel of Grafana, with this id, at this place."""
    builder = _KINDS[panel.kind](panel)
    builder.id(number).title(panel.title).description(panel.description).grid_pos(place)
    builder.datasource(source_of(panel)).with_target(Target(panel)).unit(_UNITS[panel.unit])
    builder.no_value("nothing")
    if not isinstance(builder, table.Panel):  # without any, Grafana paints red what is above 80
        builder.thresholds(_thresholds(panel))
    if panel.thresholds and isinstance(builder, timeseries.Panel):
        builder.thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if panel.decimals is not None:
        builder.decimals(panel.decimals)
    for column, unit in panel.units.items():
        builder.override_by_name(column, _of_column(panel, unit))
    return builder.build()


def _thresholds(panel: Panel) -> ThresholdsConfig:
    steps = [model.Threshold(value=None, color="blue" if panel.kind == "ranking" else "text")]
    steps += [model.Threshold(value=each.value, color=each.colour) for each in panel.thresholds]
    return ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _of_column(panel: Panel, unit: Unit) -> list[DynamicConfigValue]:
    """Return a column's unit; a share in a table is coloured by the thresholds, as those are of shares."""
    found = [DynamicConfigValue(id_val="unit", value=_UNITS[unit])]
    if panel.kind == "table" and unit == "ratio" and panel.thresholds:
        found.append(DynamicConfigValue(id_val="thresholds", value=_thresholds(panel).build()))
        found.append(DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return found


def _series(panel: Panel) -> timeseries.Panel:
    builder = timeseries.Panel().interval(f"{panel.step // 60}m").max_data_points(POINTS)
    builder.tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    builder.legend(
        VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .calcs([])
    )
    if re.search(r"\bseries\b", panel.sql):
        builder.display_name("${__field.labels.series}")
    return builder


def _lines(panel: Panel) -> timeseries.Panel:
    return _series(panel).draw_style(GraphDrawStyle.LINE).line_width(2).fill_opacity(8).axis_soft_min(0)


def _bars(panel: Panel) -> timeseries.Panel:
    stacked = StackingConfig().mode(StackingMode.NORMAL).group("A")
    return _series(panel).draw_style(GraphDrawStyle.BARS).fill_opacity(80).line_width(0).stacking(stacked)


def _stat(panel: Panel) -> stat.Panel:
    coloured = BigValueColorMode.VALUE if panel.thresholds else BigValueColorMode.NONE
    return stat.Panel().reduce_options(_last()).graph_mode(BigValueGraphMode.NONE).color_mode(coloured)


def _pie(panel: Panel) -> piechart.Panel:
    del panel
    legend = (
        PieChartLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.RIGHT)
        .values([PieChartLegendValues.VALUE, PieChartLegendValues.PERCENT])
    )
    return piechart.Panel().pie_type(PieChartType.DONUT).legend(legend).reduce_options(_rows())


def _ranking(panel: Panel) -> bargauge.Panel:
    del panel
    builder = bargauge.Panel().orientation(VizOrientation.HORIZONTAL).reduce_options(_rows())
    return builder.display_mode(BarGaugeDisplayMode.BASIC)


def _table(panel: Panel) -> table.Panel:
    del panel
    return table.Panel()


def _last() -> ReduceDataOptions:
    return ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields("")


def _rows() -> ReduceDataOptions:
    return ReduceDataOptions().values(True).calcs(["lastNotNull"]).fields("")


_KINDS: Mapping[Kind, Callable[[Panel], _Builder]] = {
    "time_series": _lines,
    "bars": _bars,
    "stat": _stat,
    "pie": _pie,
    "ranking": _ranking,
    "table": _table,
}
