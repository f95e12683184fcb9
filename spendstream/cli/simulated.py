"""Phases of the simulation on a local stack: their clusters and calls, through the whole pipeline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import structlog
from msgspec import Struct
from rich.console import Console

from infra.local.parts import Part, Process
from infra.local.stack import PIPELINE, Stack
from producers.load import Loaded, load
from producers.pace import MAX_SPEED
from producers.progress import told
from producers.replay import replay, wait_until_landed
from producers.simulation import samples
from producers.simulation.ai import SHORTEST_LIFE_S, Gateway, demand, gateway_of
from producers.simulation.comparison import Comparison, compared
from producers.simulation.figures import Query, account, call_pairs, latest_run
from producers.simulation.fleet import Fleet, Phase, Requests, fixed, flexible
from producers.simulation.nodes import ON_DEMAND, REGION, WITH_SPOT, offers
from producers.simulation.rightsized import requests_from, sizings
from producers.simulation.samples import MONDAY, Run
from sinks.clickhouse.recommendations import ClickHouseRecommendationStore
from spendstream.adapters.clickhouse import connect, query_errors
from spendstream.cluster_prices import cluster_prices
from spendstream.config import Config, Secret
from spendstream.errors import SpendstreamError
from spendstream.events import PurchaseOption
from spendstream.rightsizing.sizing import Sizing
from spendstream.topics import USAGE_TOPICS

__all__ = ["Incomplete", "Site", "Size", "site"]

_log = structlog.get_logger(__name__)

_DAY = 24 * 3600 * 10**6
_WEEK = 7 * _DAY
_LANDING_S = 120.0
_TOPICS = tuple(topic.name for topic in USAGE_TOPICS)
_LANDED = """
SELECT
    (SELECT count() FROM pod_usage WHERE cluster = {run:String})
        + (SELECT count() FROM node_usage WHERE cluster = {run:String}),
    (SELECT count() FROM token_usage WHERE environment = {run:String})
