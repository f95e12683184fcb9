"""Trust: whether the numbers are complete, fresh and in agreement."""

from __future__ import annotations

from dashboards import variables
from dashboards.panel import Dashboard, Panel, Row, Threshold
from dashboards.sql import ALL_SPEND, CALLS, SPAN, TEAM, TIME, WINDOWS, largest, money, named

__all__ = ["TRUST"]

_ANY = (Threshold(value=0, colour="green"), Threshold(value=1, colour="orange"))

_COMPLETE = Panel(
    id="complete",
    title="Is anything missing?",
    description="Calls without a price, events that came later than allowed, and records that could not "
    "be read.",
    kind="stat",
    unit="number",
    thresholds=_ANY,
    sql=f"""
SELECT
    (SELECT toInt64(sum(unpriced)) FROM {SPAN} WHERE {ALL_SPEND}) AS unpriced,
    (SELECT count() FROM late_usage WHERE $__timeFilter(arrived_at) AND {TEAM}) AS late,
    (SELECT count() FROM dead_letter WHERE $__timeFilter(arrived_at)) AS "dead letters"
""",
    decimals=0,
)

_AGREEMENT = Panel(
    id="agreement",
    title="Do sums and rows agree?",
    description="Cost of the calls in the minutes of the range, as they are stored and as the windows "
    "count them. A difference is the sign of a fault. Calls older than raw_retention_days are "
    "not stored.",
    kind="stat",
    unit="usd",
    units={"difference": "usd"},
    sql="""
SELECT toFloat64(stored) AS "as stored", toFloat64(counted) AS "as counted",
    toFloat64(stored - counted) AS difference
FROM (SELECT
    (SELECT sum(assumeNotNull(cost)) FROM token_usage WHERE event_time >= toStartOfMinute($__fromTime)
        AND event_time < toStartOfMinute($__toTime) AND cost IS NOT NULL) AS stored,
    (SELECT sum(cost) FROM cost_window WHERE window_seconds = 60 AND kind = 'tokens'
        AND window_start >= toStartOfMinute($__fromTime)
        AND window_start < toStartOfMinute($__toTime)) AS counted)
""",
    decimals=6,
)

_FRESH = Panel(
    id="fresh",
    title="How old is the newest of each source?",
    description="From the end of the range back to when the broker got the newest event of a source.",
    kind="table",
    unit="s",
    sql="""
SELECT src AS source, max(arrived_at) AS "newest arrival",
    dateDiff('second', max(arrived_at), toDateTime($__toTime)) AS age
FROM cost_window_state WHERE window_seconds = 86400 AND window_start >= toStartOfDay($__fromTime)
    AND window_start <= $__toTime
GROUP BY src ORDER BY "newest arrival" DESC, src LIMIT 50
""",
)

_LAG = Panel(
    id="lag",
    title="How far behind are the workers?",
    description="Records in Kafka that have not landed yet.",
    kind="time_series",
    unit="number",
    prometheus="sum by (topic) (spendstream_worker_lag)",
)

_DISCARDED = Panel(
    id="discarded",
    title="What is not landed, and why?",
    description="Duplicates, which are counted once, and dead letters, by the stage that refused them; "
    "per second.",
    kind="time_series",
    unit="number",
    prometheus="sum by (reason) (rate(spendstream_worker_discarded_total[$__rate_interval]))",
)

_UNPRICED = Panel(
    id="unpriced",
    title="When did calls have no price?",
    description="Calls that no price covers yet; their cost is in no sum.",
    kind="bars",
    unit="calls",
    sql=f"""
SELECT {TIME}, toInt64(sum(unpriced)) AS calls
FROM cost_window WHERE {WINDOWS} AND {CALLS}
GROUP BY time ORDER BY time
""",
    decimals=0,
)

_UNPRICED_MODELS = Panel(
    id="unpriced-models",
    title="Which models have no price?",
    description="Give them one in the price file, then `spendstream reprice`.",
    kind="ranking",
    unit="calls",
    sql=largest(
        f"{named('provider')} || ' · ' || {named('model')}",
        "toInt64(sum(unpriced))",
        "calls",
        f"{SPAN} WHERE {CALLS}",
        above_zero=True,
    ),
    decimals=0,
)

_LATE = Panel(
    id="late",
    title="What came too late?",
    description="Events later than allowed_lateness_s: they are counted, and correct windows long after "
    "their time.",
    kind="bars",
    unit="number",
    sql=f"""
SELECT $__timeInterval(arrived_at) AS time, {named("team")} AS series, count() AS events
FROM late_usage WHERE $__timeFilter(arrived_at) AND {TEAM}
GROUP BY time, series ORDER BY time, series
""",
    decimals=0,
)

_LETTERS = Panel(
    id="letters",
    title="What could not be read?",
    description="Dead letters by where and why; their bytes are kept, see `spendstream deadletter`.",
    kind="table",
    unit="number",
    sql="""
SELECT topic, stage, substring(reason, 1, 120) AS why, count() AS records, max(arrived_at) AS newest
FROM dead_letter WHERE $__timeFilter(arrived_at)
GROUP BY topic, stage, why ORDER BY records DESC, newest DESC LIMIT 50
""",
    decimals=0,
)

_SOURCES = Panel(
    id="usage-sources",
    title="How do we know what was used?",
    description="Cost by where the token counts come from: the provider's own, our estimate, the cache, "
    "or what came until a call broke off. From the calls themselves.",
    kind="pie",
    unit="usd",
    sql=largest(
        named("usage_source"),
        money(),
        "spend",
        f"token_usage WHERE $__timeFilter(event_time) AND {TEAM} AND cost > 0",
    ),
)

TRUST = Dashboard(
    slug="trust",
    title="Trust",
    description="Whether the numbers are complete, fresh and in agreement.",
    variables=variables.ALL,
    rows=(
        Row(title="Now", panels=(_COMPLETE, _AGREEMENT)),
        Row(title="Flow", panels=(_FRESH, _LAG, _DISCARDED, _LATE)),
        Row(title="Completeness", panels=(_UNPRICED, _UNPRICED_MODELS, _LETTERS, _SOURCES)),
    ),
)
