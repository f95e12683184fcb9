"""The queries of panels as Grafana's plugins want them; the SDK knows Prometheus, but not ClickHouse."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import Dataquery as PromQuery

from dashboards.panel import Panel

__all__ = ["CLICKHOUSE", "CLICKHOUSE_PLUGIN", "PROMETHEUS", "PROMETHEUS_PLUGIN", "Target", "source_of"]

CLICKHOUSE_PLUGIN = "grafana-clickhouse-datasource"
PROMETHEUS_PLUGIN = "prometheus"
CLICKHOUSE = DataSourceRef(type_val=CLICKHOUSE_PLUGIN, uid="${datasource}")
PROMETHEUS = DataSourceRef(type_val=PROMETHEUS_PLUGIN, uid="${prometheus}")
_PLUGIN_VERSION = "4.20.0"
_TIME_SERIES, _TABLE = 0, 1  # the plugin's formats


class _ClickHouseQuery(Dataquery):
    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def to_json(self) -> dict[str, object]:
        over_time = self._panel.kind in ("time_series", "bars")
        return {
            "refId": "A",
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "queryType": "timeseries" if over_time else "table",
            "format": _TIME_SERIES if over_time else _TABLE,
            "pluginVersion": _PLUGIN_VERSION,
            "rawSql": self._panel.sql.strip(),
        }


class Target(Builder[Dataquery]):
    """The one query of a panel."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def build(self) -> Dataquery:
        """Return the query that the panel's plugin understands."""
        if self._panel.prometheus:
            return PromQuery(expr=self._panel.prometheus, ref_id="A", range_val=True, datasource=PROMETHEUS)
        return _ClickHouseQuery(self._panel)


def source_of(panel: Panel) -> DataSourceRef:
    """Return where a panel asks: variables, so that a dashboard fits any Grafana."""
    return PROMETHEUS if panel.prometheus else CLICKHOUSE
