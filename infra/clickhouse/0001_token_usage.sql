-- One row for each call of a model. The first delivery of an event id wins: ReplacingMergeTree keeps the row
-- with the highest inv_off, which is the lowest offset.
CREATE TABLE token_usage_raw
(
    event_time             DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id               UUID,
    event_source           LowCardinality(String),
    org                    LowCardinality(String),
    team                   LowCardinality(String),
    project                LowCardinality(String),
    environment            LowCardinality(String),
    service                LowCardinality(String),
    user                   String CODEC(ZSTD(1)),
    key_id                 LowCardinality(String),
    provider               LowCardinality(String),
    model                  LowCardinality(String),
    request_model          LowCardinality(String),
    operation              LowCardinality(String),
    input_tokens           UInt64 CODEC(T64, ZSTD(1)),
    output_tokens          UInt64 CODEC(T64, ZSTD(1)),
    cache_read_tokens      UInt64 CODEC(T64, ZSTD(1)),
    cache_write_tokens     UInt64 CODEC(T64, ZSTD(1)),
    reasoning_tokens       UInt64 CODEC(T64, ZSTD(1)),
    cost                   Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'US dollars; null while no price covers the model',
    list_cost              Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'US dollars at list price',
    avoided_by_cache       Decimal(38, 12) CODEC(ZSTD(1)),
    avoided_by_routing     Decimal(38, 12) CODEC(ZSTD(1)),
    avoided_by_compression Decimal(38, 12) CODEC(ZSTD(1)),
    duration_us            UInt64 CODEC(T64, ZSTD(1)),
    time_to_first_token_us Nullable(UInt64) CODEC(ZSTD(1)),
    status                 UInt16,
    error_type             LowCardinality(String),
    retries                UInt16,
    usage_source           LowCardinality(String),
    cache_outcome          LowCardinality(String),
    cache_similarity       Nullable(Float64),
    route                  LowCardinality(String),
    route_reason           LowCardinality(String),
    src                    LowCardinality(String) COMMENT 'topic/partition@incarnation that delivered the row',
    src_off                UInt64 CODEC(Delta, ZSTD(1)),
    inv_off                UInt64 DEFAULT bitNot(src_off) CODEC(Delta, ZSTD(1)),
    arrived_at             DateTime('UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when the broker got it; retention counts from here'
)
ENGINE = ReplacingMergeTree(inv_off)
PARTITION BY toDate(event_time)
ORDER BY (team, model, event_time, event_id);

CREATE VIEW token_usage AS
SELECT * EXCEPT (src, src_off, inv_off, arrived_at)
FROM token_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
