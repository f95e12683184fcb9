"""Budgets from a YAML or TOML file, read whole, with all mistakes told at once; see docs/budgets.md.

Numbers are read as decimals, exactly as written: no binary fraction comes near money.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from spendstream.budgets.currencies import Rates, read_rates
from spendstream.budgets.definition import Budget
from spendstream.budgets.entries import Entry, read_entry
from spendstream.budgets.fields import Mistakes, unknown
from spendstream.budgets.rates import RateLimit, read_limits
from spendstream.budgets.versions import versions
from spendstream.errors import ConfigError
from spendstream.exact_yaml import read_yaml

__all__ = ["BudgetFile", "load"]

_SECTIONS = ("budgets", "currency_rates", "limits")


class BudgetFile(Struct, frozen=True, kw_only=True):
    """The budgets of a file, the rates for those in another currency, and rate limits; all can be empty."""

    budgets: Sequence[Budget] = ()
    limits: Sequence[RateLimit] = ()
    rates: Rates = {}


def load(path: Path) -> BudgetFile:
    """Return what the file at `path` (.yaml, .yml or .toml) holds.

    Raises ConfigError with one line for each mistake, which names the file, the budget and the field.
    """
    document = _document(path)
    mistakes = Mistakes(str(path))
    for name in document:
        if name not in _SECTIONS:
            mistakes.add(name, unknown("section", name, _SECTIONS))
    rates = read_rates(document.get("currency_rates", {}), mistakes.within("currency_rates"))
    budgets = _budgets(_entries(document.get("budgets", []), mistakes), rates)
    limits = read_limits(document.get("limits", []), mistakes)
    if mistakes.found:
        raise ConfigError("\n".join(map(str, mistakes.found)))
    return BudgetFile(budgets=budgets, limits=limits, rates=rates)


def _entries(raw: Any, mistakes: Mistakes) -> list[tuple[Entry, Mistakes]]:
    if not isinstance(raw, list):
        mistakes.add("budgets", f"expected a list of budgets, found {raw!r}")
        return []
    entries = []
    for number, fields in enumerate(raw, 1):
        if not isinstance(fields, Mapping):
            mistakes.add(f"budget {number}", f"expected the fields of a budget, found {fields!r}")
            continue
        name = fields.get("id")
        place = mistakes.within(f"budget {number} ({name})" if isinstance(name, str) else f"budget {number}")
        entry = read_entry(fields, place)
        if entry is not None:
            entries.append((entry, place))
    return entries


def _budgets(entries: list[tuple[Entry, Mistakes]], rates: Rates) -> list[Budget]:
    by_id: dict[str, list[tuple[Entry, Mistakes]]] = {}
    for entry, place in entries:
        by_id.setdefault(entry.id, []).append((entry, place))
    return [budget for group in by_id.values() for budget in versions(group, rates)]


def _document(path: Path) -> Mapping[str, Any]:
    readers: Mapping[str, Callable[[str], Any]] = {".toml": _toml, ".yaml": read_yaml, ".yml": read_yaml}
    if path.suffix not in readers:
        raise ConfigError(f"{path}: expected a file called .yaml, .yml or .toml")
    try:
        document = readers[path.suffix](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the budgets: {error.strerror}") from error
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "YAML"
        raise ConfigError(f"{path}: not valid {kind}: {' '.join(str(error).split())}") from error
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path}: expected the sections {', '.join(_SECTIONS)}, found {document!r:.80}")
    return document


def _toml(text: str) -> Any:
    return tomllib.loads(text, parse_float=Decimal)
