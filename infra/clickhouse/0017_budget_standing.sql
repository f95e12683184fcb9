-- How budgets stood: the last look of each five minutes, so that a year of many budgets stays small.
CREATE TABLE budget_standing_raw
(
    slot               DateTime('UTC') MATERIALIZED toStartOfFiveMinutes(at) CODEC(Delta, ZSTD(1)),
    budget             LowCardinality(String) COMMENT 'its id',
    version            UInt32,
    name               LowCardinality(String),
    owner              LowCardinality(String) COMMENT 'the team that alerts about it go to',
    scope              Map(LowCardinality(String), String),
    at                 DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when it was looked at',
    period_start       DateTime64(6, 'UTC'),
    period_end         DateTime64(6, 'UTC'),
    allowed            Decimal(38, 12) COMMENT 'US dollars: the amount and what was carried',
    carried            Decimal(38, 12),
    spent              Decimal(38, 12),
    remaining          Decimal(38, 12) COMMENT 'negative once the limit is exceeded',
    velocity           Decimal(38, 12) COMMENT 'recent spend of an hour',
    expected           Decimal(38, 12) COMMENT 'spend by the end of the period',
    low                Nullable(Decimal(38, 12)) COMMENT 'the truth is below it once in ten; null: too little history',
    high               Nullable(Decimal(38, 12)) COMMENT 'the truth is above it once in ten',
    breach             Nullable(Float64) COMMENT 'probability that the limit is exceeded',
    exhausted_at       Nullable(DateTime64(6, 'UTC')) COMMENT 'when the limit is reached; null: not in this period',
    exhausted_earliest Nullable(DateTime64(6, 'UTC')),
    exhausted_latest   Nullable(DateTime64(6, 'UTC')),
    arrived_at         DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(at)
ORDER BY (budget, slot)
TTL arrived_at + INTERVAL 400 DAY;

CREATE VIEW budget_standing AS
SELECT * EXCEPT (arrived_at)
FROM budget_standing_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
