-- Every state of every alert; the newest one of an id is what is read.
CREATE TABLE alert_raw
(
    id           UUID,
    version      UInt32 COMMENT 'episodes: it counts up when an alert fires again',
    state        LowCardinality(String),
    kind         LowCardinality(String),
    severity     LowCardinality(String),
    rule         LowCardinality(String),
    team         LowCardinality(String),
    title        String,
    summary      String CODEC(ZSTD(1)),
    window_start DateTime64(6, 'UTC'),
    started_at   DateTime64(6, 'UTC'),
    resolved_at  Nullable(DateTime64(6, 'UTC')),
    body         String CODEC(ZSTD(3)) COMMENT 'the alert as JSON',
    arrived_at   DateTime('UTC'),
    ver          UInt64 DEFAULT version * 2 + (state = 'resolved')
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY id;

CREATE VIEW alert AS
SELECT * EXCEPT (ver, arrived_at)
FROM alert_raw FINAL;

-- What was sent to whom: so that a notifier that starts again does not say it twice.
CREATE TABLE notification
(
    alert_id UUID,
    version  UInt32,
    state    LowCardinality(String),
    channel  LowCardinality(String),
    sent_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY (alert_id, version, state, channel);
