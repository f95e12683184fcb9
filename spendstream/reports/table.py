"""What a report says: a table of exact values, its columns typed, and what its reader has to know."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["Cell", "Column", "Kind", "Row", "Table", "added", "share"]

Kind: TypeAlias = Literal["text", "count", "money", "share", "time"]
Cell: TypeAlias = str | int | Fraction | None
"""Money is picodollars, time is microseconds since 1970 UTC, a share is a fraction of one."""
Row: TypeAlias = Sequence[Cell]


class Column(Struct, frozen=True, kw_only=True):
    """A column: `name` is for machines, `title` for people. Those with `summed` have a total.

    A `detail` is left out where there is little room; `exact` money is shown to its last decimal.
    """

    name: str
    kind: Kind
    title: str = ""
    summed: bool = False
    detail: bool = False
    exact: bool = False

    @property
    def heading(self) -> str:
        """What people read above it."""
        return self.title or self.name.replace("_", " ")


class Table(Struct, frozen=True, kw_only=True):
    """Rows under `columns`, in order; `about` is the time that they are of.

    `notes` is what one must know to read them right.

    `total` is the row below all others, where there is one; `chart` the column that a picture shows; `empty`
    what is said where there are no rows.
    """

    name: str
    title: str
    about: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    total: Row | None = None
    notes: Sequence[str] = ()
    chart: str = ""
    empty: str = "Nothing of this kind landed in that time."

    def column(self, name: str) -> Sequence[Cell]:
        """Return the cells of a column."""
        place = [column.name for column in self.columns].index(name)
        return [row[place] for row in self.rows]


def added(columns: Sequence[Column], rows: Sequence[Row], label: str = "total") -> Row | None:
    """Return the total of `rows`: sums where a column is summed, the label in the first, nothing elsewhere.

    There is none of fewer than two rows.
    """
    if len(rows) < 2:  # noqa: PLR2004 - one is its own total
        return None
    return [
        sum(cell for row in rows if isinstance(cell := row[place], int))
        if column.summed
        else label
        if place == 0 and column.kind in ("text", "time")
        else None
        for place, column in enumerate(columns)
    ]


def share(part: int, whole: int) -> Fraction | None:
    """Return a part of a whole as a fraction, or None where there is no whole."""
    return Fraction(part, whole) if whole else None
