-- An unpriced event whose price came later: the repricing's row replaces that of the original, and keeps where the
-- original came from. Repricings have a bit more in their version than any position has, so that they win over
-- originals whatever the order of arrival; among themselves, as among originals, the first delivery wins.
ALTER TABLE token_usage_raw
    ADD COLUMN IF NOT EXISTS repriced_by Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'id of the event that brought the cost' AFTER route_reason,
    ADD COLUMN IF NOT EXISTS repriced_src LowCardinality(String) COMMENT 'source that delivered the repricing' AFTER src_off,
    ADD COLUMN IF NOT EXISTS repriced_off UInt64 CODEC(ZSTD(1)) COMMENT 'its position there' AFTER repriced_src,
    MODIFY COLUMN inv_off UInt128 DEFAULT if(
        repriced_by IS NULL,
        toUInt128(bitNot(src_off)),
        bitOr(bitShiftLeft(toUInt128(1), 64), toUInt128(bitNot(repriced_off)))
    ) CODEC(ZSTD(1));

CREATE OR REPLACE VIEW token_usage AS
SELECT * EXCEPT (src, src_off, repriced_src, repriced_off, inv_off, arrived_at)
FROM token_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The same as before, but for the type of `unpriced`.
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
