"""Kubernetes: what a cluster's bill goes to, how much of it is used, and what could go."""

from __future__ import annotations

from dashboards import variables
from dashboards.catalogue.shared import ALLOCATED, HOURS, RECOMMENDED, a_month
from dashboards.panel import Dashboard, Panel, Row, Threshold
from dashboards.sql import PODS, SPAN, WHOSE, chosen, largest, money, named, over_time

__all__ = ["KUBERNETES"]

_GIB = 1 << 30
_HOURS = "$__timeInterval(hour) AS time"
_SOME = (
    Threshold(value=0, colour="red"),
    Threshold(value=0.3, colour="orange"),
    Threshold(value=0.6, colour="green"),
)


def _share(part: str, whole: str) -> str:
    return f"toFloat64(sum({part})) / nullIf(toFloat64(sum({whole})), 0)"


_BILL = Panel(
    id="bill",
    title="What does the clusters' bill go to?",
    description="By the hour: what workloads were allocated, what nobody was (idle), what is shared, and, "
    "below zero, what was allocated beyond a node (overcommit). The lines add up to the price "
    "of the clusters.",
    kind="bars",
    unit="usd",
    sql=f"""
SELECT {_HOURS}, line AS series, {money()} AS cost
FROM allocation WHERE {ALLOCATED}
GROUP BY time, series ORDER BY time, series
""",
    width=16,
    height=9,
    step=3600,
)

_EFFICIENCY = Panel(
    id="efficiency",
    title="How much of the clusters is used?",
    description="Of what nodes have, what is requested and what is used; and what idle capacity costs in "
    "the range.",
    kind="stat",
    unit="ratio",
    units={"idle": "usd"},
    sql=f"""
SELECT {money("sumIf(cost, line = 'idle')")} AS idle,
    {_share("cpu_requested", "cpu_capacity")} AS "CPU requested",
    {_share("cpu_used", "cpu_requested")} AS "of it used",
    {_share("memory_requested", "memory_capacity")} AS "memory requested",
    {_share("memory_used", "memory_requested")} AS "of that used"
FROM allocation WHERE {ALLOCATED}
""",
    width=8,
    height=9,
)

_BY_NAMESPACE = Panel(
    id="by-namespace",
    title="Which namespaces cost what?",
    description="Cost of containers by namespace. The first and the last bar are whole, also where the "
    "range begins or ends inside.",
    kind="bars",
    unit="usd",
    sql=over_time("namespace", PODS, f"{money()} AS cost"),
    width=16,
)

_BY_CLUSTER = Panel(
    id="by-cluster",
    title="Which clusters cost what?",
    description="Cost of containers by cluster in the range.",
    kind="pie",
    unit="usd",
    sql=largest(named("cluster"), money(), "cost", f"{SPAN} WHERE {PODS}", above_zero=True),
    width=8,
)

_WORKLOADS = Panel(
    id="workloads",
    title="Which workloads cost most, and how much of it do they use?",
    description="What a workload used as a share of what it requested, over the hours of the range.",
    kind="table",
    unit="usd",
    units={"cpu used": "ratio", "memory used": "ratio", "cores": "cores", "memory": "gib"},
    thresholds=_SOME,
    sql=f"""
SELECT cluster, namespace, workload, {money()} AS spend,
    {_share("cpu_used", "cpu_requested")} AS "cpu used",
    {_share("memory_used", "memory_requested")} AS "memory used",
    toFloat64(sum(cpu_requested)) / (uniqExact(hour) * 3600) AS cores,
    toFloat64(sum(memory_requested)) / {_GIB} / (uniqExact(hour) * 3600) AS memory
FROM allocation WHERE {ALLOCATED} AND line = 'workload'
GROUP BY cluster, namespace, workload ORDER BY spend DESC, cluster, namespace, workload LIMIT 50
""",
    width=24,
    height=9,
)

_RIGHTSIZING = Panel(
    id="rightsizing",
    title="Which workloads could request less?",
    description="Open recommendations: what they free in a month of 730 hours, and how sure they are. See "
    "`spendstream recommend`.",
    kind="table",
    unit="usd",
    units={"confidence": "ratio", "days": "number"},
    sql=f"""
SELECT cluster, namespace, workload, container, {a_month("freed_per_hour")} AS "freed a month", confidence,
    round(days, 1) AS days, arrayStringConcat(reasons, '; ') AS why
FROM recommendation WHERE state = 'open' AND {RECOMMENDED} AND {chosen("cluster")}
ORDER BY "freed a month" DESC NULLS LAST, cluster, namespace, workload, container LIMIT 50
""",
    width=24,
    height=6,
)


