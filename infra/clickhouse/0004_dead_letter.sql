-- Records that are no valid event, as they came.
CREATE TABLE dead_letter_raw
(
    arrived_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    topic      LowCardinality(String),
    partition  UInt32,
    offset     UInt64,
    stage      LowCardinality(String),
    reason     String CODEC(ZSTD(1)),
    key        Nullable(String) CODEC(ZSTD(1)),
    value      Nullable(String) CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(arrived_at)
ORDER BY (topic, arrived_at, partition, offset);

CREATE VIEW dead_letter AS
SELECT * FROM dead_letter_raw FINAL;
