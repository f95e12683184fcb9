-- Full states of tumbling windows, one for each source; the highest version wins. Months, not days, are the
-- partitions here: there are few rows, and day windows of a year would make hundreds of tiny parts.
CREATE TABLE cost_window_state
(
    window_seconds         UInt32,
    window_start           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    kind                   LowCardinality(String),
    org                    LowCardinality(String),
    team                   LowCardinality(String),
    project                LowCardinality(String),
    environment            LowCardinality(String),
    provider               LowCardinality(String),
    model                  LowCardinality(String),
    cluster                LowCardinality(String),
    namespace              LowCardinality(String),
    src                    LowCardinality(String),
    ver                    UInt64 COMMENT 'all offsets of src up to this one are counted',
    events                 UInt64,
    unpriced               UInt64,
    errors                 UInt64,
    cache_hits             UInt64,
    cost                   Decimal(38, 12),
    list_cost              Decimal(38, 12),
    avoided_by_cache       Decimal(38, 12),
    avoided_by_routing     Decimal(38, 12),
    avoided_by_compression Decimal(38, 12),
    input_tokens           UInt64,
    output_tokens          UInt64,
    cache_read_tokens      UInt64,
    cache_write_tokens     UInt64,
    reasoning_tokens       UInt64,
    arrived_at             DateTime('UTC') COMMENT 'when the broker got the newest event; retention counts from here'
)
ENGINE = ReplacingMergeTree(ver)
PARTITION BY toYYYYMM(window_start)
ORDER BY (window_seconds, team, window_start, kind, org, project, environment, provider, model, cluster, namespace, src);

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
    if(kind = 'tokens' AND events > 0, cache_hits / events, NULL) AS cache_hit_ratio
FROM cost_window_state AS s FINAL
GROUP BY
    window_seconds, window_start, kind, org, team, project, environment, provider, model, cluster, namespace
SETTINGS do_not_merge_across_partitions_select_final = 1;
