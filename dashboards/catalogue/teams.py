"""Teams & chargeback: who spends, on what, and how that has changed."""

from __future__ import annotations

from dashboards import variables
from dashboards.catalogue.shared import spend_by_team
from dashboards.panel import Dashboard, Panel, Row, Threshold
from dashboards.sql import ALL_SPEND, CALLERS, SPAN, SPAN_BEFORE, largest, money, named

__all__ = ["TEAMS"]

_BY_TEAM = spend_by_team("by-team", "Which team spends how much?")

_UNALLOCATED = Panel(
    id="unallocated",
    title="How much belongs to nobody?",
    description="Spend without a team, and its share of all spend in the range.",
    kind="stat",
    unit="usd",
    units={"share": "ratio"},
    sql=f"""
SELECT {money("sumIf(cost, team = '')")} AS unallocated, unallocated / nullIf({money()}, 0) AS share
FROM {SPAN} WHERE {ALL_SPEND}
""",
    width=8,
    height=9,
)

_CHARGEBACK = Panel(
    id="chargeback",
    title="What is each team charged?",
    description="Calls of models and containers of the range, and the change against as long a time "
    "before it.",
    kind="table",
    unit="usd",
    units={"share": "ratio", "change": "ratio", "calls": "calls"},
    sql=f"""
SELECT {named("team")} AS team, {money("sumIf(cost, kind = 'tokens' AND recent)")} AS models,
    {money("sumIf(cost, kind = 'pods' AND recent)")} AS containers, models + containers AS spend,
    spend / nullIf(sum(spend) OVER (), 0) AS share, sumIf(events, kind = 'tokens' AND recent) AS calls,
    {money("sumIf(cost, NOT recent)")} AS before, spend / nullIf(before, 0) - 1 AS change
FROM (SELECT kind, team, cost, events, true AS recent FROM {SPAN} WHERE {ALL_SPEND}
    UNION ALL SELECT kind, team, cost, events, false AS recent FROM {SPAN_BEFORE} WHERE {ALL_SPEND})
GROUP BY team ORDER BY spend DESC, team LIMIT 100
""",
    width=24,
    height=9,
)

_MOVERS = Panel(
    id="movers",
    title="Who spends more than before?",
    description="The biggest differences against as long a time before the range, up or down.",
    kind="ranking",
    unit="usd",
    sql=f"""
SELECT {named("team")} || ' · ' || {named("project")} AS series,
    {money("sumIf(cost, recent) - sumIf(cost, NOT recent)")} AS more
FROM (SELECT team, project, cost, true AS recent FROM {SPAN} WHERE {ALL_SPEND}
    UNION ALL SELECT team, project, cost, false AS recent FROM {SPAN_BEFORE} WHERE {ALL_SPEND})
GROUP BY series ORDER BY abs(more) DESC, series LIMIT 10
""",
)

_BY_PROJECT = Panel(
    id="by-project",
    title="Which projects cost most?",
    description="Spend by team and project in the range.",
    kind="ranking",
    unit="usd",
    sql=largest(
        f"{named('team')} || ' · ' || {named('project')}", money(), "spend", f"{SPAN} WHERE {ALL_SPEND}"
    ),
)

_BY_ENVIRONMENT = Panel(
    id="by-environment",
    title="How much of it is production?",
    description="Spend by environment in the range.",
    kind="pie",
    unit="usd",
    sql=largest(named("environment"), money(), "spend", f"{SPAN} WHERE {ALL_SPEND}", above_zero=True),
    width=8,
)

_TOP_KEYS = Panel(
    id="top-keys",
    title="Which API keys spend most?",
    description="Spend on calls by API key in the range.",
    kind="ranking",
    unit="usd",
    sql=largest(named("key_id"), money(), "spend", CALLERS, above_zero=True),
    width=8,
)

_TOP_USERS = Panel(
    id="top-users",
    title="Which users spend most?",
    description="Spend on calls by user in the range.",
    kind="ranking",
    unit="usd",
    sql=largest(named("user"), money(), "spend", CALLERS, above_zero=True),
    width=8,
)

_UNPRICED = Panel(
    id="unpriced-by-team",
    title="Whose spend is not complete?",
    description="Calls that no price covers are in no sum above; they count once there is a price.",
    kind="ranking",
    unit="calls",
    thresholds=(Threshold(value=1, colour="orange"),),
    sql=largest(
        named("team"), "toInt64(sum(unpriced))", "calls", f"{SPAN} WHERE {ALL_SPEND}", above_zero=True
    ),
    decimals=0,
    width=24,
    height=6,
)

TEAMS = Dashboard(
    slug="teams",
    title="Teams & chargeback",
    description="Who spends, on what, and how that has changed.",
    variables=variables.ALL,
    since="now-7d",
    rows=(
        Row(title="Teams", panels=(_BY_TEAM, _UNALLOCATED, _CHARGEBACK)),
        Row(title="Changes", panels=(_MOVERS, _BY_PROJECT)),
        Row(title="Inside", panels=(_BY_ENVIRONMENT, _TOP_KEYS, _TOP_USERS, _UNPRICED)),
    ),
)