"""
_T = TypeVar("_T")
_TELL_NOBODY = {"SPENDSTREAM_CONFIG": os.devnull, "SPENDSTREAM_SLACK_WEBHOOK": ""}
_GATEWAY = Part.command("gateway", ready=r"gateway ready on (?P<address>\S+)")


class Incomplete(SpendstreamError):
    """What was sent has not landed, or not once."""


class Size(Struct, frozen=True, kw_only=True):
    """How long a phase lasts, a week at most, and how many calls are made in it."""

    days: int = 7
    calls: int = 1_000


class Site:
    """A stack on which phases are played; `query` asks the ClickHouse that has their events."""

    def __init__(self, config: Config, stack: Stack, query: Query, stamp: str, size: Size) -> None:
        self._config = config
        self._stack = stack
        self.query = query
        self._stamp = stamp
        self._size = size
        self._prices = cluster_prices(config.collector.price_file)

    async def unoptimized(self, seed: int) -> str:
        """Play the first phase; return the name of its run."""
        return await self._play("unoptimized", seed, MONDAY, fixed(offers(ON_DEMAND, self._price)), {})

    async def newest(self, seed: int) -> str | None:
        """Return the name of the newest run of the first phase that was played to its end."""
        end = MONDAY + self._size.days * _DAY
        return await latest_run(self.query, f"unoptimized-{seed}-", end=end, calls=self._size.calls)

    async def optimized(self, seed: int, before: str) -> tuple[str, Mapping[str, Sizing]]:
        """Play the second phase, on what the run `before` used; return its name, and what was recommended."""
        store = ClickHouseRecommendationStore(Secret(self._stack.clickhouse))
        try:
            days = await store.days(before, MONDAY, slot=0, slots=1)
        finally:
            await store.close()
        found = sizings(days, MONDAY + self._size.days * _DAY)
        requests = requests_from(found)
        fleet = flexible(offers(WITH_SPOT, self._price), requests)
        return await self._play("optimized", seed, MONDAY + _WEEK, fleet, requests), found

    async def compared(self, before: str, after: str) -> Comparison:
        """Return two runs compared, by what their events say."""
        return compared(
            await account(self.query, before),
            await account(self.query, after),
            await call_pairs(self.query, before, after),
        )

    def _price(self, instance_type: str, option: PurchaseOption) -> int:
        return self._prices.price("node", instance_type, REGION, MONDAY, option).price

    async def _play(self, phase: Phase, seed: int, start: int, fleet: Fleet, requests: Requests) -> str:
        """Send a phase's samples to Kafka and its calls to a gateway; return when all has landed."""
        run = Run(name=f"{phase}-{seed}-{self._stamp}", seed=seed, start=start, days=self._size.days)
        calls = demand(seed, run.name, self._size.calls)
        sampled = samples.size(run, fleet)
        with told(phase, sampled + len(calls)) as progress:
            async with self._gateway(gateway_of(phase)) as url:
                sending = replay(
                    samples.events(run, fleet, requests),
                    self._stack.kafka,
                    speed=MAX_SPEED,
                    progress=progress,
                    events_per_record=self._config.events_per_record,
                )
                calling = load(url, calls, stop=asyncio.Event(), at_once=1, progress=progress)
                _, loaded = await self._while_it_stands(asyncio.gather(sending, calling))
            await wait_until_landed(self._stack.kafka, _TOPICS, timeout=_LANDING_S, progress=progress)
        await self._check(run.name, sampled, loaded)
        return run.name

    @asynccontextmanager
    async def _gateway(self, gateway: Gateway) -> AsyncIterator[str]:
        """Run a gateway that is configured so; yield its address. At its end its events are with Kafka."""
        file = self._config.data_dir / "gateway.toml"
        file.write_text(gateway.toml, "utf-8")
        environment = {
            **gateway.settings,
            "SPENDSTREAM_CONFIG": str(file),
            "SPENDSTREAM_KAFKA": self._stack.kafka,
            "SPENDSTREAM_CLICKHOUSE": self._stack.clickhouse,
            "SPENDSTREAM_DATA_DIR": str(self._config.data_dir),
        }
        process = Process(_GATEWAY, environment, self._config.data_dir / "logs")
        await process.start()
        try:
            yield process.address
        finally:
            await process.stop()

    async def _while_it_stands(self, work: asyncio.Future[_T]) -> _T:
        """Return what the work comes to; raise what made the stack fail, if it did."""
        try:
            await asyncio.wait((work, self._stack.failed), return_when=asyncio.FIRST_COMPLETED)
            if self._stack.failed.done():
                self._stack.failed.result()
            return work.result()
        finally:
            work.cancel()

    async def _check(self, run: str, sampled: int, loaded: Loaded) -> None:
        """Raise Incomplete if not every sample and every call has landed, each once."""
        if loaded.succeeded != loaded.calls:
            raise Incomplete(f"{run}: calls went wrong: {loaded.statuses | loaded.failures}")
        if loaded.seconds > SHORTEST_LIFE_S:
            _log.warning(
                "the calls took so long that cached answers may have expired: "
                "the figures can differ from another run's with this seed",
                run=run,
                seconds=loaded.seconds,
            )
        [(landed, answered)] = await self.query(_LANDED, {"run": run})
        if (landed, answered) != (sampled, loaded.calls):
            raise Incomplete(
                f"{run}: {sampled:,} samples and {loaded.calls:,} calls were sent, "
                f"{landed:,} and {answered:,} have landed"
            )


@asynccontextmanager
async def site(config: Config, stamp: str, size: Size = Size()) -> AsyncIterator[Site]:  # noqa: B008  # it is frozen
    """Start a local stack and yield a place to play phases on; names of runs end in `stamp`.

    Its parts read no configuration file: alerts of made-up spend go to no channel.
    """
    console = Console(stderr=True)
    stack = Stack(config, PIPELINE, _TELL_NOBODY)
    with console.status("starting the broker, ClickHouse, the worker and the sinks …"):
        await stack.__aenter__()
    async with AsyncExitStack() as cleanup:
        cleanup.push_async_exit(stack.__aexit__)
        client = await connect(Secret(stack.clickhouse))
        cleanup.push_async_callback(client.close)

        async def query(sql: str, parameters: Mapping[str, str | int]) -> Sequence[Sequence[Any]]:
            with query_errors("simulation"):
                return (await client.query(sql, parameters=dict(parameters))).result_rows

        yield Site(config, stack, query, stamp, size)
