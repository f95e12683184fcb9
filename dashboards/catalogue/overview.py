"""Overview: how spend stands now, and what it goes to."""

from __future__ import annotations

from dashboards import variables
from dashboards.catalogue.shared import (
    ABOUT_BUDGETS,
    ALLOCATED,
    AVOIDED,
    FIRING,
    NEWEST_STANDING,
    USED,
    avoided_by,
    spend_by_team,
)
from dashboards.panel import Dashboard, Panel, Row, Threshold
from dashboards.sql import ALL_SPEND, CALLS, NOW, SINCE_MIDNIGHT, SPAN, TEAM, TIME, WINDOWS, money, rolling

__all__ = ["OVERVIEW"]

_MONTH = f"toUInt32({NOW} - toDateTime(toStartOfMonth({NOW}), 'UTC'))"
_LEFT_OF_MONTH = f"(toDateTime(toStartOfMonth({NOW}), 'UTC') + INTERVAL 1 MONTH - {NOW})"

_SPEND_TODAY = Panel(
    id="spend-today",
    title="What have we spent today?",
    description="Since midnight UTC until the end of the chosen range, beside the same hours of the day "
    "before.",
    kind="stat",
    unit="usd",
    sql=f"""
SELECT
    (SELECT {money()} FROM {rolling(SINCE_MIDNIGHT)} WHERE {ALL_SPEND}) AS today,
    (SELECT {money()} FROM {rolling(SINCE_MIDNIGHT, f"{NOW} - 86400")} WHERE {ALL_SPEND})
        AS "by this time yesterday"
""",
    width=6,
    height=4,
)

_RUN_RATE = Panel(
    id="run-rate",
    title="Where does the month end at this rate?",
    description="Spend since the first of the month, and what it becomes if the rest goes on as the last "
    "24 hours. Budgets have forecasts that know weekdays and hours, with how sure they are.",
    kind="stat",
    unit="usd",
    sql=f"""
SELECT
    (SELECT {money()} FROM {rolling(_MONTH)} WHERE {ALL_SPEND}) AS "month to date",
    "month to date" + (SELECT {money()} FROM {rolling("86400")} WHERE {ALL_SPEND})
        * toFloat64({_LEFT_OF_MONTH}) / 86400 AS "by the month's end"
""",
    width=6,
    height=4,
)

_FIRING_NOW = Panel(
    id="firing",
    title="Is anything wrong now?",
    description="Alerts that fire: breached budgets, and anomalies.",
    kind="stat",
    unit="number",
    sql=f"""
SELECT countIf({ABOUT_BUDGETS}) AS budgets,
    countIf(kind = 'anomaly') AS anomalies
FROM alert WHERE {FIRING} AND {TEAM}
""",
    thresholds=(Threshold(value=0, colour="green"), Threshold(value=1, colour="red")),
    decimals=0,
    width=6,
    height=4,
)

_CACHE = Panel(
    id="cache",
    title="What has the cache saved today?",
    description="List price of the answers that the gateway gave again, since midnight UTC, and their "
    "share of calls.",
    kind="stat",
    unit="usd",
    units={"hit ratio": "ratio"},
    sql=f"""
SELECT {money("sum(avoided_by_cache)")} AS saved, sum(cache_hits) / nullIf(sum(events), 0) AS "hit ratio"
FROM {rolling(SINCE_MIDNIGHT)} WHERE {CALLS}
""",
    width=6,
    height=4,
)

_OVER_TIME = spend_by_team("spend-over-time", "Who spends, and when?")

_SPLIT = Panel(
    id="split",
    title="What does the money go to?",
    description="Calls of models by provider, containers by cluster, and what of clusters is idle, which "
    "no other sum on this page has in it.",
    kind="pie",
    unit="usd",
    sql=f"""
SELECT * FROM (
SELECT if(kind = 'tokens', 'AI: ' || if(provider = '', 'other', provider),
          'Kubernetes: ' || if(cluster = '', 'other', cluster)) AS series, {money()} AS spend
FROM {SPAN} WHERE {ALL_SPEND}
GROUP BY series HAVING spend > 0
UNION ALL
SELECT 'Kubernetes: idle' AS series, {money()} AS spend FROM allocation WHERE {ALLOCATED} AND line = 'idle'
HAVING spend > 0)
ORDER BY spend DESC, series LIMIT 10
""",
    width=8,
    height=9,
)

_WORST_BUDGETS = Panel(
    id="worst-budgets",
    title="Which budgets are closest to their limit?",
    description="The five of which most is used, as they last stood in the chosen range.",
    kind="table",
    unit="usd",
    units={"used": "ratio", "breach": "ratio"},
    thresholds=USED,
    sql=f"""
SELECT name AS budget, {money("spent")} AS spent, {money("allowed")} AS allowed,
    spent / nullIf(allowed, 0) AS used, {money("expected")} AS expected, breach
FROM ({NEWEST_STANDING}) ORDER BY used DESC, budget LIMIT 5
""",
    width=12,
    height=6,
)

_ALERTS = Panel(
    id="alerts",
    title="What should somebody look at?",
    description="Alerts that fire, the worst and newest first.",
    kind="table",
    unit="number",
    sql=f"""
SELECT severity, team, title, started_at AS since
FROM alert WHERE {FIRING} AND {TEAM}
ORDER BY indexOf(['critical', 'warning', 'info'], severity), since DESC, title LIMIT 20
""",
    width=12,
    height=6,
)

_SAVED = Panel(
    id="saved",
    title="What has been saved, and by what?",
    description="Money that calls would have cost without the cache, routing and shorter prompts.",
    kind="bars",
    unit="usd",
    sql=f"""
SELECT {TIME}, {avoided_by()}
FROM cost_window WHERE {WINDOWS} AND {CALLS}
GROUP BY time ORDER BY time
""",
    width=24,
)

_TOTALS = Panel(
    id="totals",
    title="What happened in this range?",
    description="Sums over the whole range, to the minute.",
    kind="stat",
    unit="usd",
    units={"calls": "calls", "tokens": "tokens", "calls without a price": "calls"},
    sql=f"""
SELECT {money()} AS spend, {money(AVOIDED)} AS saved, sumIf(events, kind = 'tokens') AS calls,
    sum(input_tokens + output_tokens) AS tokens, sumIf(unpriced, kind = 'tokens') AS "calls without a price"
FROM {SPAN} WHERE {ALL_SPEND}
""",
    width=24,
    height=4,
)

OVERVIEW = Dashboard(
    slug="overview",
    title="Overview",
    description="How spend stands now, what it goes to, and what needs attention.",
    variables=variables.ALL,
    rows=(
        Row(title="Now", panels=(_SPEND_TODAY, _RUN_RATE, _FIRING_NOW, _CACHE)),
        Row(title="Needs attention", panels=(_WORST_BUDGETS, _ALERTS)),
        Row(title="In this range", panels=(_TOTALS, _OVER_TIME, _SPLIT, _SAVED)),
    ),
)
