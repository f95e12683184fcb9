"""Prices as a JSON document: the entries of a price file, as the admin API takes them.

{"prices": [{"model": "gpt-4o", "input_per_million": "2.00", "output_per_million": "8.00"}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from spendstream.budgets.fields import identifier
from spendstream.documents import BadDocument, Document, read_object
from spendstream.pricing.book import Layer, table
from spendstream.pricing.overrides import Entry, conflicts, mistakes_in, rates_in

__all__ = ["PriceDocument", "decode", "layer_of"]

_PRICES = "prices"
_SINCE = "effective_from"
_DAY_LENGTH = len("2026-01-01")


class PriceDocument(Document, frozen=True, kw_only=True):
    """Prices as they were written, and the entries that this makes."""

    entries: Sequence[Entry]


def decode(name: str, value: bytes) -> PriceDocument:
    """Return the document; raise BadDocument with everything that is wrong with it."""
    try:
        identifier(name)
    except ValueError as error:
        raise _bad(name, [("id", str(error))]) from error
    try:
        written = read_object(value)
    except ValueError as error:
        raise _bad(name, [("document", str(error))]) from error
    mistakes = [(field, "no such field") for field in written if field != _PRICES]
    raws = written.get(_PRICES)
    if not isinstance(raws, list) or not raws:
        mistakes.append((_PRICES, f"expected a list of one price or more, found {raws!r:.80}"))
        raise _bad(name, mistakes)
    entries: list[Entry] = []
    for number, raw in enumerate(raws):
        place = f"{_PRICES}[{number}]"
        if not isinstance(raw, Mapping):
            mistakes.append((place, f"expected the fields of a price, found {raw!r:.80}"))
            continue
        dated = _dated(raw)
        found = list(mistakes_in(dated))
        mistakes += [(place, mistake) for mistake in found]
        if not found:
            entries.append((dated.get("provider", ""), dated["model"], rates_in(dated, f"price {name}")))
    mistakes += [(_PRICES, conflict) for conflict in conflicts(entries)]
    if mistakes:
        raise _bad(name, mistakes)
    return PriceDocument(id=name, written=written, entries=entries)


def layer_of(documents: Iterable[PriceDocument]) -> Layer:
    """Return the prices of all documents; of two from the same moment, that of the later id holds."""
    entries = [entry for it in sorted(documents, key=lambda it: it.id) for entry in it.entries]
    return table(entries)


def _dated(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an entry with its date as TOML would have it; what is no date stays as it is, a mistake."""
    text = raw.get(_SINCE)
    if not isinstance(text, str):
        return raw
    try:
        since = date.fromisoformat(text) if len(text) <= _DAY_LENGTH else datetime.fromisoformat(text)
    except ValueError:
        return raw
    return {**raw, _SINCE: since}


def _bad(name: str, mistakes: Sequence[tuple[str, str]]) -> BadDocument:
    return BadDocument("\n".join(f"price {name}: {field}: {why}" for field, why in mistakes), mistakes)
