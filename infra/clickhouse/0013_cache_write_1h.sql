-- Cache writes that are kept for an hour: they have a price of their own.
ALTER TABLE token_usage_raw
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'part of cache_write_tokens'
        AFTER cache_write_tokens;

ALTER TABLE cost_window_state
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens UInt64 COMMENT 'part of cache_write_tokens' AFTER cache_write_tokens;

-- The same as before, with the new column.
CREATE OR REPLACE VIEW token_usage AS
SELECT * EXCEPT (src, src_off, repriced_src, repriced_off, inv_off, arrived_at)
FROM token_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW cost_window AS
SELECT
    window_seconds,
    window_start,
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
    sum(s.cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(s.reasoning_tokens) AS reasoning_tokens,
    sumMap(s.latency) AS latency,
    if(kind = 'tokens' AND events > 0, cache_hits / events, NULL) AS cache_hit_ratio,
    if(input_tokens + output_tokens > 0, cache_hit_tokens / (input_tokens + output_tokens), NULL) AS cache_hit_ratio_by_tokens,
    if(cost + avoided_by_cache > 0, toFloat64(avoided_by_cache) / toFloat64(cost + avoided_by_cache), NULL) AS cache_hit_ratio_by_cost,
    if(kind = 'tokens' AND events > 0, errors / events, NULL) AS error_rate
FROM cost_window_state AS s FINAL
GROUP BY
    window_seconds, window_start, kind, org, team, project, environment, provider, model, cluster, namespace
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW cost_rolling AS
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
    sum(s.cache_write_1h_tokens) AS cache_write_1h_tokens,
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
