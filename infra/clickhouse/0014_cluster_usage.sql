-- Whose domain a call or a container belongs to, for chargeback; and what containers cost by resource, what was
-- deployed, and what its limits and peaks were.
ALTER TABLE token_usage_raw
    ADD COLUMN IF NOT EXISTS domain LowCardinality(String) AFTER service;

ALTER TABLE pod_usage_raw
    ADD COLUMN IF NOT EXISTS domain LowCardinality(String) AFTER service,
    ADD COLUMN IF NOT EXISTS revision LowCardinality(String) COMMENT 'hash of the pod template, or the controller revision' AFTER workload_kind,
    ADD COLUMN IF NOT EXISTS pod_uid String CODEC(ZSTD(1)) AFTER pod,
    ADD COLUMN IF NOT EXISTS scaled_on LowCardinality(String) COMMENT 'resources by whose usage an autoscaler sets the replicas' AFTER labels,
    ADD COLUMN IF NOT EXISTS cpu_limit UInt64 CODEC(T64, ZSTD(1)) COMMENT 'nanocores; 0: none' AFTER cpu_request,
    ADD COLUMN IF NOT EXISTS memory_limit UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes; 0: none' AFTER memory_request,
    ADD COLUMN IF NOT EXISTS memory_peak UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes, the highest of the interval; 0: not known' AFTER memory_usage,
    ADD COLUMN IF NOT EXISTS oom_kills UInt64 CODEC(T64, ZSTD(1)) AFTER network_sent,
    ADD COLUMN IF NOT EXISTS restarts UInt64 CODEC(T64, ZSTD(1)) AFTER oom_kills,
    ADD COLUMN IF NOT EXISTS cpu_cost Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'US dollars; null while no price covers it' AFTER restarts,
    ADD COLUMN IF NOT EXISTS memory_cost Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) AFTER cpu_cost,
    ADD COLUMN IF NOT EXISTS gpu_cost Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) AFTER memory_cost,
    ADD COLUMN IF NOT EXISTS storage_cost Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) AFTER gpu_cost,
    ADD COLUMN IF NOT EXISTS network_cost Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) AFTER storage_cost,
    COMMENT COLUMN cost 'US dollars, the sum of the costs by resource; null while no price covers one of them';

-- A view keeps the columns that its table had when it was made.
CREATE OR REPLACE VIEW token_usage AS
SELECT * EXCEPT (src, src_off, repriced_src, repriced_off, inv_off, arrived_at)
FROM token_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW pod_usage AS
SELECT * EXCEPT (src, src_off, inv_off, arrived_at)
FROM pod_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row for each node, volume, load balancer or control plane, and interval.
CREATE TABLE node_usage_raw
(
    event_time       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'start of the interval',
    end_time         DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id         UUID,
    event_source     LowCardinality(String),
    org              LowCardinality(String),
    team             LowCardinality(String),
    project          LowCardinality(String),
    environment      LowCardinality(String),
    service          LowCardinality(String),
    domain           LowCardinality(String),
    cluster          LowCardinality(String),
    region           LowCardinality(String),
    asset            LowCardinality(String) COMMENT 'node, volume, load-balancer, control-plane',
    node             LowCardinality(String) COMMENT 'name of the asset',
    instance_type    LowCardinality(String),
    purchase_option  LowCardinality(String),
    hourly_price     Nullable(Decimal(38, 12)) CODEC(ZSTD(1)),
    labels           Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    cpu_capacity     UInt64 CODEC(T64, ZSTD(1)) COMMENT 'nanocores',
    memory_capacity  UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes',
    gpu_capacity     UInt64 CODEC(T64, ZSTD(1)) COMMENT 'thousandths of a device',
    storage_capacity UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes',
    cpu_usage        UInt64 CODEC(T64, ZSTD(1)) COMMENT 'nanocores, of the whole node',
    memory_usage     UInt64 CODEC(T64, ZSTD(1)) COMMENT 'bytes, of the whole node',
    gpu_usage        UInt64 CODEC(T64, ZSTD(1)) COMMENT 'thousandths of a device, of the whole node',
    cpu_cost         Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'US dollars; null while no price covers it',
    memory_cost      Nullable(Decimal(38, 12)) CODEC(ZSTD(1)),
    gpu_cost         Nullable(Decimal(38, 12)) CODEC(ZSTD(1)),
    storage_cost     Nullable(Decimal(38, 12)) CODEC(ZSTD(1)),
    cost             Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'US dollars; null while no price covers it',
    src              LowCardinality(String) COMMENT 'topic/partition@incarnation that delivered the row',
    src_off          UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'position of the event in src: offset of its record * 65536 + line',
    inv_off          UInt64 DEFAULT bitNot(src_off) CODEC(Delta, ZSTD(1)),
    arrived_at       DateTime('UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when the broker got it; retention counts from here'
)
ENGINE = ReplacingMergeTree(inv_off)
PARTITION BY toDate(event_time)
ORDER BY (cluster, asset, node, event_time, event_id);

CREATE VIEW node_usage AS
SELECT * EXCEPT (src, src_off, inv_off, arrived_at)
FROM node_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
