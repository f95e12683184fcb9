-- Full states of hours of allocation, one for each source; the highest version wins. Containers and what clusters
-- pay for side by side: what of a node nobody was allocated is made where it is read.
CREATE TABLE allocation_window_state
(
    window_seconds     UInt32,
    window_start       DateTime('UTC') CODEC(Delta, ZSTD(1)),
    kind               LowCardinality(String) COMMENT 'container, node, volume, load-balancer, control-plane',
    cluster            LowCardinality(String),
    node               LowCardinality(String),
    instance_type      LowCardinality(String),
    purchase_option    LowCardinality(String),
    namespace          LowCardinality(String),
    workload           LowCardinality(String),
    workload_kind      LowCardinality(String),
    org                LowCardinality(String),
    team               LowCardinality(String),
    project            LowCardinality(String),
    environment        LowCardinality(String),
    service            LowCardinality(String),
    domain             LowCardinality(String),
    src                LowCardinality(String),
    ver                UInt64 COMMENT 'position of the last event of src that is counted',
    events             UInt64,
    unpriced           Int64,
    cpu_cost           Decimal(38, 12),
    memory_cost        Decimal(38, 12),
    gpu_cost           Decimal(38, 12),
    storage_cost       Decimal(38, 12),
    network_cost       Decimal(38, 12),
    other_cost         Decimal(38, 12) COMMENT 'US dollars of what has no resources',
    cpu_capacity       Decimal(38, 15) COMMENT 'core-seconds',
    cpu_requested      Decimal(38, 15) COMMENT 'core-seconds',
    cpu_used           Decimal(38, 15) COMMENT 'core-seconds',
    memory_capacity    Decimal(38, 6) COMMENT 'byte-seconds',
    memory_requested   Decimal(38, 6) COMMENT 'byte-seconds',
    memory_used        Decimal(38, 6) COMMENT 'byte-seconds',
    gpu_capacity       Decimal(38, 9) COMMENT 'GPU-seconds',
    gpu_requested      Decimal(38, 9) COMMENT 'GPU-seconds',
    gpu_used           Decimal(38, 9) COMMENT 'GPU-seconds',
    arrived_at         DateTime('UTC') COMMENT 'when the broker got the newest event; retention counts from here'
)
ENGINE = ReplacingMergeTree(ver)
PARTITION BY toYYYYMM(window_start)
ORDER BY (cluster, window_seconds, window_start, kind, node, namespace, workload, workload_kind, instance_type, purchase_option, org, team, project, environment, service, domain, src);

-- One row for each hour of a node: what it cost, and what of that its containers were allocated, by resource.
CREATE VIEW node_hour AS
SELECT
    window_start AS hour,
    cluster,
    node,
    maxIf(s.instance_type, kind = 'node') AS instance_type,
    maxIf(s.purchase_option, kind = 'node') AS purchase_option,
    maxIf(s.org, kind = 'node') AS org,
    maxIf(s.team, kind = 'node') AS team,
    maxIf(s.project, kind = 'node') AS project,
    maxIf(s.environment, kind = 'node') AS environment,
    maxIf(s.service, kind = 'node') AS service,
    maxIf(s.domain, kind = 'node') AS domain,
    sumIf(s.events, kind = 'node') AS samples,
    sumIf(s.unpriced, kind = 'node') AS unpriced,
    sumIf(s.cpu_cost, kind = 'node') AS cpu_cost,
    sumIf(s.memory_cost, kind = 'node') AS memory_cost,
    sumIf(s.gpu_cost, kind = 'node') AS gpu_cost,
    sumIf(s.storage_cost, kind = 'node') AS storage_cost,
    sumIf(s.other_cost, kind = 'node') AS other_cost,
    cpu_cost + memory_cost + gpu_cost + storage_cost + other_cost AS cost,
    sumIf(s.cpu_cost, kind = 'container') AS cpu_allocated,
    sumIf(s.memory_cost, kind = 'container') AS memory_allocated,
    sumIf(s.gpu_cost, kind = 'container') AS gpu_allocated,
    cpu_allocated + memory_allocated + gpu_allocated AS allocated,
    sumIf(s.cpu_capacity, kind = 'node') AS cpu_capacity,
    sumIf(s.cpu_requested, kind = 'container') AS cpu_requested,
    sumIf(s.cpu_used, kind = 'node') AS cpu_used,
    sumIf(s.memory_capacity, kind = 'node') AS memory_capacity,
    sumIf(s.memory_requested, kind = 'container') AS memory_requested,
    sumIf(s.memory_used, kind = 'node') AS memory_used,
    sumIf(s.gpu_capacity, kind = 'node') AS gpu_capacity,
    sumIf(s.gpu_requested, kind = 'container') AS gpu_requested,
    sumIf(s.gpu_used, kind = 'node') AS gpu_used
