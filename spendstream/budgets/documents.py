"""One budget as a JSON document, as the admin API takes it and its topic holds it.

    {"versions": [{"amount": "500 USD", "period": "month", "scope": {"team": "search"}}]}

A version has the fields of an entry of a budget file, and the same mistakes are told; its `id` may be left
out. What is kept is what was written: amounts stay in their currency, and follow its rates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from spendstream.budgets import fields
from spendstream.budgets.currencies import Rates
from spendstream.budgets.definition import Budget
from spendstream.budgets.entries import Entry, read_entry
from spendstream.budgets.fields import Mistake, Mistakes, unknown
from spendstream.budgets.versions import versions
from spendstream.errors import ConfigError

__all__ = ["MAX_DOCUMENT_BYTES", "BadBudget", "BudgetDocument", "decode"]

MAX_DOCUMENT_BYTES = 1 << 16
_VERSIONS = "versions"
_NESTS = ": "
_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


class BadBudget(ConfigError):
    """A document that is no budget; `by_field` has each field at fault, like versions[0].amount, and why."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.by_field = [
            (".".join([*mistake.place.split(_NESTS)[1:], mistake.field]), mistake.reason)
            for mistake in mistakes
        ]


class BudgetDocument(Struct, frozen=True, kw_only=True):
    """A budget as it was written, and the versions that this makes."""

    id: str
    written: Mapping[str, Any]
    budgets: Sequence[Budget]

    @property
    def encoded(self) -> bytes:
        """The document as JSON; equal documents have equal bytes."""
        return _encoder.encode(self.written)

    @property
    def tag(self) -> str:
        """What tells this document from any other of the same budget."""
        return blake2b(self.encoded, digest_size=16).hexdigest()


def decode(budget_id: str, value: bytes, rates: Rates) -> BudgetDocument:
    """Return the document of a budget; raise BadBudget with everything that is wrong with it."""
    mistakes = Mistakes(f"budget {budget_id}")
    try:
        fields.identifier(budget_id)
    except ValueError as error:
        raise BadBudget([Mistake("budget", "id", str(error))]) from error
    try:
        document = _document(value)
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


def _document(value: bytes) -> Mapping[str, Any]:
    if len(value) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"at most {MAX_DOCUMENT_BYTES} bytes are accepted, found {len(value)}")
    try:
        document = json.loads(
            value, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_each_once
        )
        _encoder.encode(document)  # half a surrogate pair is JSON, but no text
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError(f"expected an object with {_VERSIONS}, found {document!r:.80}")  # noqa: TRY004 - of contents
    return document


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


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{min(twice)} is given twice")
    return dict(pairs)
