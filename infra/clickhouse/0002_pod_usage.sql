-- One row for each container and interval.
CREATE TABLE pod_usage_raw
(
    event_time        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'start of the interval',
    end_time          DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id          UUID,
    event_source      LowCardinality(String),
    org               LowCardinality(String),
    team              LowCardinality(String),
    project           LowCardinality(String),
    environment       LowCardinality(String),
    service           LowCardinality(String),
    cluster           LowCardinality(String),
    region            LowCardinality(String),
    node              LowCardinality(String),
    instance_type     LowCardinality(String),
    purchase_option   LowCardinality(String),
    node_hourly_price Nullable(Decimal(38, 12)) CODEC(ZSTD(1)),
    namespace         LowCardinality(String),
    workload          LowCardinality(String),
    workload_kind     LowCardinality(String),
    pod               String CODEC(ZSTD(1)),
    container         LowCardinality(String),
    labels            Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    cpu_request       UInt64 CODEC(T64, ZSTD(1)) COMMENT 'nanocores',
    cpu_usage         UInt64 CODEC(T64, ZSTD(1)) COMMENT 'nanocores, average over the interval',
    memory_request    UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes',
    memory_usage      UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes',
    gpu_request       UInt64 CODEC(T64, ZSTD(1)) COMMENT 'thousandths of a device',
    gpu_usage         UInt64 CODEC(T64, ZSTD(1)) COMMENT 'thousandths of a device',
    storage_request   UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes',
    network_received  UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes',
    network_sent      UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes',
    cost              Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'US dollars; null while no price covers it',
    src               LowCardinality(String) COMMENT 'topic/partition@incarnation that delivered the row',
    src_off           UInt64 CODEC(Delta, ZSTD(1)),
    inv_off           UInt64 DEFAULT bitNot(src_off) CODEC(Delta, ZSTD(1)),
    arrived_at        DateTime('UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when the broker got it; retention counts from here'
)
ENGINE = ReplacingMergeTree(inv_off)
PARTITION BY toDate(event_time)
ORDER BY (cluster, namespace, pod, event_time, event_id);

CREATE VIEW pod_usage AS
SELECT * EXCEPT (src, src_off, inv_off, arrived_at)
FROM pod_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