def _capacity(resource: str, per: int = 1) -> str:
    """Return the SQL of what there is of a resource, in units of `per`."""
    amounts = ", ".join(
        f"toFloat64(sum({resource}_{what})) / {per} / $__interval_s AS {name}"
        for what, name in (("capacity", "there"), ("requested", "requested"), ("used", "used"))
    )
    return f"""
SELECT {_HOURS}, {amounts}
FROM allocation WHERE {ALLOCATED}
GROUP BY time HAVING there + requested + used > 0 ORDER BY time
"""


_CPU = Panel(
    id="cpu",
    title="How much CPU is there, requested and used?",
    description="Cores, on average over each hour or more.",
    kind="time_series",
    unit="cores",
    sql=_capacity("cpu"),
    step=3600,
    width=8,
)

_MEMORY = Panel(
    id="memory",
    title="How much memory is there, requested and used?",
    description="Memory, on average over each hour or more.",
    kind="time_series",
    unit="gib",
    sql=_capacity("memory", _GIB),
    step=3600,
    width=8,
)

_GPU = Panel(
    id="gpu",
    title="Are the GPUs busy?",
    description="Devices that there are, that are requested, and that are used, on average over each hour "
    "or more.",
    kind="time_series",
    unit="number",
    sql=_capacity("gpu"),
    step=3600,
    width=8,
)

_BY_RESOURCE = Panel(
    id="by-resource",
    title="Is it CPU, memory or GPU that costs?",
    description="All lines of the bill by resource, idle capacity included.",
    kind="pie",
    unit="usd",
    sql=f"""
SELECT part.1 AS series, part.2 AS cost FROM (
    SELECT arrayJoin([('CPU', {money("sum(cpu_cost)")}), ('memory', {money("sum(memory_cost)")}),
        ('GPU', {money("sum(gpu_cost)")}), ('storage', {money("sum(storage_cost)")}),
        ('network', {money("sum(network_cost)")}), ('other', {money("sum(other_cost)")})]) AS part
    FROM allocation WHERE {ALLOCATED})
WHERE cost > 0 ORDER BY cost DESC
""",
    width=8,
)

_SPOT = Panel(
    id="spot",
    title="How much runs on spot capacity?",
    description="Price of the nodes by how they were bought.",
    kind="pie",
    unit="usd",
    sql=largest(
        named("purchase_option"),
        money(),
        "spend",
        f"node_hour WHERE {HOURS} AND {chosen('cluster')}",
        above_zero=True,
    ),
    width=8,
)

_SELF_HOSTED = Panel(
    id="self-hosted",
    title="What does a million tokens cost where we serve them ourselves?",
    description="Containers and calls of the same hours, teams and projects, for those that have both.",
    kind="ranking",
    unit="usd",
    sql=f"""
SELECT {named("team")} || ' · ' || {named("project")} AS series,
    {money("sum(pod_cost)")} * 1000000 / sum(tokens) AS "per million"
FROM unit_cost
WHERE {HOURS} AND {WHOSE}
GROUP BY team, project HAVING sum(pod_cost) > 0 AND sum(tokens) > 0
ORDER BY "per million" DESC, series LIMIT 10
""",
    width=8,
)

KUBERNETES = Dashboard(
    slug="kubernetes",
    title="Kubernetes",
    description="What a cluster's bill goes to, how much of it is used, and what could go.",
    variables=(variables.TEAM, variables.PROJECT, variables.ENVIRONMENT, variables.CLUSTER),
    rows=(
        Row(title="Bill", panels=(_BILL, _EFFICIENCY, _BY_NAMESPACE, _BY_CLUSTER)),
        Row(title="Workloads", panels=(_WORKLOADS, _RIGHTSIZING)),
        Row(title="Requested and used", panels=(_CPU, _MEMORY, _GPU)),
        Row(title="Capacity", panels=(_BY_RESOURCE, _SPOT, _SELF_HOSTED)),
    ),
)
