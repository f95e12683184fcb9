"""Budgets as they are now: those of the file, and those on their topic, followed from its beginning.

There is no consumer group: whoever evaluates or serves budgets reads the whole topic, which is small, as only
the newest record of each budget is kept. While Kafka is away what was read last holds on. When the topic was
made anew it is read anew; the embedded broker loses it, and every budget on it, when it stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from spendstream.adapters.kafka import end_offsets, ensure_topics, topic_incarnation
from spendstream.budgets import BudgetBook, BudgetFile
from spendstream.budgets.documents import BadBudget, BudgetDocument, decode
from spendstream.errors import BrokerUnavailable, ConfigError
from spendstream.patience import patiently
from spendstream.topics import BUDGETS

__all__ = ["BudgetFeed"]

_PLACE = TopicPartition(BUDGETS.name, 0)
_POLL_MS = 1000
_CHECK_S = 5.0  # a running consumer takes a topic that was made anew for one that is silent
_REQUEST_MS = 10_000
_HEADERS = [("content-type", b"application/json")]
_SEEN_S = 2.0

_log = structlog.get_logger(__name__)


class BudgetFeed:
    """Follows the topic at `servers` from the first question on; of an id in both, the `file`'s counts."""

    def __init__(self, servers: str, file: BudgetFile) -> None:
        self.file = file
        self._servers = servers
        self._documents: dict[str, BudgetDocument] | None = None
        self._book = BudgetBook()
        self._following: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def documents(self) -> Mapping[str, BudgetDocument]:
        """Return what is on the topic, by id. Raises BrokerUnavailable until it was read once."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        if self._following.done():
            self._following.result()
        if self._documents is None:
            raise BrokerUnavailable(f"{BUDGETS.name}: the budgets are not read yet", retry_after=1.0)
        return self._documents

    async def book(self) -> BudgetBook:
        """Return all budgets. Raises BrokerUnavailable until the topic was read once."""
        await self.documents()
        return self._book

    async def put(self, document: BudgetDocument) -> None:
        """Set a budget; on return Kafka has it. Raises BrokerUnavailable."""
        await self._write(document.id, document.encoded)
        await self._until(lambda found: document.id in found and found[document.id].tag == document.tag)

    async def delete(self, budget_id: str) -> None:
        """Delete a budget; on return Kafka knows. Raises BrokerUnavailable."""
        await self._write(budget_id, None)
        await self._until(lambda found: budget_id not in found)

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _write(self, budget_id: str, value: bytes | None) -> None:
        """Send a record, or a tombstone. Twice would do no harm, so the producer need not be idempotent."""
        await self._there()
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, acks="all", request_timeout_ms=_REQUEST_MS
        )
        try:
            await producer.start()
            await producer.send_and_wait(BUDGETS.name, value, key=budget_id.encode(), headers=_HEADERS)
        except KafkaError as error:
            raise BrokerUnavailable(f"{BUDGETS.name} takes nothing: {error}", retry_after=1.0) from error
        finally:
            await producer.stop()

    async def _there(self) -> None:
        """Make sure of the topic."""
        try:
            await ensure_topics(self._servers, [BUDGETS])
        except ConfigError as error:  # an operator can mend it
            raise BrokerUnavailable(str(error), retry_after=_CHECK_S) from error

    async def _until(self, seen: Callable[[Mapping[str, BudgetDocument]], bool]) -> None:
        """Wait a moment for what was written to be read, so that who asks next is told of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SEEN_S):
                while not seen(await self.documents()):
                    self._changed.clear()
                    await self._changed.wait()

    async def _follow(self) -> None:
        while True:
            await patiently(self._read, lambda: None)

    async def _read(self) -> None:
        """Read from the beginning on, until Kafka fails or the topic is another."""
        await self._there()
        incarnation = await topic_incarnation(self._servers, BUDGETS.name)
        end = (await end_offsets(self._servers, BUDGETS.name))[_PLACE.partition]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=BUDGETS.max_record_bytes,
        )
        try:
            await consumer.start()
            consumer.assign([_PLACE])
            await self._apply_all(consumer, end, incarnation)
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka at {self._servers}: {error}", retry_after=1.0) from error
        finally:
            await consumer.stop()

    async def _apply_all(self, consumer: AIOKafkaConsumer, end: int, incarnation: str) -> None:
        """Take over what the consumer reads, once it has all that was there before `end`."""
        found: dict[str, BudgetDocument] = {}
        clock = asyncio.get_running_loop().time
        checked = clock()
        reached = False
        while True:
            if not reached and (not end or await consumer.position(_PLACE) >= end):
                reached = True
                self._take_over(found)
            batch = (await consumer.getmany(timeout_ms=_POLL_MS)).get(_PLACE, [])
            for record in batch:
                self._apply(record, found)
            if batch and reached:
                self._take_over(found)
            if clock() - checked >= _CHECK_S:
                await self._check(incarnation)
                checked = clock()

    def _apply(self, record: ConsumerRecord[Any, Any], found: dict[str, BudgetDocument]) -> None:
        budget_id = (record.key or b"").decode(errors="replace")
        if record.value is None:
            found.pop(budget_id, None)
            return
        try:
            found[budget_id] = decode(budget_id, record.value, self.file.rates)
        except BadBudget as error:  # someone else wrote it; the version before it stays
            _log.warning("skipped", topic=BUDGETS.name, offset=record.offset, why=str(error))

    def _take_over(self, found: Mapping[str, BudgetDocument]) -> None:
        in_file = {budget.id for budget in self.file.budgets}
        for budget_id in in_file & found.keys():
            _log.warning("budget is in the file too, which counts", budget=budget_id)
        others = [budget for name, it in found.items() if name not in in_file for budget in it.budgets]
        self._documents = dict(found)
        self._book = BudgetBook([*self.file.budgets, *others])
        self._changed.set()

    async def _check(self, incarnation: str) -> None:
        """Raise BrokerUnavailable when the topic is not the one that is read."""
        try:
            now = await topic_incarnation(self._servers, BUDGETS.name)
        except ConfigError as error:
            raise BrokerUnavailable(str(error), retry_after=1.0) from error
        if now != incarnation:
            raise BrokerUnavailable(f"{BUDGETS.name} was made anew: it is read again", retry_after=0.0)
