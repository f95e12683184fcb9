"""The questions about a simulation's events that are put to ClickHouse, and their answers as values.

A run's events carry its name, as cluster and as environment. Money is in integer picodollars.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from producers.simulation.samples import PROJECT
from spendstream.queries import pico

__all__ = [
    "Account",
    "CallPairs",
    "Calls",
    "Containers",
    "Nodes",
    "Query",
    "account",
    "call_pairs",
    "latest_run",
]

Query: TypeAlias = Callable[[str, Mapping[str, str | int]], Awaitable[Sequence[Sequence[Any]]]]
"""Answers a question, with parameters, with its rows."""

_MICROS = "sum(dateDiff('microsecond', event_time, end_time))"
_NODES = f"""
SELECT
    instance_type, purchase_option, {pico("hourly_price")} AS price,
    {_MICROS}, {pico("sum(cost)")}, countIf(isNull(cost))
FROM node_usage WHERE cluster = {{run:String}}
GROUP BY instance_type, purchase_option, price ORDER BY instance_type, purchase_option, price
"""
_CONTAINERS = f"""
SELECT
    workload, workload_kind, instance_type, purchase_option, {pico("node_hourly_price")} AS price,
    {_MICROS}, {pico("sum(cost)")}, countIf(isNull(cost)),
    sum(toInt128(cpu_request) * dateDiff('microsecond', event_time, end_time)),
    sum(toInt128(memory_request) * dateDiff('microsecond', event_time, end_time)),
    count(), countIf(memory_peak > memory_request), countIf(cpu_usage > cpu_request)
FROM pod_usage WHERE cluster = {{run:String}}
GROUP BY workload, workload_kind, instance_type, purchase_option, price
ORDER BY workload, workload_kind, instance_type, purchase_option, price
"""
_CALLS = f"""
SELECT
    model, cache_outcome, count(), {pico("sum(cost)")}, countIf(isNull(cost)),
    sum(input_tokens), sum(output_tokens)
FROM token_usage WHERE environment = {{run:String}}
GROUP BY model, cache_outcome ORDER BY model, cache_outcome
"""
_NUMBERED = """
SELECT
    row_number() OVER (ORDER BY event_time, event_id) AS number,
    team, project, user, request_model, model, cache_outcome, cost
FROM token_usage WHERE environment = {{{run}:String}}
"""
_PAIRS = f"""
SELECT
    after.cache_outcome AS outcome, count(),
    countIf((before.team, before.project, before.user, before.request_model)
        != (after.team, after.project, after.user, after.request_model)),
    {pico("sum(before.cost)")}, {pico("sum(after.cost)")}
FROM ({_NUMBERED.format(run="before")}) AS before
INNER JOIN ({_NUMBERED.format(run="after")}) AS after USING (number)
GROUP BY outcome ORDER BY outcome
"""


_WHOLE = """
SELECT cluster FROM node_usage
WHERE project = {project:String} AND startsWith(cluster, {prefix:String})
    AND cluster IN (SELECT environment FROM token_usage GROUP BY environment HAVING count() = {calls:UInt32})
GROUP BY cluster HAVING max(end_time) = fromUnixTimestamp64Micro({end:Int64})
ORDER BY cluster DESC LIMIT 1
"""


class Nodes(Struct, frozen=True):
    """What the nodes of one type and price cost in a run; time is in microseconds."""

    instance_type: str
    purchase_option: str
    hourly_price: int | None
    time: int
    cost: int | None
    unpriced: int


class Containers(Struct, frozen=True):
    """What the containers of one workload were allocated on nodes of one type and price.

    Requests are nanocores and bytes times microseconds. Of the `samples`, memory was above the request in
    `memory_over` and CPU in `cpu_over`.
    """

    workload: str
    kind: str
    instance_type: str
    purchase_option: str
    hourly_price: int | None
    time: int
    cost: int | None
    unpriced: int
    cpu_requested: int
    memory_requested: int
    samples: int
    memory_over: int
    cpu_over: int


class Calls(Struct, frozen=True):
    """The calls that one model answered, or that the cache answered with what it once said."""

    model: str
    outcome: str
    calls: int
    cost: int | None
    unpriced: int
    input_tokens: int
    output_tokens: int


class CallPairs(Struct, frozen=True):
    """Calls of two runs side by side, by what the cache did in the second one.

    `unlike` of them are not the same call twice.
    """

    outcome: str
    pairs: int
    unlike: int
    before: int
    after: int


class Account(Struct, frozen=True, kw_only=True):
    """All that a run's events say."""

    run: str
    nodes: tuple[Nodes, ...]
    containers: tuple[Containers, ...]
    calls: tuple[Calls, ...]

    @property
    def compute(self) -> int:
        """What the nodes cost."""
        return sum(each.cost or 0 for each in self.nodes)

    @property
    def allocated(self) -> int:
        """What of that containers were allocated."""
        return sum(each.cost or 0 for each in self.containers)

    @property
    def idle(self) -> int:
        """What of that nobody was allocated, less what was allocated beyond what nodes have."""
        return self.compute - self.allocated

    @property
    def ai(self) -> int:
        """What the calls cost."""
        return sum(each.cost or 0 for each in self.calls)

    @property
    def unpriced(self) -> int:
        """Events that have no price: with any, no figure is to be believed."""
        parts = (self.nodes, self.containers, self.calls)
        return sum(each.unpriced for part in parts for each in part)

    def answered(self, *outcomes: str) -> int:
        """Return how many calls the cache answered so; with no outcome named, how many calls there were."""
        return sum(each.calls for each in self.calls if not outcomes or each.outcome in outcomes)

    def by_model(self) -> Mapping[str, int]:
        """Return how many calls each model answered itself."""
        return {each.model: each.calls for each in self.calls if each.outcome == "none"}


async def account(query: Query, run: str) -> Account:
    """Return what the events of a run say."""
    named = {"run": run}
    return Account(
        run=run,
        nodes=tuple(Nodes(*row) for row in await query(_NODES, named)),
        containers=tuple(Containers(*row) for row in await query(_CONTAINERS, named)),
        calls=tuple(Calls(*row) for row in await query(_CALLS, named)),
    )


async def call_pairs(query: Query, before: str, after: str) -> tuple[CallPairs, ...]:
    """Return the calls of two runs side by side: the n-th of the one is the n-th of the other."""
    rows = await query(_PAIRS, {"before": before, "after": after})
    return tuple(CallPairs(*row) for row in rows)


async def latest_run(query: Query, prefix: str, *, end: int, calls: int) -> str | None:
    """Return the newest run whose name begins so and which is whole; names of later runs sort later.

    That is one whose samples go on until `end` (microseconds), and that made so many `calls`.
    """
    rows = await query(_WHOLE, {"project": PROJECT, "prefix": prefix, "end": end, "calls": calls})
    return rows[0][0] if rows else None
