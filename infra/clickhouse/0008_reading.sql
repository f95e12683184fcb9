-- A source may have fewer unpriced events than none: when a price came for those that another source delivered.
ALTER TABLE cost_window_state MODIFY COLUMN unpriced Int64;

-- Rolling windows out of tumbling ones: the minutes that have ended by `until`, `seconds` back from there. Days
-- where they fit, hours before and after them, minutes at the edges: spendstream/rolling.py has the same rule.
CREATE VIEW cost_rolling AS
WITH
    toStartOfMinute({until:DateTime('UTC')}) AS stop,
    stop - {seconds:UInt32} AS start,
    toStartOfHour(start + 3599) AS first_hour,
    toStartOfHour(stop) AS last_hour,
    toStartOfDay(start + 86399) AS first_day,
    toStartOfDay(stop) AS last_day
SELECT
    kind,
    org,
    team,
    project,
    environment,
    provider,
    model,
    cluster,
    namespace,
    sum(s.events) AS events,
    sum(s.unpriced) AS unpriced,
    sum(s.errors) AS errors,
    sum(s.cache_hits) AS cache_hits,
    sum(s.cache_hit_tokens) AS cache_hit_tokens,
    sum(s.cost) AS cost,
    sum(s.list_cost) AS list_cost,
    sum(s.avoided_by_cache) AS avoided_by_cache,
    sum(s.avoided_by_routing) AS avoided_by_routing,
    sum(s.avoided_by_compression) AS avoided_by_compression,
    sum(s.input_tokens) AS input_tokens,
    sum(s.output_tokens) AS output_tokens,
    sum(s.cache_read_tokens) AS cache_read_tokens,
    sum(s.cache_write_tokens) AS cache_write_tokens,
    sum(s.reasoning_tokens) AS reasoning_tokens,
    if(kind = 'tokens' AND events > 0, cache_hits / events, NULL) AS cache_hit_ratio,
    if(input_tokens + output_tokens > 0, cache_hit_tokens / (input_tokens + output_tokens), NULL) AS cache_hit_ratio_by_tokens,
    if(cost + avoided_by_cache > 0, toFloat64(avoided_by_cache) / toFloat64(cost + avoided_by_cache), NULL) AS cache_hit_ratio_by_cost,
    if(kind = 'tokens' AND events > 0, errors / events, NULL) AS error_rate
FROM cost_window_state AS s FINAL
WHERE window_start >= start AND window_start < stop
    AND (
        (window_seconds = 86400 AND window_start >= first_day AND window_start < last_day)
        OR (window_seconds = 3600 AND window_start >= first_hour AND window_start < last_hour
            AND (window_start < first_day OR window_start >= last_day))
        OR (window_seconds = 60 AND (window_start < first_hour OR window_start >= last_hour))
    )
GROUP BY kind, org, team, project, environment, provider, model, cluster, namespace
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- How long calls took, out of the buckets of spendstream/latency.py, within one per cent: the middle of the first
-- bucket with more calls up to it than the quantile's rank. A bucket ends at 101 / 99 times its beginning, and its
-- middle (2 / (101 / 99 + 1) = 0.99 times its end) is within one per cent of all of it.
CREATE VIEW latency_window AS
WITH
    mapSort(sumMap(s.latency)) AS buckets,
    arrayCumSum(mapValues(buckets)) AS up_to,
    arrayMap(
        q -> 0.99 * pow(101 / 99, mapKeys(buckets)[arrayFirstIndex(n -> n > q * (up_to[-1] - 1), up_to)]) / 1000,
        [0.5, 0.95, 0.99]
    ) AS quantiles_ms
SELECT
    window_start,
    org,
    team,
    project,
    environment,
    provider,
    model,
    up_to[-1] AS calls,
    quantiles_ms[1] AS p50_ms,
    quantiles_ms[2] AS p95_ms,
    quantiles_ms[3] AS p99_ms
FROM cost_window_state AS s FINAL
WHERE window_seconds = 3600 AND kind = 'tokens'
GROUP BY window_start, org, team, project, environment, provider, model
HAVING notEmpty(buckets)
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The same of the whole hours among the last `seconds` before `until`.
CREATE VIEW latency_rolling AS
WITH
    mapSort(sumMap(s.latency)) AS buckets,
    arrayCumSum(mapValues(buckets)) AS up_to,
    arrayMap(
        q -> 0.99 * pow(101 / 99, mapKeys(buckets)[arrayFirstIndex(n -> n > q * (up_to[-1] - 1), up_to)]) / 1000,
        [0.5, 0.95, 0.99]
    ) AS quantiles_ms
SELECT
    org,
    team,
    project,
    environment,
    provider,
    model,
    up_to[-1] AS calls,
    quantiles_ms[1] AS p50_ms,
    quantiles_ms[2] AS p95_ms,
    quantiles_ms[3] AS p99_ms
FROM cost_window_state AS s FINAL
WHERE window_seconds = 3600 AND kind = 'tokens'
    AND window_start >= toStartOfMinute({until:DateTime('UTC')}) - {seconds:UInt32}
    AND window_start < toStartOfHour({until:DateTime('UTC')})
GROUP BY org, team, project, environment, provider, model
HAVING notEmpty(buckets)
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- What serving costs: pods and tokens of the same hour and owner side by side, whichever of them there are.
-- Money for a million tokens or a thousand requests is cut off after the picodollar.
CREATE VIEW unit_cost AS
SELECT
    window_start AS hour,
    org,
    team,
    project,
    environment,
    sumIf(s.cost, kind = 'pods') AS pod_cost,
    sumIf(s.cost, kind = 'tokens') AS token_cost,
    sumIf(s.input_tokens + s.output_tokens, kind = 'tokens') AS tokens,
    sumIf(s.events, kind = 'tokens') AS requests,
    sumIf(s.errors, kind = 'tokens') AS errors,
    sumIf(s.unpriced, kind = 'tokens') AS unpriced,
    toDecimal256(pod_cost, 12) * 1000000 / nullIf(tokens, 0) AS pod_cost_per_million_tokens,
    toDecimal256(pod_cost + token_cost, 12) * 1000000 / nullIf(tokens, 0) AS cost_per_million_tokens,
    toDecimal256(pod_cost + token_cost, 12) * 1000 / nullIf(requests, 0) AS cost_per_thousand_requests,
    sum(s.avoided_by_cache) AS avoided_by_cache,
    sum(s.avoided_by_routing) AS avoided_by_routing,
    sum(s.avoided_by_compression) AS avoided_by_compression,
    toFloat64(avoided_by_cache + avoided_by_routing + avoided_by_compression)
        / nullIf(toFloat64(token_cost + avoided_by_cache + avoided_by_routing + avoided_by_compression), 0) AS avoided_share
FROM cost_window_state AS s FINAL
WHERE window_seconds = 3600
GROUP BY hour, org, team, project, environment
SETTINGS do_not_merge_across_partitions_select_final = 1;
