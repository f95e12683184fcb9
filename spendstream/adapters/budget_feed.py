"""Budgets as they are now: those of the file, and those on their topic."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from spendstream.adapters.document_feed import DocumentFeed
from spendstream.budgets import BudgetBook, BudgetFile
from spendstream.budgets.documents import BudgetDocument, decode
from spendstream.topics import BUDGETS

__all__ = ["BudgetFeed"]

_log = structlog.get_logger(__name__)


class BudgetFeed(DocumentFeed[BudgetDocument]):
    """Follows the topic at `servers` from the first question on; of an id in both, the `file`'s counts."""

    def __init__(self, servers: str, file: BudgetFile) -> None:
        super().__init__(
            servers, BUDGETS, lambda name, value: decode(name, value, file.rates), self._make_book
        )
        self.file = file
        self._book = BudgetBook()

    async def book(self) -> BudgetBook:
        """Return all budgets. Raises BrokerUnavailable until the topic was read once."""
        await self.documents()
        return self._book

    def _make_book(self, found: Mapping[str, BudgetDocument]) -> None:
        in_file = {budget.id for budget in self.file.budgets}
        for budget_id in in_file & found.keys():
            _log.warning("budget is in the file too, which counts", budget=budget_id)
        others = [budget for name, it in found.items() if name not in in_file for budget in it.budgets]
        self._book = BudgetBook([*self.file.budgets, *others])