FROM allocation_window_state AS s FINAL
WHERE window_seconds = 3600 AND kind IN ('node', 'container')
GROUP BY hour, cluster, node
HAVING samples > 0
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Who pays for what of a cluster, in lines that add up to its bill. Of each hour of a node, what its containers were
-- allocated (workload), what nobody was (idle), and what was allocated beyond its price (overcommit, a negative line)
-- are its price exactly; so it is with all volumes of a cluster together. What has no resources is shared. A node
-- without a price has an idle line without money, which counts it as unpriced.
CREATE VIEW allocation AS
SELECT *, cpu_cost + memory_cost + gpu_cost + storage_cost + network_cost + other_cost AS cost
FROM
(
    SELECT
        window_start AS hour,
        if(kind = 'container', 'workload', 'shared') AS line,
        kind,
        cluster,
        node,
        instance_type,
        purchase_option,
        namespace,
        workload,
        workload_kind,
        org,
        team,
        project,
        environment,
        service,
        domain,
        sum(s.events) AS events,
        sum(s.unpriced) AS unpriced,
        sum(s.cpu_cost) AS cpu_cost,
        sum(s.memory_cost) AS memory_cost,
        sum(s.gpu_cost) AS gpu_cost,
        sum(s.storage_cost) AS storage_cost,
        sum(s.network_cost) AS network_cost,
        sum(s.other_cost) AS other_cost,
        sum(s.cpu_capacity) AS cpu_capacity,
        sum(s.cpu_requested) AS cpu_requested,
        sum(s.cpu_used) AS cpu_used,
        sum(s.memory_capacity) AS memory_capacity,
        sum(s.memory_requested) AS memory_requested,
        sum(s.memory_used) AS memory_used,
        sum(s.gpu_capacity) AS gpu_capacity,
        sum(s.gpu_requested) AS gpu_requested,
        sum(s.gpu_used) AS gpu_used
    FROM allocation_window_state AS s FINAL
    WHERE window_seconds = 3600 AND kind NOT IN ('node', 'volume')
    GROUP BY hour, kind, cluster, node, instance_type, purchase_option, namespace, workload, workload_kind, org, team, project, environment, service, domain
    UNION ALL
    SELECT
        n.hour AS hour,
        name AS line,
        'node' AS kind,
        n.cluster AS cluster,
        n.node AS node,
        n.instance_type AS instance_type,
        n.purchase_option AS purchase_option,
        '' AS namespace,
        '' AS workload,
        '' AS workload_kind,
        n.org AS org,
        n.team AS team,
        n.project AS project,
        n.environment AS environment,
        n.service AS service,
        n.domain AS domain,
        if(name = 'idle', n.samples, 0) AS events,
        if(name = 'idle', n.unpriced, 0) AS unpriced,
        if(name = 'idle', greatest(n.cpu_cost - n.cpu_allocated, toDecimal128(0, 12)), least(n.cpu_cost - n.cpu_allocated, toDecimal128(0, 12))) AS cpu_cost,
        if(name = 'idle', greatest(n.memory_cost - n.memory_allocated, toDecimal128(0, 12)), least(n.memory_cost - n.memory_allocated, toDecimal128(0, 12))) AS memory_cost,
        if(name = 'idle', greatest(n.gpu_cost - n.gpu_allocated, toDecimal128(0, 12)), least(n.gpu_cost - n.gpu_allocated, toDecimal128(0, 12))) AS gpu_cost,
        if(name = 'idle', n.storage_cost, toDecimal128(0, 12)) AS storage_cost,
        toDecimal128(0, 12) AS network_cost,
        if(name = 'idle', n.other_cost, toDecimal128(0, 12)) AS other_cost,
        if(name = 'idle', n.cpu_capacity, toDecimal128(0, 15)) AS cpu_capacity,
        toDecimal128(0, 15) AS cpu_requested,
        toDecimal128(0, 15) AS cpu_used,
        if(name = 'idle', n.memory_capacity, toDecimal128(0, 6)) AS memory_capacity,
        toDecimal128(0, 6) AS memory_requested,
        toDecimal128(0, 6) AS memory_used,
        if(name = 'idle', n.gpu_capacity, toDecimal128(0, 9)) AS gpu_capacity,
        toDecimal128(0, 9) AS gpu_requested,
        toDecimal128(0, 9) AS gpu_used
    FROM node_hour AS n
    ARRAY JOIN ['idle', 'overcommit'] AS name
    WHERE name = 'idle' OR (n.samples > n.unpriced AND (n.cpu_cost < n.cpu_allocated OR n.memory_cost < n.memory_allocated OR n.gpu_cost < n.gpu_allocated))
    UNION ALL
    SELECT
        v.hour AS hour,
        name AS line,
        'volume' AS kind,
        v.cluster AS cluster,
        '' AS node,
        '' AS instance_type,
        '' AS purchase_option,
        '' AS namespace,
        '' AS workload,
        '' AS workload_kind,
        '' AS org,
        '' AS team,
        '' AS project,
        '' AS environment,
        '' AS service,
        '' AS domain,
        if(name = 'idle', v.samples, 0) AS events,
        if(name = 'idle', v.unpriced, 0) AS unpriced,
        toDecimal128(0, 12) AS cpu_cost,
        toDecimal128(0, 12) AS memory_cost,
        toDecimal128(0, 12) AS gpu_cost,
        if(name = 'idle', greatest(v.missing, toDecimal128(0, 12)), least(v.missing, toDecimal128(0, 12))) AS storage_cost,
        toDecimal128(0, 12) AS network_cost,
        toDecimal128(0, 12) AS other_cost,
        toDecimal128(0, 15) AS cpu_capacity,
        toDecimal128(0, 15) AS cpu_requested,
        toDecimal128(0, 15) AS cpu_used,
        toDecimal128(0, 6) AS memory_capacity,
        toDecimal128(0, 6) AS memory_requested,
        toDecimal128(0, 6) AS memory_used,
        toDecimal128(0, 9) AS gpu_capacity,
        toDecimal128(0, 9) AS gpu_requested,
        toDecimal128(0, 9) AS gpu_used
    FROM
    (
        SELECT
            window_start AS hour,
            cluster,
            sumIf(s.events, kind = 'volume') AS samples,
            sumIf(s.unpriced, kind = 'volume') AS unpriced,
            sumIf(s.storage_cost, kind = 'volume') - sumIf(s.storage_cost, kind = 'container') AS missing
        FROM allocation_window_state AS s FINAL
        WHERE window_seconds = 3600 AND kind IN ('volume', 'container')
        GROUP BY hour, cluster
        HAVING samples > 0
    ) AS v
    ARRAY JOIN ['idle', 'overcommit'] AS name
    WHERE name = 'idle' OR (v.samples > v.unpriced AND v.missing < 0)
)
SETTINGS do_not_merge_across_partitions_select_final = 1;
