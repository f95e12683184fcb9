"""An invoice beside the ledger: what each says of a line, and whether that agrees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from spendstream.invoices.lines import Invoice, Key
from spendstream.money import parse_usd
from spendstream.queries import pico
from spendstream.reports.questions import Question, within
from spendstream.reports.span import Span
from spendstream.reports.table import Cell, Column, Table, added

__all__ = ["Compared", "Tolerance", "ask", "compare", "recorded", "table", "tolerance"]

State: TypeAlias = Literal["agrees", "differs", "not on the invoice", "not in the ledger"]

_FIGURES = {
    "amount": pico("sum(ifNull(e.cost, 0))"),
    **{
        name: f"sumIf(e.{name}, e.cache_outcome = 'none')"  # what our cache answered no provider charges for
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    },
}
_DAY = "toInt64(toUnixTimestamp(toStartOfDay(e.event_time))) * 1000000"


class Tolerance(Struct, frozen=True, kw_only=True):
    """How far a line may be off: so many picodollars of an amount, or such a share of any figure."""

    pico: int = 0
    share: Fraction = Fraction(0)

    def allows(self, measure: str, invoiced: int, found: int) -> bool:
        """Tell whether two figures are near enough to each other."""
        absolute = self.pico if measure == "amount" else 0
        off = abs(invoiced - found)
        return off <= absolute or off <= self.share * abs(invoiced)


def tolerance(text: str) -> Tolerance:
    """Return a tolerance written as dollars (0.01) or as a share (0.5%). Raises ValueError."""
    number = parse_usd(text.removesuffix("%").strip())
    if number < 0:
        raise ValueError(f"{text!r}: a tolerance is not negative")
    if text.endswith("%"):
        return Tolerance(share=Fraction(number, 100 * 10**12))
    return Tolerance(pico=number)


class Compared(Struct, frozen=True, kw_only=True):
    """One line: figures of the invoice and of the ledger by measure; `unpriced` calls are in no amount."""

    key: Key
    state: State
    invoiced: Mapping[str, int]
    recorded: Mapping[str, int]
    unpriced: int


def ask(keys: Sequence[str], providers: Sequence[str], span: Span) -> Question:
    """Return how to ask the ledger for the lines of these providers (names in lower case)."""
    columns = {name: _DAY if name == "day" else f"lower(toString(e.{name}))" for name in keys} | {
        **_FIGURES,
        "unpriced": "countIf(e.cost IS NULL)",
    }
    listed = ", ".join(f"'{_escaped(provider)}'" for provider in providers)
    grouped = ", ".join(f"{name}_" for name in keys)
    return Question(
        sql=f"SELECT {', '.join(f'{sql} AS {name}_' for name, sql in columns.items())} "
        f"FROM token_usage AS e WHERE {within(span)} AND lower(toString(e.provider)) IN ({listed}) "
        f"GROUP BY {grouped} ORDER BY {grouped}",
        names=tuple(columns),
    )


def recorded(
    question: Question, keys: Sequence[str], rows: Iterable[Sequence[Any]]
) -> Mapping[Key, Mapping[str, int]]:
    """Return the ledger's figures by key."""
    return {
        tuple(row[: len(keys)]): dict(zip(question.names[len(keys) :], row[len(keys) :], strict=True))
        for row in rows
    }


def compare(
    invoice: Invoice, ledger: Mapping[Key, Mapping[str, int]], allowed: Tolerance
) -> Sequence[Compared]:
    """Return every line of either, in order of the keys.

    A line that only one of them has differs, unless it says nothing but zeros there.
    """
    lines = []
    for key in sorted(invoice.lines.keys() | ledger.keys(), key=lambda key: [str(part) for part in key]):
        ours, theirs = ledger.get(key), invoice.lines.get(key)
        found = {name: (ours or {}).get(name, 0) for name in invoice.measures}
        said = {name: (theirs or {}).get(name, 0) for name in invoice.measures}
        agrees = all(allowed.allows(name, said[name], found[name]) for name in invoice.measures)
        lines.append(
            Compared(
                key=key,
                state="agrees" if agrees else _state(theirs is not None, ours is not None),
                invoiced=said,
                recorded=found,
                unpriced=(ours or {}).get("unpriced", 0),
            )
        )
    return lines


def table(invoice: Invoice, lines: Sequence[Compared], span: Span) -> Table:
    """Return the lines as a table: of each measure what was invoiced, recorded, and the difference."""
    columns = [
        *(Column(name=key, kind="time" if key == "day" else "text") for key in invoice.keys),
        Column(name="state", kind="text"),
    ]
    for name in invoice.measures:
        kind: Literal["money", "count"] = "money" if name == "amount" else "count"
        detail = name != "amount" and "amount" in invoice.measures
        columns += [
            Column(
                name=f"{name}_{what}",
                kind=kind,
                summed=True,
                detail=detail and what != "difference",
                exact=kind == "money",
            )
            for what in ("invoiced", "recorded", "difference")
        ]
    rows = [_row(invoice.measures, line) for line in lines]
    unpriced = sum(line.unpriced for line in lines)
    return Table(
        name="reconciliation",
        title="What differs between invoice and ledger",
        about=str(span),
        columns=columns,
        rows=rows,
        total=added(columns, rows),
        notes=[f"{unpriced:,} recorded calls have no price yet, and are in no amount."] if unpriced else [],
        empty="Nothing differs.",
    )


def _row(measures: Sequence[str], line: Compared) -> Sequence[Cell]:
    cells: list[Cell] = [*line.key, line.state]
    for name in measures:
        invoiced, found = line.invoiced[name], line.recorded[name]
        cells += [invoiced, found, invoiced - found]
    return cells


def _state(on_invoice: bool, in_ledger: bool) -> State:  # noqa: FBT001 - two facts that nobody mixes up
    if on_invoice and in_ledger:
        return "differs"
    return "not in the ledger" if on_invoice else "not on the invoice"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
