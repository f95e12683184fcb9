-- Every notice of every anomaly: an episode opens, may worsen, and is resolved; what just happened is told.
CREATE TABLE anomaly_raw
(
    id             UUID,
    state          LowCardinality(String) COMMENT 'opened, worsened, resolved; told: it just happened',
    window_start   DateTime('UTC') COMMENT 'the window of this notice',
    window_seconds UInt32,
    started_at     DateTime('UTC') COMMENT 'the first unusual window',
    ended_at       DateTime('UTC') COMMENT 'the last unusual window so far',
    type           LowCardinality(String),
    kind           LowCardinality(String),
    org            LowCardinality(String),
    team           LowCardinality(String) COMMENT 'empty for an organisation as a whole',
    key            LowCardinality(String) COMMENT 'kind, organisation and team as JSON; without team: all teams',
    severity       LowCardinality(String),
    score          Float64 COMMENT '-log10 of how probable a value so far off is',
    measure        String COMMENT 'what was unusual; or the name of what is new, unpriced or changed its price',
    value          Float64 COMMENT 'money in US dollars (a price: for a million tokens), else tokens, calls, or a share',
    expected       Float64,
    low            Float64,
    high           Float64,
    impact         Nullable(Decimal(38, 12)) COMMENT 'US dollars more than expected, in the whole episode so far',
    contributors   String CODEC(ZSTD(1)) COMMENT 'JSON: dimension, name, and dollars expected and actual',
    drivers        String CODEC(ZSTD(1)) COMMENT 'JSON: dollars due to price, volume and mix',
    planned        Bool,
    alerted        Bool COMMENT 'people were told by an alert with the same id',
    body           String CODEC(ZSTD(3)) COMMENT 'the notice and its alert as JSON'
)
ENGINE = ReplacingMergeTree
ORDER BY (id, window_start, state);

-- One row for each anomaly: how it stands, with the values and the causes of its worst notice.
CREATE VIEW anomaly AS
SELECT
    id,
    argMax(n.state, n.window_start) AS state,
    any(n.window_seconds) AS window_seconds,
    min(n.started_at) AS started_at,
    max(n.ended_at) AS ended_at,
    any(n.type) AS type,
    any(n.kind) AS kind,
    any(n.org) AS org,
    any(n.team) AS team,
    any(n.key) AS key,
    argMax(n.severity, n.score) AS severity,
    max(n.score) AS score,
    argMax(n.measure, n.score) AS measure,
    argMax(n.value, n.score) AS value,
    argMax(n.expected, n.score) AS expected,
    argMax(n.low, n.score) AS low,
    argMax(n.high, n.score) AS high,
    argMax(n.impact, n.window_start) AS impact,
    argMaxIf(n.contributors, n.score, n.contributors != '[]') AS contributors,
    argMaxIf(n.drivers, n.score, n.drivers != '{}') AS drivers,
    max(n.planned) AS planned,
    max(n.alerted) AS alerted
FROM anomaly_raw AS n FINAL
GROUP BY id;

-- Monitors at rest, from which a worker goes on. The newest window wins; keys that went silent fade away.
CREATE TABLE anomaly_monitor
(
    window_seconds UInt32,
    key            String,
    kind           LowCardinality(String),
    org            String,
    team           Nullable(String) COMMENT 'null: all teams',
    last           UInt64 COMMENT 'the newest window in it, seconds since 1970; also the version',
    seen           UInt64 COMMENT 'the newest window in it that was not silent',
    state          String CODEC(ZSTD(1)),
    stored_at      DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree(last)
ORDER BY (window_seconds, key)
TTL stored_at + INTERVAL 400 DAY
SETTINGS index_granularity = 16;
