"""Positions: where an event stands in its source. A record of Kafka may hold several events, a line each.

A position is one whole number, so that it can be compared and stored: the record's offset times 65,536 plus
the line. Positions of a source grow as its events follow one another.
"""

from __future__ import annotations

__all__ = ["MAX_LINES", "place", "position"]

MAX_LINES = 1 << 16
"""A record with more lines than this is a dead letter."""


def position(offset: int, line: int = 0) -> int:
    """Return the position of a line of the record at `offset`."""
    return offset * MAX_LINES + line


def place(position: int) -> tuple[int, int]:
    """Return the offset and the line of a position."""
    return divmod(position, MAX_LINES)
