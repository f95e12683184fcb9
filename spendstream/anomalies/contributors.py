"""Who explains a change of cost, in whole picodollars that add up to the change.

By dimension: what each team, model or key spent beside what was expected of it. By cause: how much of the
change is price, how much is volume, and how much is that other things were bought (mix).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor

from msgspec import Struct

from spendstream.money import split

__all__ = ["OTHERS", "Contribution", "Line", "PriceVolumeMix", "contributions", "price_volume_mix"]

OTHERS = "(others)"
"""The name of what a dimension does not tell apart."""


class Contribution(Struct, frozen=True, kw_only=True):
    """The part of one name in a change of cost; picodollars."""

    dimension: str
    name: str
    expected: int
    actual: int

    @property
    def difference(self) -> int:
        """What it spent more than expected."""
        return self.actual - self.expected


def contributions(
    dimension: str, *, expected: int, usual: Mapping[str, int], actual: Mapping[str, int], total: int
) -> list[Contribution]:
    """Return what each name of a dimension has to do with `total` being spent and not `expected`.

    `usual` says in which proportion the names shared the cost before, `actual` what each cost now. What
    `actual` leaves of `total` goes to OTHERS. Largest difference first, either way; the differences add up
    to `total - expected` exactly. Raises ValueError for a negative `expected` or share.
    """
    spent = dict(actual)
    rest = total - sum(spent.values())
    if rest or not (spent or usual):
        spent[OTHERS] = spent.get(OTHERS, 0) + rest
    names = sorted({*usual, *spent})
    if not any(usual.values()):  # nobody shared a cost before: what was expected was expected of others
        usual, names = {OTHERS: 1}, sorted({*names, OTHERS})
    shares = split(expected, [usual.get(name, 0) for name in names])
    found = [
        Contribution(dimension=dimension, name=name, expected=share, actual=spent.get(name, 0))
        for name, share in zip(names, shares, strict=True)
    ]
    return sorted(found, key=lambda each: -abs(each.difference))


class Line(Struct, frozen=True, kw_only=True):
    """One thing that was bought, such as a model's tokens: how many, and their cost in picodollars.

    A quantity can be a fraction, where it is an average of several windows.
    """

    name: str
    quantity: int | Fraction
    cost: int


class PriceVolumeMix(Struct, frozen=True, kw_only=True):
    """A change of cost by cause, in picodollars."""

    price: int
    volume: int
    mix: int

    @property
    def total(self) -> int:
        """The whole change."""
        return self.price + self.volume + self.mix


def price_volume_mix(before: Sequence[Line], after: Sequence[Line]) -> PriceVolumeMix:
    """Return why `after` costs another sum than `before`; the parts add up to the difference exactly.

    Volume: all quantities grew alike, at the old average price. Mix: other things were bought, at their old
    prices. Price: the same things became dearer. What was not bought before has no old price, and is mix.
    Names are unique on each side. Raises ValueError for a name that is not, or a negative quantity.
    """
    old, new = _by_name(before), _by_name(after)
    cost_before = sum(line.cost for line in before)
    cost_after = sum(line.cost for line in after)
    many_before = sum((Fraction(line.quantity) for line in before), Fraction())
    many_after = sum((Fraction(line.quantity) for line in after), Fraction())
    at_old_prices = sum((_at_old_price(line, old.get(name)) for name, line in new.items()), Fraction())
    if many_before:
        volume = (many_after - many_before) * Fraction(cost_before) / many_before
    else:
        volume = Fraction(at_old_prices - cost_before)
    price = cost_after - at_old_prices
    mix = cost_after - cost_before - price - volume
    return PriceVolumeMix(**dict(zip(("price", "volume", "mix"), _whole([price, volume, mix]), strict=True)))


def _by_name(lines: Sequence[Line]) -> dict[str, Line]:
    by_name = {line.name: line for line in lines}
    if len(by_name) < len(lines) or any(line.quantity < 0 for line in lines):
        raise ValueError(f"expected unique names and quantities of at least 0, found {list(lines)!r}")
    return by_name


def _at_old_price(line: Line, old: Line | None) -> Fraction:
    if old is None or not old.quantity:
        return Fraction(line.cost)
    return Fraction(line.quantity) * old.cost / Fraction(old.quantity)


def _whole(parts: Sequence[Fraction]) -> list[int]:
    """Round parts of a whole sum to whole numbers with that sum: down, then up where most was lost."""
    rounded = [floor(part) for part in parts]
    missing = int(sum(parts)) - sum(rounded)
    by_loss = sorted(range(len(parts)), key=lambda i: rounded[i] - parts[i])
    for index in by_loss[:missing]:
        rounded[index] += 1
    return rounded
