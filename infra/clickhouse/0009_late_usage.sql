-- One row for each event that came later than allowed_lateness_s behind its source's watermark. The event is
-- counted all the same: this only says which windows were corrected long after their time, by what, and why.
CREATE TABLE late_usage_raw
(
    arrived_at   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when the broker got it; retention counts from here',
    event_time   DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id     UUID,
    kind         LowCardinality(String),
    team         LowCardinality(String),
    model        LowCardinality(String) COMMENT 'of a call',
    namespace    LowCardinality(String) COMMENT 'of a container',
    cost         Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'US dollars; null while no price covers it',
    watermark    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'up to when src was believed complete',
    late_seconds Float64 CODEC(ZSTD(1)) COMMENT 'how far the event was behind the watermark',
    src          LowCardinality(String) COMMENT 'topic/partition@incarnation that delivered the event',
    src_off      UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'position of the event in src: offset of its record * 65536 + line'
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(arrived_at)
ORDER BY (arrived_at, src, src_off, event_id);

CREATE VIEW late_usage AS
SELECT * FROM late_usage_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
