"""The collector at work: it follows a cluster, reads usage, and lets samples leave after each interval."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from producers.cluster.api import KubernetesApi
from producers.cluster.kinds import followed
from producers.cluster.metrics import CollectorMetrics
from producers.cluster.outlet import Outlet
from producers.cluster.remembered import Remembered
from producers.cluster.usage import UsageSource
from producers.cluster.watching import Following
from spendstream.errors import ClusterUnavailable
from spendstream.patience import Waits
from spendstream.workloads.account import Account
from spendstream.workloads.attribution import Attribution

__all__ = ["SETTLE_S", "Collector"]

_log = structlog.get_logger()

SETTLE_S = 15
"""Samples leave so long after their end: a kubelet tells of a container's end some seconds late."""
_CATCH_UP = 5 * 10**6  # microseconds; after an outage a watch tells first what was missed
_POLL_S = 0.5
_MICROS = 10**6


class Collector:
    """Collects one cluster. `clock` gives microseconds since 1970 UTC, `interval` is in seconds."""

    def __init__(  # noqa: PLR0913 - its surroundings, once
        self,
        api: KubernetesApi,
        usage: UsageSource,
        account: Account,
        outlet: Outlet,
        remembered: Remembered,
        metrics: CollectorMetrics,
        waits: Waits,
        *,
        attribution: Attribution,
        interval: int,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._usage = usage
        self._account = account
        self._outlet = outlet
        self._remembered = remembered
        self._metrics = metrics
        self._waits = waits
        self._interval = interval * _MICROS
        self._clock = clock
        self._sleep = sleep
        self.followings = [
            Following(api, kind, listener, metrics, clock=clock, sleep=sleep)
            for kind, listener in followed(account, attribution, clock)
        ]
        self._measure()

    async def run(self) -> None:
        """Collect until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for following in self.followings:
                tasks.create_task(following.run())
            tasks.create_task(self._read())
            tasks.create_task(self.let_leave())

    def trouble(self) -> Mapping[str, str]:
        """Return why the collector does not know how things are, by kind; nothing if it does."""
        return {one.kind.name: one.trouble for one in self.followings if one.kind.needed and one.trouble}

    async def synced(self) -> None:
        """Return when all that is needed was listed, and all else was tried."""
        while not all(one.listed or (one.tried and not one.kind.needed) for one in self.followings):
            await self._sleep(_POLL_S)

    async def read_once(self) -> None:
        """Read usage, and take note of it. Raises ClusterUnavailable."""
        usage = await self._usage.read()
        for namespace, pod, container, reading in usage.containers:
            self._account.read(namespace, pod, container, reading)
        for name, reading in usage.nodes:
            self._account.read_node(name, reading)
        self._metrics.readings.inc(len(usage.containers) + len(usage.nodes))

    async def close(self, until: int) -> None:
        """Let all samples up to `until` leave.

        What is about to leave is remembered first: after a crash the same samples are made again, with the
        same ids, and nothing else in their place.
        """
        intent = self._account.closing(until)
        await self._waits.patiently(
            "room for the state", lambda: asyncio.to_thread(self._remembered.save, intent), lambda: None
        )
        await self._outlet.send(self._account.close(until))
        self._account.closed(until)

    async def _read(self) -> None:
        await self.synced()
        while True:
            try:
                await self.read_once()
            except ClusterUnavailable as error:
                self._metrics.reading_errors.inc()
                _log.warning("usage cannot be read: requests are billed", why=str(error))
            await self._sleep(self._interval / _MICROS)

    async def let_leave(self) -> None:
        """Let samples leave for ever, each interval's when it has settled and nothing of it is unknown."""
        await self.synced()
        billed = self._account.billed
        if billed.closing > billed.until:
            await self.close(billed.closing)
        while True:
            due = self._due()
            if due > self._account.billed.until and self._up_to_date():
                await self.close(due)
            await self._sleep(_POLL_S)

    def _due(self) -> int:
        """Return the end of the last interval that has settled."""
        settled = self._clock() - SETTLE_S * _MICROS
        return settled - settled % self._interval

    def _up_to_date(self) -> bool:
        """Return whether no end or change can be unknown. Until then nothing is billed: it waits."""
        now = self._clock()
        since = [one.current_since for one in self.followings if one.kind.needed]
        return all(when is not None and when <= now - _CATCH_UP for when in since)

    def _measure(self) -> None:
        metrics, account = self._metrics, self._account
        metrics.pods.set_function(lambda: account.pods)
        metrics.nodes.set_function(lambda: len(account.nodes))
        metrics.behind.set_function(lambda: (self._clock() - account.billed.until) / _MICROS)
        metrics.api_up.set_function(lambda: float(not self.trouble()))
