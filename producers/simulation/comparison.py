"""Two runs compared: what was saved, and by what. The causes add up to what was saved, exactly.

Compute: of what containers were allocated before, the part for the hours in which they then slept is *off
hours*; what they were allocated less in the others, at on-demand prices, is *rightsizing*. What nodes cost
less than the same ones on demand is *spot*. The rest is *packing*: less idle capacity, and fewer DaemonSets'
pods, as there are fewer nodes.

AI: a call that the cache answered was saved by the *cache*, in the same words or in others; what any other
call cost less, by *routing*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from msgspec import Struct

from producers.simulation.figures import Account, CallPairs, Containers
from spendstream.errors import TerminalError
from spendstream.money import round_half_even

__all__ = ["CAUSES", "Comparison", "NotComparable", "compared"]

CAUSES: Mapping[str, tuple[str, ...]] = {
    "compute": ("rightsizing", "packing", "off hours", "spot"),
    "ai": ("cache, same words", "cache, same meaning", "routing"),
}


class NotComparable(TerminalError):
    """Two runs that had not the same demand, or events without a price."""


class Comparison(Struct, frozen=True, kw_only=True):
    """Two runs, and what was saved from the one to the other, by cause, in picodollars.

    A cause can cost money: then it is negative.
    """

    before: Account
    after: Account
    compute: Mapping[str, int]
    ai: Mapping[str, int]

    @property
    def compute_saving(self) -> int:
        """Picodollars."""
        return self.before.compute - self.after.compute

    @property
    def ai_saving(self) -> int:
        """Picodollars."""
        return self.before.ai - self.after.ai

    @property
    def saving(self) -> int:
        """Picodollars."""
        return self.compute_saving + self.ai_saving

    @property
    def hit_rate(self) -> Fraction:
        """The share of the calls that the cache answered."""
        return Fraction(self.after.answered("exact", "semantic"), self.after.answered() or 1)


def compared(before: Account, after: Account, pairs: Sequence[CallPairs]) -> Comparison:
    """Return the comparison; raise NotComparable if it would be one of apples with pears."""
    _check(before, after, pairs)
    return Comparison(before=before, after=after, compute=_compute(before, after), ai=_ai(pairs))


def _check(before: Account, after: Account, pairs: Sequence[CallPairs]) -> None:
    for run in (before, after):
        if run.unpriced:
            raise NotComparable(f"{run.unpriced} events of {run.run} have no price: add it to the price file")
    calls = before.answered(), after.answered()
    unlike = sum(each.unlike for each in pairs)
    if calls[0] != calls[1] or unlike:
        raise NotComparable(
            f"{before.run} and {after.run} had not the same demand: "
            f"{calls[0]:,} and {calls[1]:,} calls, of which {unlike:,} differ"
        )


def _compute(before: Account, after: Account) -> Mapping[str, int]:
    prices = {
        line.instance_type: line.hourly_price
        for line in before.nodes
        if line.purchase_option == "on-demand" and line.hourly_price is not None
    }
    spot = sum(
        _at(prices, line.instance_type, line.hourly_price, line.cost or 0) - (line.cost or 0)
        for line in after.nodes
    )
    then, now = _workloads(before.containers), _workloads(after.containers)
    asleep = lighter = 0
    for workload, lines in then.items():
        cost, slept = _cost(lines), _slept(lines, now.get(workload, []))
        asleep += slept
        lighter += (
            cost
            - slept
            - sum(
                _at(prices, line.instance_type, line.hourly_price, line.cost or 0)
                for line in now.get(workload, [])
            )
        )
    rest = before.compute - after.compute - spot - asleep - lighter
    return dict(zip(CAUSES["compute"], (lighter, rest, asleep, spot), strict=True))


def _workloads(lines: Iterable[Containers]) -> dict[str, list[Containers]]:
    found: dict[str, list[Containers]] = {}
    for line in lines:
        if line.kind != "DaemonSet":
            found.setdefault(line.workload, []).append(line)
    return found


def _slept(then: Sequence[Containers], now: Sequence[Containers]) -> int:
    """Return what containers were allocated for the time in which they no longer run."""
    ran, runs = sum(line.time for line in then), sum(line.time for line in now)
    return round_half_even(Fraction(_cost(then) * (ran - runs), ran))


def _cost(lines: Iterable[Containers]) -> int:
    return sum(line.cost or 0 for line in lines)


def _at(prices: Mapping[str, int], instance_type: str, paid: int | None, cost: int) -> int:
    """Return what `cost` would be if the node had its on-demand price in the place of the one `paid`."""
    if not paid:
        return cost
    return round_half_even(Fraction(cost * prices.get(instance_type, paid), paid))


def _ai(pairs: Sequence[CallPairs]) -> Mapping[str, int]:
    saved = {each.outcome: each.before - each.after for each in pairs}
    names = zip(CAUSES["ai"], ("exact", "semantic", "none"), strict=True)
    return {name: saved.get(outcome, 0) for name, outcome in names}
