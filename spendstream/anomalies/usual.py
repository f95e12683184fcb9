"""How a key's cost is usually shared by its parts: averages by dimension and name, of the largest names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from msgspec import Struct, field

from spendstream.anomalies.contributors import (
    OTHERS,
    Contribution,
    Line,
    PriceVolumeMix,
    contributions,
    price_volume_mix,
)
from spendstream.money import split
from spendstream.windows import Measures

__all__ = ["Usual"]

_RATE = 0.02
_NAMES = 64  # of each dimension; what a smaller name spends shows up as more than expected


class _Mean(Struct, kw_only=True):
    cost: float = 0.0
    tokens: float = 0.0


class Usual(Struct, kw_only=True):
    """Exponentially weighted means of cost and tokens, by dimension and name."""

    windows: int = 0
    means: dict[str, dict[str, _Mean]] = field(default_factory=dict)

    def learn(self, parts: Mapping[str, Mapping[str, Measures]]) -> None:
        """Follow the parts of a window."""
        self.windows += 1
        rate = max(_RATE, 1 / self.windows)
        for dimension, measured in parts.items():
            means = self.means.setdefault(dimension, {})
            for name in dict.fromkeys([*means, *measured]):
                now, mean = measured.get(name, Measures()), means.setdefault(name, _Mean())
                mean.cost += rate * (now.cost - mean.cost)
                mean.tokens += rate * (_tokens(now) - mean.tokens)
            if len(means) > _NAMES:
                largest = sorted(means, key=lambda name: (-means[name].cost, name))[:_NAMES]
                self.means[dimension] = {name: means[name] for name in largest}

    def contributors(
        self, parts: Mapping[str, Mapping[str, Measures]], *, expected: int, total: int
    ) -> tuple[Contribution, ...]:
        """Return what each part has to do with `total` and not `expected`; see `contributions`."""
        found: list[Contribution] = []
        for dimension, measured in parts.items():
            usual = {name: int(mean.cost) for name, mean in self.means.get(dimension, {}).items()}
            actual = {name: measures.cost for name, measures in measured.items()}
            found += contributions(dimension, expected=expected, usual=usual, actual=actual, total=total)
        return tuple(found)

    def drivers(
        self, parts: Mapping[str, Mapping[str, Measures]], whole: Measures, *, expected: int
    ) -> PriceVolumeMix | None:
        """Return price, volume and mix of the cost beside `expected`, by model; None if nothing was usual.

        The usual tokens are scaled with the cost, from their mean to what is expected of this window. What
        the models leave of `whole` is bought of OTHERS.
        """
        means = self.means.get("model", {})
        usual = {name: int(mean.cost) for name, mean in means.items()}
        if not any(usual.values()):
            return None
        scale = Fraction(expected, sum(usual.values()))
        shares = split(expected, list(usual.values()))
        before = [
            Line(name=name, quantity=Fraction(means[name].tokens) * scale, cost=share)
            for name, share in zip(usual, shares, strict=True)
        ]
        models = parts.get("model", {})
        after = [Line(name=name, quantity=_tokens(now), cost=now.cost) for name, now in models.items()]
        return price_volume_mix(before, [*after, *_others(after, whole)])


def _others(lines: Sequence[Line], whole: Measures) -> list[Line]:
    cost = whole.cost - sum(line.cost for line in lines)
    tokens = max(_tokens(whole) - sum(line.quantity for line in lines), 0)
    return [Line(name=OTHERS, quantity=tokens, cost=cost)] if cost or tokens else []


def _tokens(measures: Measures) -> int:
    return measures.input_tokens + measures.output_tokens
