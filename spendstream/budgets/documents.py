"""One budget as a JSON document, as the admin API takes it and its topic holds it.

    {"versions": [{"amount": "500 USD", "period": "month", "scope": {"team": "search"}}]}

A version has the fields of an entry of a budget file, and the same mistakes are told; its `id` may be left
out. What is kept is what was written: amounts stay in their currency, and follow its rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spendstream.budgets import fields
from spendstream.budgets.currencies import Rates
from spendstream.budgets.definition import Budget
from spendstream.budgets.entries import Entry, read_entry
from spendstream.budgets.fields import Mistake, Mistakes, unknown
from spendstream.budgets.versions import versions
from spendstream.documents import BadDocument, Document, read_object

__all__ = ["BadBudget", "BudgetDocument", "decode"]

_VERSIONS = "versions"
_NESTS = ": "


class BadBudget(BadDocument):
    """A document that is no budget; `by_field` has each field at fault, like versions[0].amount, and why."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(
            "\n".join(map(str, mistakes)),
            [
                (".".join([*mistake.place.split(_NESTS)[1:], mistake.field]), mistake.reason)
                for mistake in mistakes
            ],
        )


class BudgetDocument(Document, frozen=True, kw_only=True):
    """A budget as it was written, and the versions that this makes."""

    budgets: Sequence[Budget]


def decode(budget_id: str, value: bytes, rates: Rates) -> BudgetDocument:
    """Return the document of a budget; raise BadBudget with everything that is wrong with it."""
    mistakes = Mistakes(f"budget {budget_id}")
    try:
        fields.identifier(budget_id)
    except ValueError as error:
        raise BadBudget([Mistake("budget", "id", str(error))]) from error
    try:
        document = read_object(value)
    except ValueError as error:
        raise BadBudget([Mistake(f"budget {budget_id}", "document", str(error))]) from error
    for name in document:
        if name != _VERSIONS:
            mistakes.add(name, unknown("field", name, (_VERSIONS,)))
    entries = _entries(budget_id, document.get(_VERSIONS), mistakes)
    budgets = versions(entries, rates) if not mistakes.found else []
    if mistakes.found:
        raise BadBudget(mistakes.found)
    return BudgetDocument(id=budget_id, written=document, budgets=budgets)


def _entries(budget_id: str, raw: Any, mistakes: Mistakes) -> list[tuple[Entry, Mistakes]]:
    if not isinstance(raw, list) or not raw:
        mistakes.add(_VERSIONS, f"expected a list of one version or more, found {raw!r:.80}")
        return []
    entries = []
    for number, written in enumerate(raw):
        place = mistakes.within(f"{_VERSIONS}[{number}]")
        if not isinstance(written, Mapping):
            place.add("version", f"expected the fields of a budget, found {written!r:.80}")
            continue
        if written.get("id", budget_id) != budget_id:
            place.add("id", f"expected {budget_id} or none, found {written['id']!r:.80}")
        entry = read_entry({**written, "id": budget_id}, place)
        if entry is not None:
            entries.append((entry, place))
    return entries
