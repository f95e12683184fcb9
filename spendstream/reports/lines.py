"""Lines of CSV, as RFC 4180 has them but for their end, which is a line feed alone.

The csv module leaves a carriage return unquoted unless lines end with one: a name that holds one would come
back as another.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["csv_lines"]

_QUOTED = frozenset(',"\r\n')


def csv_lines(rows: Iterable[Iterable[str]]) -> str:
    """Return the lines of rows of text; a row of one empty cell is not an empty line."""
    return "".join(f"{','.join(map(_cell, row)) or _NOTHING}\n" for row in rows)


def _cell(text: str) -> str:
    if _QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


_NOTHING = '""'
