"""Recommends what containers should request, as their days grow, and follows up what was applied.

Every workload has its turn every five minutes, or sooner where they are few; turns are spread over these,
so that a look reads few days and holds no one up. A cluster lives in its own time, which is that of its
newest sample: so a recording of the past, or a simulation, is recommended for as it was. What is remembered
is a cache of what was said: an id follows from what it proposes, and a watcher that takes over says the
same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from spendstream.alerts import Alert
from spendstream.allocation import Rates
from spendstream.recommendations import Recommendation
from spendstream.rightsizing.book import RecommendationBook
from spendstream.rightsizing.days import DAY, SECOND, Container, ContainerDay
from spendstream.rightsizing.recommending import recommend
from spendstream.scheduling import Node
from stream_processors.packing import Packing

__all__ = ["HISTORY", "RecommendationStore", "RecommendationWatcher"]

HISTORY = 28
"""Days of usage that a recommendation is made of: whole weeks, for what differs by the day of the week."""

_TURN = 10 * SECOND
_MOST_TURNS = 30  # until all had theirs
_TOGETHER = 100  # containers in one turn, unless there are too many
_GONE = 2 * DAY  # without a sample for so long a container is not there any more


class RecommendationStore(Protocol):
    """What the watcher asks; all methods raise StoreUnavailable."""

    async def clusters(self) -> Mapping[str, tuple[int, int]]:
        """Return of each cluster until when usage is known (microseconds), and how many containers it has."""

    async def days(
        self, cluster: str, since: int, slot: int, slots: int
    ) -> Mapping[Container, Sequence[ContainerDay]]:
        """Return the days from `since` (microseconds) on, oldest first, of each container in a slot."""

    async def rates(self) -> Mapping[str, Rates]:
        """Return what the resources of each cluster cost."""

    async def nodes(self, cluster: str) -> Sequence[Node]:
        """Return the nodes of a cluster as they were last seen, with the pods on them."""

    async def standing(self) -> Sequence[Recommendation]:
        """Return the newest state of each recommendation that was not superseded."""

    async def close(self) -> None:
        """Let go of connections."""


class RecommendationWatcher:
    """Looks at one slot of workloads after the other."""

    def __init__(
        self,
        store: RecommendationStore,
        publish: Callable[[Sequence[Recommendation]], Awaitable[None]],
    ) -> None:
        """Read from `store`; `publish` returns once Kafka has the recommendations."""
        self._store = store
        self._publish = publish
        self._book: RecommendationBook | None = None
        self._clusters: frozenset[str] = frozenset()
        self._rates: Mapping[str, Rates] = {}
        self._turn = -1
        self._looks = 0

    def rest(self) -> None:
        """Forget what was said: someone else looks from now on."""
        self._book = None
        self._clusters = frozenset()
        self._turn = -1

    async def close(self) -> None:
        """Let go of the store's connections."""
        await self._store.close()

    async def look(self, now: int) -> Sequence[Alert]:
        """Publish what is new of the workloads whose turn it is at `now` (microseconds); no alerts."""
        turn = now // _TURN
        if turn == self._turn:
            return []
        clusters = await self._store.clusters()
        if clusters.keys() != self._clusters or self._looks % _MOST_TURNS == 0:
            self._rates = await self._store.rates()  # of a day, so they move slowly
            self._clusters = frozenset(clusters)
        if self._book is None:
            self._book = RecommendationBook(await self._store.standing())
        for cluster, (newest, containers) in clusters.items():
            slots = min(-(-containers // _TOGETHER), _MOST_TURNS)
            priced = self._rates.get(cluster, Rates())
            await self._look_at(self._book, cluster, min(newest, now), priced, (self._looks % slots, slots))
        self._turn = turn
        self._looks += 1  # and not the turn: a look that takes longer than one would pass some by
        return []

    async def _look_at(
        self, book: RecommendationBook, cluster: str, now: int, rates: Rates, slot: tuple[int, int]
    ) -> None:
        since = now - now % DAY - (HISTORY - 1) * DAY
        packing = Packing(partial(self._store.nodes, cluster))
        for container, days in (await self._store.days(cluster, since, *slot)).items():
            if days[-1].last < now - _GONE:
                news = book.retire(container, now)
            else:
                fresh = recommend(container, days, now, rates)
                news = book.read(fresh, days, rates)
                if fresh.state == "open" and fresh in news:
                    packed = recommend(container, days, now, rates, await packing.gone(fresh))
                    news = [packed if each is fresh else each for each in news]
            await self._say(book, news)
            await asyncio.sleep(0)

    async def _say(self, book: RecommendationBook, news: Sequence[Recommendation]) -> None:
        """Publish news, and only then note it down: what fails is news at the next look."""
        if news:
            await self._publish(news)
            book.note(news)
