-- What people decided on recommendations; the newest decision on an id counts.
CREATE TABLE recommendation_decision_raw
(
    id         UUID COMMENT 'the recommendation',
    decision   LowCardinality(String) COMMENT 'accepted, dismissed, or none: taken back',
    decided_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(decided_at)
ORDER BY id;

CREATE VIEW recommendation_decision AS
SELECT id, decision, decided_at
FROM recommendation_decision_raw FINAL
WHERE decision != 'none';
