"""Where reports get their answers: ClickHouse for what happened, and the budgets that hold now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from sinks.clickhouse.budgets import ClickHouseBudgetStore
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.adapters.reading import Reader
from spendstream.budgets import BudgetBook, BudgetFile, assess, carried, load
from spendstream.budgets.known import reach_at
from spendstream.budgets.spend import SpendSeries
from spendstream.cli.local import Reached
from spendstream.config import Config
from spendstream.errors import BrokerUnavailable
from spendstream.reports import anomalies, budgets, chargeback, questions, waste
from spendstream.reports.answers import Record, named
from spendstream.reports.chargeback import Sharing
from spendstream.reports.questions import KINDS, Question
from spendstream.reports.span import Span
from spendstream.reports.table import Table

__all__ = ["Asking"]

_POLL_S = 0.05
_KAFKA_S = 10.0

Drawn: TypeAlias = Callable[[Sequence[str], Span, Sequence[Record]], Table]


class Asking:
    """Asks for reports. Raises QueryError, StoreUnavailable, BrokerUnavailable and ConfigError."""

    def __init__(self, config: Config, reached: Reached) -> None:
        self._config = config
        self._reached = reached
        self.reader = Reader(reached.clickhouse)

    async def close(self) -> None:
        """Let go of the connections."""
        await self.reader.close()

    async def spend(self, drawn: Drawn, by: Sequence[str], span: Span, kinds: Sequence[str] = KINDS) -> Table:
        """Return a table that is made of spend by dimensions."""
        return drawn(by, span, await self._ask(questions.spend(by, span, kinds)))

    async def waste(self, by: Sequence[str], span: Span) -> Table:
        """Return what was paid for nothing."""
        return waste.table(by, span, await self._ask(questions.waste(by, span)))

    async def anomalies(self, span: Span) -> Table:
        """Return what was unusual."""
        return anomalies.table(span, await self._ask(questions.anomalies(span)))

    async def chargeback(self, by: str, span: Span, sharing: Sharing) -> Table:
        """Return what each owes; raise ValueError if there is nobody to share what is shared."""
        limits: Mapping[str, int] = chargeback.budgeted(by, span, await self.book())
        answer = await self._ask(questions.spend([by], span))
        bill = await self._ask(questions.unallocated(by, span))
        return chargeback.table(by, span, answer, bill, sharing, limits)

    async def budgets(self, at: int) -> Table:
        """Return how the budgets stand at a time (microseconds UTC)."""
        book = await self.book()
        store = ClickHouseBudgetStore(self._reached.clickhouse)
        try:
            assessed = []
            reach = reach_at(at)
            for budget in [budget for budget in book.at(at) if budget.has_windows]:
                spent = SpendSeries(await store.spend(budget.scope, reach), since=reach.hours)
                left_over = carried(book.versions(budget.id), spent, at)
                assessed.append((budget, assess(budget, spent, at, left_over)))
        finally:
            await store.close()
        left_out = [budget for budget in book.at(at) if not budget.has_windows]
        return budgets.table(assessed, left_out, at)

    async def book(self) -> BudgetBook:
        """Return the budgets of the file and, where there is a Kafka, those of the admin API."""
        path = self._config.budget_file
        file = load(path) if path else BudgetFile()
        if not self._reached.kafka:
            return BudgetBook(file.budgets)
        feed = BudgetFeed(self._reached.kafka, file)
        try:
            async with asyncio.timeout(_KAFKA_S):
                return await _read(feed)
        except TimeoutError as error:
            raise BrokerUnavailable(
                f"Kafka at {self._reached.kafka} did not tell the budgets within {_KAFKA_S:.0f} s"
            ) from error
        finally:
            await feed.close()

    async def _ask(self, question: Question) -> Sequence[Record]:
        return named(question, await self.reader.rows(question.sql))


async def _read(feed: BudgetFeed) -> BudgetBook:
    while True:
        try:
            return await feed.book()
        except BrokerUnavailable:
            await asyncio.sleep(_POLL_S)
