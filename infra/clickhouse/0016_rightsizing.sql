-- Full states of containers' days, one for each source; the highest version wins. Sources add up.
CREATE TABLE container_day_state
(
    window_seconds UInt32,
    window_start   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    cluster        LowCardinality(String),
    namespace      LowCardinality(String),
    workload_kind  LowCardinality(String),
    workload       String,
    container      LowCardinality(String),
    src            LowCardinality(String),
    ver            UInt64 COMMENT 'position of the last event of src that is counted',
    first          DateTime64(6, 'UTC') COMMENT 'when the first sample began',
    last           DateTime64(6, 'UTC') COMMENT 'when the last sample ended',
    seconds        UInt64 COMMENT 'of all replicas together',
    cpu            Map(UInt16, UInt64) CODEC(ZSTD(1)) COMMENT 'seconds by bucket of CPU',
    memory         Map(UInt16, UInt64) CODEC(ZSTD(1)) COMMENT 'seconds by bucket of memory',
    oom_kills      UInt64,
    restarts       UInt64,
    revisions      Map(String, UInt64) CODEC(ZSTD(1)) COMMENT 'when each was first seen that day, microseconds',
    set_at         DateTime64(6, 'UTC') COMMENT 'when the following was set',
    cpu_request    UInt64 COMMENT 'nanocores',
    memory_request UInt64 COMMENT 'bytes',
    cpu_limit      UInt64 COMMENT 'nanocores; 0: none',
    memory_limit   UInt64 COMMENT 'bytes; 0: none',
    scaled_on      LowCardinality(String),
    revision       String,
    team           LowCardinality(String),
    arrived_at     DateTime('UTC') COMMENT 'when the broker got the newest event; retention counts from here'
)
ENGINE = ReplacingMergeTree(ver)
PARTITION BY toYYYYMM(window_start)
ORDER BY (cluster, namespace, workload_kind, workload, container, window_seconds, window_start, src);

-- Every state of every recommendation; the newest one of an id is what is read.
CREATE TABLE recommendation_raw
(
    id             UUID COMMENT 'names the proposal: container, requests before and after, reasons',
    at             DateTime64(6, 'UTC') COMMENT 'when this state was found',
    state          LowCardinality(String) COMMENT 'open, fits, refused, applied, superseded',
    team           LowCardinality(String),
    cluster        LowCardinality(String),
    namespace      LowCardinality(String),
    workload_kind  LowCardinality(String),
    workload       String,
    container      LowCardinality(String),
    replicas       Float64,
    cpu_verdict    LowCardinality(String) COMMENT 'lower, raise, keep, refused',
    cpu_reason     LowCardinality(String),
    cpu_current    UInt64 COMMENT 'nanocores',
    cpu_target     UInt64 COMMENT 'nanocores',
    memory_verdict LowCardinality(String),
    memory_reason  LowCardinality(String),
    memory_current UInt64 COMMENT 'bytes',
    memory_target  UInt64 COMMENT 'bytes',
    cpu_freed      Int64 COMMENT 'nanocores, of all replicas; negative where the request is raised',
    memory_freed   Int64 COMMENT 'bytes',
    freed_per_hour Nullable(Decimal(38, 12)) COMMENT 'US dollars that the freed requests are charged with',
    nodes          Nullable(UInt32) COMMENT 'that can go; null while no packing has said so',
    nodes_per_hour Nullable(Decimal(38, 12)) COMMENT 'US dollars that the bill falls by',
    idle_per_hour  Nullable(Decimal(38, 12)) COMMENT 'US dollars that become idle',
    days           Float64 COMMENT 'of history',
    breach_rate    Float64 COMMENT 'share of back-tests in which memory exceeded the recommendation',
    cpu_time_over  Float64 COMMENT 'share of time in which CPU did',
    confidence     Float64,
    reasons        Array(String),
    caveats        Array(String),
    patch          String CODEC(ZSTD(1)) COMMENT 'YAML',
    applied_at     Nullable(DateTime64(6, 'UTC')),
    followed_days  UInt32 COMMENT 'full days since it was applied',
    breaches       UInt32 COMMENT 'of these days, on how many memory exceeded the new request',
    saved_per_hour Nullable(Decimal(38, 12)) COMMENT 'US dollars, since it was applied',
    body           String CODEC(ZSTD(3)) COMMENT 'the recommendation as JSON',
    arrived_at     DateTime('UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (cluster, namespace, workload, container, id);

CREATE VIEW recommendation AS
SELECT * EXCEPT (body, arrived_at)
FROM recommendation_raw FINAL;
