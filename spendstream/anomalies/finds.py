"""What is told once of a key's parts: changed prices, new models and keys, models without a price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct, field

from spendstream.anomalies.detector import HIGH, WARN
from spendstream.anomalies.price_change import PriceChange, Priced, PriceWatch
from spendstream.anomalies.rules import NewNames, Unpriced
from spendstream.windows import Measures

__all__ = ["Find", "Finds"]

_STEEP = 1.2  # from this factor on, a price that rose is of high severity


class Find(Struct, frozen=True, kw_only=True):
    """What happened to the part `name`; `value` and `expected` are picodollars: of its window, or a price."""

    type: Literal["price_change", "new_model", "new_key", "unpriced_model"]
    name: str
    value: float
    expected: float = 0.0
    score: float = WARN
    prices: PriceChange | None = None


class Finds(Struct, kw_only=True):
    """The rules over a key's parts. Make one with `after`."""

    models: NewNames
    keys: NewNames
    teams: NewNames
    unpriced: Unpriced = field(default_factory=Unpriced)
    prices: PriceWatch = field(default_factory=PriceWatch)

    @classmethod
    def after(cls, warm_up: int) -> Finds:
        """Return rules that take names for new only after `warm_up` windows."""
        return cls(
            models=NewNames(warm_up=warm_up), keys=NewNames(warm_up=warm_up), teams=NewNames(warm_up=warm_up)
        )

    def update(self, parts: Mapping[str, Mapping[str, Measures]]) -> Iterator[Find]:
        """Yield what is news about the parts of a window."""
        models = parts.get("model", {})
        for name in self.models.update(list(models)):
            yield Find(type="new_model", name=name, value=float(models[name].cost))
        for names, dimension in ((self.keys, "key"), (self.teams, "team")):
            measured = parts.get(dimension, {})
            for name in names.update(list(measured)):
                yield Find(type="new_key", name=name, value=float(measured[name].cost))
        for name, measures in models.items():
            if self.unpriced.update(name, measures.events, measures.unpriced):
                yield Find(type="unpriced_model", name=name, value=float(measures.cost))
            priced = Priced.of_window(name, measures)
            change = priced and self.prices.update(priced)
            if change:
                yield _changed(change)


def _changed(change: PriceChange) -> Find:
    """Return the find of a change, with the kind whose price rose by the highest factor as its value."""
    factors = {kind: change.new[kind] / max(change.old[kind], 1) for kind in change.new}
    kind = max(factors, key=lambda kind: factors[kind])
    return Find(
        type="price_change",
        name=change.model,
        value=float(change.new[kind]),
        expected=float(change.old[kind]),
        score=HIGH if factors[kind] >= _STEEP else WARN,
        prices=change,
    )
