"""AI spend: which models cost what, how well the cache does, what a call costs, what is wasted."""

from __future__ import annotations

from dashboards import variables
from dashboards.catalogue.shared import avoided_by
from dashboards.panel import Dashboard, Panel, Row, Threshold
from dashboards.sql import CALLS, RAW_CALLS, SPAN, TIME, WINDOWS, largest, money, named, over_time

__all__ = ["AI_SPEND"]

_PER_HOUR = "* 3600 / $__interval_s"
_TIME_OF_CALL = "$__timeInterval(event_time) AS time"


def _quantile(share: float) -> str:
    """Return the SQL of a quantile of durations in milliseconds; docs/queries.md has the reasons."""
    return (
        f"0.99 * pow(101 / 99, arrayFirst((i, n) -> n > {share} * (up_to[-1] - 1), "
        "mapKeys(buckets), up_to)) / 1000"
    )


_COST_PER_HOUR = Panel(
    id="cost-per-hour",
    title="What do tokens cost per hour?",
    description="Cost of calls as dollars an hour, by model.",
    kind="bars",
    unit="usd",
    sql=over_time("model", CALLS, f"{money()} {_PER_HOUR} AS cost"),
)

_TOKENS_PER_HOUR = Panel(
    id="tokens-per-hour",
    title="How many tokens are used per hour?",
    description="By what they are billed as: input read anew, input from the provider's cache or written "
    "to it, visible output, and reasoning.",
    kind="bars",
    unit="tokens",
    sql=f"""
SELECT {TIME},
    (sum(input_tokens) - sum(cache_read_tokens) - sum(cache_write_tokens)) {_PER_HOUR} AS input,
    sum(cache_read_tokens) {_PER_HOUR} AS "cache read", sum(cache_write_tokens) {_PER_HOUR} AS "cache write",
    (sum(output_tokens) - sum(reasoning_tokens)) {_PER_HOUR} AS output,
    sum(reasoning_tokens) {_PER_HOUR} AS reasoning
FROM cost_window WHERE {WINDOWS} AND {CALLS}
GROUP BY time ORDER BY time
""",
)

_MODELS = Panel(
    id="model-distribution",
    title="Which models are used?",
    description="Calls by model in the range.",
    kind="pie",
    unit="calls",
    sql=largest(named("model"), "sum(events)", "calls", f"{SPAN} WHERE {CALLS}"),
    width=8,
)

_COST_BY_MODEL = Panel(
    id="cost-by-model",
    title="Which models cost most?",
    description="Cost of calls by model in the range.",
    kind="ranking",
    unit="usd",
    sql=largest(named("model"), money(), "cost", f"{SPAN} WHERE {CALLS}"),
    width=8,
)

_COST_BY_PROVIDER = Panel(
    id="cost-by-provider",
    title="Which providers do we pay?",
    description="Cost of calls by provider in the range.",
    kind="pie",
    unit="usd",
    sql=largest(named("provider"), money(), "cost", f"{SPAN} WHERE {CALLS}", above_zero=True),
    width=8,
)

_HIT_RATIO = Panel(
    id="cache-hit-ratio",
    title="How often does the cache answer?",
    description="Calls that the gateway's cache answered, as a share of all; and the same by tokens.",
    kind="time_series",
    unit="ratio",
    sql=f"""
SELECT {TIME}, sum(cache_hits) / nullIf(sum(events), 0) AS "of calls",
    sum(cache_hit_tokens) / nullIf(sum(input_tokens) + sum(output_tokens), 0) AS "of tokens"
FROM cost_window WHERE {WINDOWS} AND {CALLS}
GROUP BY time ORDER BY time
""",
)

_HIT_RATIO_BY = Panel(
    id="cache-hit-ratio-by",
    title="Where does the cache help most?",
    description="Hit ratio and what it saved, by team and model in the range.",
    kind="table",
    unit="usd",
    units={"hit ratio": "ratio", "calls": "calls"},
    sql=f"""
SELECT {named("team")} AS team, {named("model")} AS model, sum(events) AS calls,
    sum(cache_hits) / nullIf(calls, 0) AS "hit ratio", {money("sum(avoided_by_cache)")} AS saved
FROM {SPAN} WHERE {CALLS}
GROUP BY team, model ORDER BY saved DESC, calls DESC, team, model LIMIT 50
""",
)

_UNDER_WAY = Panel(
    id="active-requests",
    title="How many calls are under way?",
    description="On average over each point: the time that calls took, divided by the time that passed.",
    kind="time_series",
    unit="number",
    sql=f"""
SELECT {_TIME_OF_CALL}, sum(duration_us) / 1000000 / $__interval_s AS "under way"
FROM token_usage WHERE {RAW_CALLS}
GROUP BY time ORDER BY time
""",
)

