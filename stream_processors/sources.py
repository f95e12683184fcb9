"""The sources that a worker owns: one processor for each assigned partition of a topic's incarnation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from spendstream.codec import NODES, PODS, TOKENS, EventCodec
from spendstream.deadletters import DeadLetterOffice
from spendstream.store import Kind, Source, UsageStore
from spendstream.topics import USAGE_NODES, USAGE_PODS, USAGE_TOKENS
from stream_processors.metrics import WorkerMetrics
from stream_processors.processor import ALLOWED_LATENESS, RecordBlock, SourceProcessor

__all__ = ["TOPICS", "Sources"]

TOPICS: dict[str, tuple[Kind, EventCodec[Any]]] = {
    USAGE_TOKENS.name: ("tokens", TOKENS),
    USAGE_PODS.name: ("pods", PODS),
    USAGE_NODES.name: ("nodes", NODES),
}
"""What the worker reads: the kind of usage on a topic, and its codec."""


class Sources:
    """Makes a processor when a partition's first block comes, and forgets it when the assignment changes."""

    def __init__(
        self,
        store: UsageStore,
        office: DeadLetterOffice,
        metrics: WorkerMetrics,
        incarnation: Callable[[str], Awaitable[str]],
        *,
        horizon: int,
        allowed_lateness: int = ALLOWED_LATENESS,
    ) -> None:
        self._store = store
        self._office = office
        self._metrics = metrics
        self._incarnation = incarnation
        self._horizon = horizon
        self._allowed_lateness = allowed_lateness
        self._generation = -1
        self._processors: dict[tuple[str, int], SourceProcessor] = {}

    async def process(self, topic: str, partition: int, generation: int, block: RecordBlock) -> None:
        """Land a block that was delivered under the present `generation` of the consumer group.

        Raises RuntimeError when the topic was deleted and created anew: the consumer goes on from its old
        position, and would skip what the new topic has before that. The process must end then; the group's
        commits went with the old topic, so that the next life reads the new one from its beginning.
        """
        if generation != self._generation:
            # A new dictionary: what recovers for an earlier generation still must not be found in this one.
            self._generation, self._processors = generation, {}
        processors = self._processors
        processor = processors.get((topic, partition))
        if processor is None:
            processor = processors[topic, partition] = await self._recovered(topic, partition)
        elif await self._current(topic) != processor.source.incarnation:
            raise RuntimeError(f"{topic} was deleted and created anew: the worker has to start again")
        await processor.process(block)

    async def _recovered(self, topic: str, partition: int) -> SourceProcessor:
        kind, codec = TOPICS[topic]
        source = Source(kind, topic, partition, await self._current(topic))
        processor = SourceProcessor(
            source,
            codec,
            self._store,
            self._office,
            self._metrics,
            horizon=self._horizon,
            allowed_lateness=self._allowed_lateness,
        )
        await processor.recover()
        return processor

    async def _current(self, topic: str) -> str:
        return await self._metrics.patiently(topic, "topic", lambda: self._incarnation(topic))
