"""A weighted mix that is exact at any moment: each has had its share of all turns, within less than 1.

Tijdeman's algorithm ("The chairman assignment problem", Discrete Mathematics 32, 1980): of those that are
owed a turn, the one whose turn is overdue first. No other rule bounds the deviation more tightly. The usual
smooth round robin deviates by more than 1 when there are many. All in whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Mix"]


class Mix:
    """Takes turns by `shares`: relative, at least one of them positive. One with none is never chosen."""

    def __init__(self, shares: Mapping[str, int]) -> None:
        self._shares = {name: share for name, share in shares.items() if share > 0}
        if not self._shares:
            raise ValueError(f"expected at least one positive share, found {dict(shares)!r}")
        self._total = sum(self._shares.values())
        self._turns = 0
        self._had = dict.fromkeys(self._shares, 0)

    def turn(self) -> str:
        """Return whose turn it is now."""
        chosen = self._next()
        self._turns += 1
        self._had[chosen] += 1
        if self._turns == self._total:  # everybody has had exactly his share
            self._turns = 0
            self._had = dict.fromkeys(self._shares, 0)
        return chosen

    def _next(self) -> str:
        """Return whose deadline comes first of those that may have a turn already.

        With slack = 2 (n - 1), all times slack · total: one may have a turn once it is owed a `slack`-th of a
        turn, and must have it before it would be owed a whole turn more than that.
        """
        slack = max(2 * (len(self._shares) - 1), 1)
        best, best_debt, best_share = "", 0, 1
        for name, share in self._shares.items():
            debt = slack * (share * (self._turns + 1) - self._had[name] * self._total)
            if debt < self._total and len(self._shares) > 1:
                continue
            room = slack * ((self._had[name] + 1) * self._total - share * self._turns) - self._total
            if not best or room * best_share < best_debt * share:
                best, best_debt, best_share = name, room, share
        return best
