"""Optimisation: what has been saved, how, and what a unit costs before and after."""

from __future__ import annotations

from dashboards import variables
from dashboards.catalogue.shared import AVOIDED, RECOMMENDED, a_month, avoided_by
from dashboards.panel import Dashboard, Panel, Row
from dashboards.sql import (
    CALLERS,
    CALLS,
    RAW_CALLS,
    SPAN,
    SPAN_BEFORE,
    TEAM,
    TIME,
    WINDOWS,
    largest,
    money,
    named,
    over_time,
)

__all__ = ["OPTIMISATION"]

_WHOLE = f"nullIf({money(f'sum(cost) + {AVOIDED}')}, 0)"
"""What calls would have cost."""

_REALISED = Panel(
    id="realised",
    title="What has been saved?",
    description="Money that calls did not cost, by what avoided it, and as a share of what they would "
    "have cost.",
    kind="stat",
    unit="usd",
    units={"share": "ratio"},
    sql=f"""
SELECT {avoided_by()}, {money(AVOIDED)} / {_WHOLE} AS share
FROM {SPAN} WHERE {CALLS}
""",
    width=16,
    height=6,
)

_BEFORE_AFTER = Panel(
    id="before-after",
    title="What does a thousand calls cost, before and now?",
    description="Of the range, and of as long a time before it.",
    kind="stat",
    unit="usd",
    sql=f"""
SELECT
    (SELECT {money()} * 1000 / nullIf(sum(events), 0) FROM {SPAN_BEFORE} WHERE {CALLS}) AS before,
    (SELECT {money()} * 1000 / nullIf(sum(events), 0) FROM {SPAN} WHERE {CALLS}) AS now
""",
    width=8,
    height=6,
)

_OVER_TIME = Panel(
    id="over-time",
    title="How much of the spend is avoided?",
    description="Of what calls would have cost, the share that they did not.",
    kind="time_series",
    unit="ratio",
    sql=f"""
SELECT {TIME}, {avoided_by(f"/ {_WHOLE}")}
FROM cost_window WHERE {WINDOWS} AND {CALLS}
GROUP BY time ORDER BY time
""",
)

_MIX = Panel(
    id="mix",
    title="Do calls move to cheaper models?",
    description="Calls by model, those that cost most in the range by themselves.",
    kind="bars",
    unit="calls",
    sql=over_time("model", CALLS, "sum(events) AS calls"),
)

_ROUTES = Panel(
    id="routes",
    title="What do routes save?",
    description="Calls that a route decided on, what they cost and what was saved.",
    kind="table",
    unit="usd",
    units={"calls": "calls"},
    sql=f"""
SELECT route, {named("model")} AS model, sum(calls) AS calls, {money("sum(cost)")} AS cost,
    {money("sum(avoided_by_routing)")} AS saved
FROM {CALLERS} AND route != ''
GROUP BY route, model ORDER BY saved DESC, calls DESC, route, model LIMIT 50
""",
)

_BY_TEAM = Panel(
    id="by-team",
    title="Who saves most?",
    description="What the cache, routing and shorter prompts avoided, by team in the range.",
    kind="ranking",
    unit="usd",
    sql=largest(named("team"), money(AVOIDED), "saved", f"{SPAN} WHERE {CALLS}", above_zero=True),
)

_OUTCOMES = Panel(
    id="outcomes",
    title="How does the cache answer?",
    description="Calls by whether the cache answered them, to the letter or by meaning. From the calls "
    "themselves.",
    kind="bars",
    unit="calls",
    sql=f"""
SELECT $__timeInterval(event_time) AS time, cache_outcome AS series, count() AS calls
FROM token_usage WHERE {RAW_CALLS}
GROUP BY time, series ORDER BY time, series
""",
)

_OPPORTUNITIES = Panel(
    id="opportunities",
    title="What could still be saved?",
    description="Opportunities that were found and not taken.",
    kind="table",
    unit="number",
    sql=f"""
SELECT started_at AS since, team AS team, title, summary
FROM alert WHERE kind = 'opportunity' AND state = 'firing' AND started_at <= $__toTime AND {TEAM}
ORDER BY since DESC, title LIMIT 50
""",
)

_RECOMMENDATIONS = Panel(
    id="recommendations",
    title="What should be changed next?",
    description="Open recommendations for containers, and what was decided on them. What is accepted is "
    "applied by `spendstream recommend apply`.",
    kind="table",
    unit="usd",
    units={"confidence": "ratio"},
    sql=f"""
SELECT id, namespace || '/' || workload || '/' || container AS container, team,
    {a_month("freed_per_hour")} AS "freed a month", confidence, arrayStringConcat(reasons, '; ') AS why,
    if(decision = '', 'open', decision) AS decision
FROM recommendation LEFT JOIN recommendation_decision USING (id)
WHERE state = 'open' AND {RECOMMENDED}
ORDER BY decision = 'dismissed', "freed a month" DESC NULLS LAST, container LIMIT 50
""",
    width=24,
    height=6,
)

_APPLIED = Panel(
    id="applied",
    title="What did applied recommendations save?",
    description="What is saved in a month of 730 hours at today's replicas, and on how many days since "
    "memory exceeded its new request.",
    kind="table",
    unit="usd",
    units={"days": "number", "breaches": "number"},
    sql=f"""
SELECT namespace || '/' || workload || '/' || container AS container, team, applied_at AS since,
    {a_month("saved_per_hour")} AS "saved a month", followed_days AS days, breaches
FROM recommendation WHERE state = 'applied' AND {RECOMMENDED}
ORDER BY "saved a month" DESC NULLS LAST, container LIMIT 50
""",
)


def _of_a_run(column: str) -> str:
    """Return the condition that a name is a simulation's run's; by prefixes, as tables are sorted by."""
    return f"(startsWith({column}, 'unoptimized-') OR startsWith({column}, 'optimized-'))"


_PHASES = Panel(
    id="phases",
    title="What did the simulation's phases cost?",
    description="Calls and clusters of all runs of `spendstream simulate`, which are named after their "
    "phase, whatever the range: a simulated cluster lives in simulated weeks.",
    kind="ranking",
    unit="usd",
    sql=f"""
SELECT series, {money("sum(amount)")} AS cost FROM (
    SELECT environment || ': calls' AS series, sum(cost) AS amount
    FROM cost_window
    WHERE window_seconds = 86400 AND kind = 'tokens' AND {_of_a_run("environment")} GROUP BY series
    UNION ALL
    SELECT cluster || ': clusters' AS series, sum(cost) AS amount
    FROM allocation WHERE {_of_a_run("cluster")} GROUP BY series)
GROUP BY series ORDER BY cost DESC, series LIMIT 10
""",
)

OPTIMISATION = Dashboard(
    slug="optimisation",
    title="Optimisation",
    description="What has been saved, how, and what a unit costs before and after.",
    variables=(variables.TEAM, variables.PROJECT, variables.ENVIRONMENT, variables.MODEL),
    since="now-7d",
    rows=(
        Row(title="Realised", panels=(_REALISED, _BEFORE_AFTER, _OVER_TIME, _MIX)),
        Row(title="Next", panels=(_RECOMMENDATIONS, _APPLIED, _PHASES)),
        Row(title="By what", panels=(_ROUTES, _BY_TEAM, _OUTCOMES, _OPPORTUNITIES)),
    ),
)
