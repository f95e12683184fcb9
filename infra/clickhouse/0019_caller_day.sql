-- What callers spent in each day (UTC) that is over: the calls of one user, API key, route and model together. The
-- sinks add a day up from its calls, and again when the parts that hold them have changed; the highest version wins.
CREATE TABLE caller_day_state
(
    day                DateTime('UTC') CODEC(Delta, ZSTD(1)),
    org                LowCardinality(String),
    team               LowCardinality(String),
    project            LowCardinality(String),
    environment        LowCardinality(String),
    service            LowCardinality(String),
    user               String CODEC(ZSTD(1)),
    key_id             LowCardinality(String),
    route              LowCardinality(String),
    provider           LowCardinality(String),
    model              LowCardinality(String),
    ver                UInt64 COMMENT 'when the day was added up, in microseconds since 1970',
    calls              UInt64,
    unpriced           UInt64,
    cost               Decimal(38, 12),
    avoided_by_routing Decimal(38, 12),
    arrived_at         DateTime('UTC') DEFAULT now() COMMENT 'retention counts from here'
)
ENGINE = ReplacingMergeTree(ver)
PARTITION BY toYYYYMM(day)
ORDER BY (team, day, org, project, environment, service, user, key_id, route, provider, model);

-- Which days are added up, and from which parts. A day's row is written after all its callers'.
CREATE TABLE caller_day_made
(
    day   Date,
    ver   UInt64,
    calls UInt64,
    parts UInt64 COMMENT 'hash of the names of the parts that held the calls'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY day;

-- What callers spent from `since` until before `until`: days that are added up, and of the rest the calls themselves.
CREATE VIEW caller_spend AS
WITH
    toStartOfDay({since:DateTime('UTC')} + 86399) AS first_day,
    toStartOfDay({until:DateTime('UTC')}) AS last_day
SELECT org, team, project, environment, service, user, key_id, route, provider, model, calls, unpriced, cost, avoided_by_routing
FROM caller_day_state FINAL
WHERE day >= first_day AND day < last_day AND toDate(day) IN (SELECT day FROM caller_day_made)
UNION ALL
SELECT org, team, project, environment, service, user, key_id, route, provider, model, 1, isNull(c.cost), ifNull(c.cost, 0), c.avoided_by_routing
FROM token_usage_raw AS c FINAL
WHERE event_time >= {since:DateTime('UTC')} AND event_time < {until:DateTime('UTC')}
    AND (
        event_time < first_day OR event_time >= last_day
        OR toDate(event_time) NOT IN (SELECT day FROM caller_day_made)
    )
SETTINGS do_not_merge_across_partitions_select_final = 1;