_SAVINGS = Panel(
    id="savings",
    title="What has been saved, and by what?",
    description="What calls would have cost without the cache, routing and shorter prompts, as dollars an "
    "hour.",
    kind="bars",
    unit="usd",
    sql=f"""
SELECT {TIME}, {avoided_by(_PER_HOUR)}
FROM cost_window WHERE {WINDOWS} AND {CALLS}
GROUP BY time ORDER BY time
""",
)

_PER_MILLION = Panel(
    id="per-million",
    title="What does a million tokens cost?",
    description="Cost of calls divided by their input and output tokens, by model.",
    kind="time_series",
    unit="usd",
    sql=over_time(
        "model",
        CALLS,
        f"{money()} * 1000000 / nullIf(sum(input_tokens) + sum(output_tokens), 0) AS cost",
        most=6,
    ),
)

_PER_CALL = Panel(
    id="per-call",
    title="What does a call cost?",
    description="Median and 95th percentile of calls that the provider answered, from the calls themselves.",
    kind="time_series",
    unit="usd",
    sql=f"""
SELECT {_TIME_OF_CALL}, quantile(0.5)(toFloat64(cost)) AS median, quantile(0.95)(toFloat64(cost)) AS p95
FROM token_usage WHERE {RAW_CALLS} AND cost > 0
GROUP BY time ORDER BY time
""",
    decimals=5,
)

_DEAREST = Panel(
    id="dearest",
    title="Which calls were the dearest?",
    description="From the calls themselves, which are kept for raw_retention_days.",
    kind="table",
    unit="usd",
    units={"input": "tokens", "output": "tokens", "took": "ms"},
    sql=f"""
SELECT event_time AS ended, {named("team")} AS team, {named("user")} AS user, model,
    input_tokens AS input, output_tokens AS output, duration_us / 1000 AS took, {money("cost")} AS cost
FROM token_usage WHERE {RAW_CALLS} AND cost IS NOT NULL
ORDER BY cost DESC, ended LIMIT 20
""",
)

_WASTE = Panel(
    id="waste",
    title="What is wasted?",
    description="Money paid for calls that failed, or whose answer broke off on the way. From the calls "
    "themselves, which are kept for raw_retention_days.",
    kind="bars",
    unit="usd",
    sql=f"""
SELECT {_TIME_OF_CALL}, {money("sumIf(assumeNotNull(cost), status >= 400)")} AS failed,
    {money("sumIf(assumeNotNull(cost), status < 400 AND usage_source = 'interrupted')")} AS interrupted
FROM token_usage WHERE {RAW_CALLS} AND cost > 0
GROUP BY time ORDER BY time
""",
)

_ERRORS = Panel(
    id="errors",
    title="How many calls fail?",
    description="Calls with an error as a share of all, by model.",
    kind="time_series",
    unit="ratio",
    thresholds=(Threshold(value=0.05, colour="red"),),
    sql=over_time("model", CALLS, "sum(errors) / nullIf(sum(events), 0) AS failed", most=6),
)

_LATENCY = Panel(
    id="latency",
    title="How long do calls take?",
    description="Percentiles of whole hours or more, within one per cent.",
    kind="time_series",
    unit="ms",
    sql=f"""
SELECT time, {_quantile(0.5)} AS p50, {_quantile(0.95)} AS p95, {_quantile(0.99)} AS p99
FROM (
    SELECT {TIME}, mapSort(sumMap(latency)) AS buckets, arrayCumSum(mapValues(buckets)) AS up_to
    FROM cost_window
    WHERE window_seconds = 3600 AND window_start >= toStartOfHour($__fromTime) AND window_start <= $__toTime
        AND {CALLS}
    GROUP BY time HAVING notEmpty(buckets))
ORDER BY time
""",
    step=3600,
)

AI_SPEND = Dashboard(
    slug="ai-spend",
    title="AI spend",
    description="Which models cost what, how well the cache does, what a call costs, and what is wasted.",
    variables=(variables.TEAM, variables.PROJECT, variables.ENVIRONMENT, variables.MODEL),
    rows=(
        Row(
            title="Cost and tokens",
            panels=(_COST_PER_HOUR, _TOKENS_PER_HOUR, _MODELS, _COST_BY_MODEL, _COST_BY_PROVIDER),
        ),
        Row(title="Cache and savings", panels=(_HIT_RATIO, _HIT_RATIO_BY, _SAVINGS, _PER_MILLION)),
        Row(title="Calls", panels=(_PER_CALL, _DEAREST, _UNDER_WAY, _LATENCY)),
        Row(title="Waste", panels=(_WASTE, _ERRORS)),
    ),
)
