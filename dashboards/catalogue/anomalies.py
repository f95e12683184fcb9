"""Anomalies: what is unusual, what it costs, and who is behind it."""

from __future__ import annotations

from dashboards import variables
from dashboards.panel import Dashboard, Panel, Row, Threshold
from dashboards.sql import TEAM, TIME, WINDOWS, money

__all__ = ["ANOMALIES"]

_STARTED = f"$__timeFilter(started_at) AND {TEAM}"

_OPEN = Panel(
    id="open",
    title="What is unusual now?",
    description="Anomalies that began in the range: those that are not over, all of them, and what they "
    "have cost more than expected.",
    kind="stat",
    unit="number",
    units={"cost": "usd"},
    sql=f"""
SELECT countIf(state IN ('opened', 'worsened')) AS open, count() AS all,
    {money("sum(ifNull(impact, 0))")} AS cost
FROM anomaly WHERE {_STARTED} AND NOT planned
""",
    width=8,
)

_SPEND = Panel(
    id="band",
    title="When was spend not as expected?",
    description="Spend of an hour, and, where a team or all teams were unusual, what was expected there "
    "and what came. Ordinary hours have no expectation to show.",
    kind="time_series",
    unit="usd",
    sql=f"""
SELECT time, sum(amount) AS spend, any(wanted) AS expected, any(least) AS low, any(most) AS high
FROM (
    SELECT {TIME}, {money()} * 3600 / $__interval_s AS amount, NULL AS wanted, NULL AS least, NULL AS most
    FROM cost_window WHERE {WINDOWS} AND {TEAM} GROUP BY time
    UNION ALL
    SELECT $__timeInterval(window_start) AS time, 0, sum(n.expected) * 3600 / any(window_seconds),
        sum(n.low) * 3600 / any(window_seconds), sum(n.high) * 3600 / any(window_seconds)
    FROM anomaly_raw AS n FINAL
    WHERE $__timeFilter(window_start) AND measure = 'cost' AND state != 'resolved' AND {TEAM} GROUP BY time)
GROUP BY time ORDER BY time
""",
    step=3600,
    width=16,
)

_LIST = Panel(
    id="list",
    title="What was unusual, and who is behind it?",
    description="How each anomaly stands, with the values of its worst window.",
    kind="table",
    unit="number",
    units={"cost": "usd"},
    sql=f"""
SELECT started_at AS since, state, severity, type, {"if(team = '', '(all teams)', team)"} AS team, measure,
    round(value, 4) AS found, round(expected, 4) AS usual, {money("impact")} AS cost,
    arrayStringConcat(arrayMap(each -> JSONExtractString(each, 'name'),
        arraySlice(JSONExtractArrayRaw(contributors), 1, 3)), ', ') AS contributors
FROM anomaly WHERE {_STARTED}
ORDER BY state = 'resolved', since DESC, score DESC LIMIT 100
""",
    width=24,
    height=10,
)

_COUNT = Panel(
    id="count",
    title="How often does it happen?",
    description="Anomalies by when they began, and how severe they were.",
    kind="bars",
    unit="number",
    sql=f"""
SELECT $__timeInterval(started_at) AS time, severity AS series, count() AS anomalies
FROM anomaly WHERE {_STARTED}
GROUP BY time, series ORDER BY time, series
""",
    decimals=0,
)

_COST = Panel(
    id="cost",
    title="Which anomalies cost most?",
    description="Dollars more than expected, in the whole episode.",
    kind="ranking",
    unit="usd",
    thresholds=(Threshold(value=0, colour="orange"),),
    sql=f"""
SELECT if(team = '', '(all teams)', team) || ' · ' || type AS series,
    {money("sum(assumeNotNull(impact))")} AS cost
FROM anomaly WHERE {_STARTED} AND impact > 0
GROUP BY series ORDER BY cost DESC, series LIMIT 10
""",
)

ANOMALIES = Dashboard(
    slug="anomalies",
    title="Anomalies",
    description="What is unusual, what it costs, and who is behind it.",
    variables=(variables.TEAM,),
    since="now-7d",
    rows=(
        Row(title="Now", panels=(_OPEN, _SPEND)),
        Row(title="Episodes", panels=(_LIST, _COUNT, _COST)),
    ),
)
