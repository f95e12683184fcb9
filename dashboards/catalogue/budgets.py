"""Budgets & forecast: what is left, where it is going, and when it is used up."""

from __future__ import annotations

from dashboards import variables
from dashboards.catalogue.shared import ABOUT_BUDGETS, NEWEST_STANDING, USED
from dashboards.panel import Dashboard, Panel, Row, Threshold
from dashboards.sql import TEAM, chosen, money

__all__ = ["BUDGETS"]

_AT = "$__timeInterval(at) AS time"
_HISTORY = f"FROM budget_standing WHERE $__timeFilter(at) AND {chosen('owner', 'team')}"

_STANDING = Panel(
    id="standing",
    title="How does each budget stand?",
    description="As it last stood in the range: what is spent and left, what is expected by the period's "
    "end, and how probable it is that the limit is exceeded.",
    kind="table",
    unit="usd",
    units={"used": "ratio", "breach": "ratio"},
    thresholds=USED,
    sql=f"""
SELECT name AS budget, owner, {money("spent")} AS spent, {money("remaining")} AS left,
    {money("allowed")} AS allowed, spent / nullIf(allowed, 0) AS used,
    {money("expected")} AS "expected by the end",
    breach, period_end AS ends
FROM ({NEWEST_STANDING}) ORDER BY used DESC, budget LIMIT 100
""",
    width=24,
    height=9,
)

_BURN_DOWN = Panel(
    id="burn-down",
    title="How much is left?",
    description="What is left of each limit, as a share; below zero it is exceeded.",
    kind="time_series",
    unit="ratio",
    sql=f"""
SELECT {_AT}, name AS series, argMax(toFloat64(remaining) / nullIf(toFloat64(allowed), 0), at) AS left
{_HISTORY} GROUP BY time, series ORDER BY time, series
""",
)

_FORECAST = Panel(
    id="forecast",
    title="What will have been spent when the period ends?",
    description="Expected spend as a share of the limit: from one on it is exceeded.",
    kind="time_series",
    unit="ratio",
    thresholds=(Threshold(value=1, colour="red"),),
    sql=f"""
SELECT {_AT}, name AS series, argMax(toFloat64(expected) / nullIf(toFloat64(allowed), 0), at) AS forecast
{_HISTORY} GROUP BY time, series ORDER BY time, series
""",
)

_BAND = Panel(
    id="band",
    title="How sure is the forecast?",
    description="The truth lies between low and high four times in five; none while there is too little "
    "history.",
    kind="table",
    unit="usd",
    sql=f"""
SELECT name AS budget, {money("low")} AS low, {money("expected")} AS "most probable", {money("high")} AS high,
    {money("allowed")} AS allowed
FROM ({NEWEST_STANDING}) ORDER BY budget LIMIT 100
""",
)

_EXHAUSTED = Panel(
    id="exhaustion",
    title="When is the money gone?",
    description="When each limit is reached at what is expected; between the earliest and the latest it "
    "lies four times in five. Budgets that last are not listed.",
    kind="table",
    unit="usd",
    sql=f"""
SELECT name AS budget, exhausted_at AS "gone by", exhausted_earliest AS "at the earliest",
    exhausted_latest AS "at the latest", {money("velocity")} AS "spend an hour"
FROM ({NEWEST_STANDING}) WHERE exhausted_at IS NOT NULL ORDER BY exhausted_at, budget LIMIT 100
""",
)

_VELOCITY = Panel(
    id="velocity",
    title="How fast is the money spent?",
    description="Recent spend of an hour, by budget.",
    kind="time_series",
    unit="usd",
    sql=f"""
SELECT {_AT}, name AS series, argMax(toFloat64(velocity), at) AS "an hour"
{_HISTORY} GROUP BY time, series ORDER BY time, series
""",
)

_TOLD = Panel(
    id="told",
    title="What was said about budgets?",
    description="Thresholds that were passed, burn rates and forecasts, the newest first.",
    kind="table",
    unit="number",
    sql=f"""
SELECT started_at AS since, state, severity, team AS team, title
FROM alert
WHERE {ABOUT_BUDGETS} AND $__timeFilter(started_at) AND {TEAM}
ORDER BY since DESC, title LIMIT 50
""",
)

BUDGETS = Dashboard(
    slug="budgets",
    title="Budgets & forecast",
    description="What is left, where it is going, and when it is used up.",
    variables=(variables.TEAM,),
    since="now-7d",
    rows=(
        Row(title="Now", panels=(_STANDING,)),
        Row(title="Course", panels=(_BURN_DOWN, _FORECAST, _BAND, _EXHAUSTED)),
        Row(title="Pace and alerts", panels=(_VELOCITY, _TOLD)),
    ),
)
