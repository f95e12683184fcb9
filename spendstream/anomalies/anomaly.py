"""What a monitor is fed, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from msgspec import Struct, field

from spendstream.anomalies.contributors import Contribution, PriceVolumeMix
from spendstream.anomalies.episode import Severity, State
from spendstream.anomalies.price_change import PriceChange
from spendstream.windows import Measures

__all__ = ["Anomaly", "AnomalyType", "Reading"]

AnomalyType = Literal[
    "cost_spike",
    "usage_pattern",
    "price_change",
    "cache_collapse",
    "new_model",
    "new_key",
    "error_spike",
    "unpriced_model",
]


class Reading(Struct, frozen=True, kw_only=True):
    """One closed window of one key; `start` is in seconds since 1970 UTC.

    `parts` takes the same measures apart by dimension and name, as far as wanted: {"model": {"openai/gpt-4":
    ...}, "team": {...}, "key": {...}}. Prices and unpriced models are looked for in "model", new keys in
    "key" and "team"; every dimension can explain a cost.
    """

    start: int
    measures: Measures
    parts: Mapping[str, Mapping[str, Measures]] = field(default_factory=dict)


class Anomaly(Struct, frozen=True, kw_only=True):
    """A notice about a key. Times are starts of windows, in seconds since 1970 UTC.

    What lasts has an episode: its notices share one `id`; it opens, may worsen, and is resolved. What just
    happened, such as a new model, is "told" once. `window` is the window of this notice. `measure` says what
    was unusual, or names the model or key; `value`, `expected`, `low` and `high` are in its unit: picodollars
    (of a price: for a million tokens), tokens, calls, or a share of calls. `impact` is money, actual minus
    expected of the whole episode so far, in picodollars; None where no cost is expected. `contributors` and
    `drivers` explain the cost of this window: by dimension the differences, and in all the drivers, add up
    to cost minus expected cost. `second_opinion` is how severe another detector finds it, if one was asked.
    """

    id: UUID
    type: AnomalyType
    key: str
    state: State | Literal["told"]
    window: int
    start: int
    end: int
    measure: str
    value: float
    expected: float
    low: float
    high: float
    severity: Severity
    score: float
    impact: int | None = None
    contributors: tuple[Contribution, ...] = ()
    drivers: PriceVolumeMix | None = None
    prices: PriceChange | None = None
    planned: bool = False
    second_opinion: float | None = None
