-- A record may hold several events, a line each: where an event stands is its record's offset * 65536 + its line.
ALTER TABLE token_usage_raw COMMENT COLUMN src_off 'position of the event in src: offset of its record * 65536 + line';
ALTER TABLE pod_usage_raw COMMENT COLUMN src_off 'position of the event in src: offset of its record * 65536 + line';
ALTER TABLE dead_letter_raw
    ADD COLUMN line UInt16 AFTER offset,
    MODIFY ORDER BY (topic, arrived_at, partition, offset, line);

-- New measures: tokens of calls that the cache answered, and how long calls took, by logarithmic bucket.
ALTER TABLE cost_window_state
    ADD COLUMN cache_hit_tokens UInt64 AFTER cache_hits,
    ADD COLUMN latency Map(UInt16, UInt64)
        COMMENT 'calls by bucket i: durations up to pow(101/99, i) microseconds; in windows of an hour'
        AFTER reasoning_tokens,
    COMMENT COLUMN ver 'position of the last event of src that is counted';

DROP VIEW cost_window;
CREATE VIEW cost_window AS
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

-- What changed lately is asked every second.
ALTER TABLE cost_window_state ADD INDEX arrived arrived_at TYPE minmax GRANULARITY 1;
