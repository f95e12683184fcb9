"""The published prices of language models: the data bundled in `genai-prices`, compiled to flat rates.

Only data is taken from there; nothing is ever downloaded. What it says in ways that flat rates cannot is
compiled as follows, and what is left has no price here:

- a price that starts on a date, or holds at a time of day, stays exact;
- of a price in tiers by prompt length the base tier is taken, and `Rates.source` says so;
- cached tokens without a price of their own cost what plain input costs (the data's own rule);
- cache writes for an hour without a price of their own cost what other writes do, but for Claude twice what
  input does: that is Anthropic's rule, and the data does not have it of each seller;
- a model with a price for input only, such as an embedding, has free output;
- variants that a caller asks for (batch, priority, a region) are left out: the standard price holds;
- a fee per request, and reasoning or citation tokens that cost more than other output, cannot be flat rates:
  such a model is unpriced until the user's price file prices it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version

from genai_prices.data import providers as published_providers
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from msgspec.structs import replace

from spendstream.clock import to_micros
from spendstream.money import parse_usd
from spendstream.pricing.book import PriceBook, Rates, Schedule, agreed, hour_of_cache

__all__ = ["standard_book"]

_NOT_FLAT = ("output_reasoning_mtok", "output_citation_mtok")
_PICO_DECIMALS = 12
_ALIASES = {
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
}
"""Provider names of OpenTelemetry's GenAI conventions that the data would not know, or take for another."""


@cache
def standard_book() -> PriceBook:
    """Return the published prices."""
    return PriceBook(_Published(published_providers))


class _Published:
    """A layer that resolves names by the data's own matching rules; the book above remembers its answers."""

    def __init__(self, providers: list[Provider]) -> None:
        self._providers = providers
        self._by_id = {provider.id: provider for provider in providers}
        self._source = f"genai-prices {version('genai-prices')}"

    def __call__(self, provider: str, model: str) -> Schedule:
        if provider:
            seller = self._provider(_ALIASES.get(provider, provider))
            return agreed(self._offers([seller] if seller else [], model))
        owners = [one for one in self._providers if one.model_match and one.model_match.is_match(model)]
        return agreed(self._offers(owners, model) or self._offers(self._providers, model))

    def _provider(self, name: str) -> Provider | None:
        matching = (
            one for one in self._providers if one.provider_match and one.provider_match.is_match(name)
        )
        return self._by_id.get(name) or next(matching, None)

    def _offers(self, providers: Iterable[Provider], model: str) -> list[Schedule]:
        """Return a schedule for each provider that has the model, an empty one if it cannot be compiled."""
        return [
            _compile(found, f"{self._source}: {one.id}/{found.id}")
            for one in providers
            if (found := one.find_model(model, all_providers=self._providers))
        ]


def _compile(model: ModelInfo, source: str) -> Schedule:
    """Return a model's schedule; an empty one if any part of it cannot be flat rates."""
    prices = model.prices
    offers = [ConditionalPrice(prices=prices)] if isinstance(prices, ModelPrice) else prices
    schedule = [_dated(rates, offer) for offer in offers if (rates := _flat(model.id, offer.prices, source))]
    return tuple(schedule) if len(schedule) == len(offers) else ()


def _flat(model: str, price: ModelPrice, source: str) -> Rates | None:
    """Return a price as flat rates of all times, or None for one that they cannot express."""
    kinds = (price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)
    plain, output, read, write = kinds
    an_hour = price.cache_write_1h_mtok
    if plain is None or price.requests_kcount is not None:
        return None
    if any(getattr(price, kind) not in (None, output) for kind in _NOT_FLAT):
        return None
    return Rates(
        input=_base(plain),
        output=0 if output is None else _base(output),
        cache_read=_base(plain if read is None else read),
        cache_write=_base(plain if write is None else write),
        cache_write_1h=hour_of_cache(model, _base(plain)) if an_hour is None else _base(an_hour),
        source=f"{source}, base tier" if any(isinstance(one, TieredPrices) for one in kinds) else source,
    )


def _base(price: Decimal | TieredPrices) -> int:
    """Return a price, or its base tier, in picodollars; some carry the noise of a binary float."""
    exact = price.base if isinstance(price, TieredPrices) else price
    return parse_usd(round(exact, _PICO_DECIMALS))


def _dated(rates: Rates, offer: ConditionalPrice) -> Rates:
    match offer.constraint:
        case StartDateConstraint(start_date=day):
            return replace(rates, effective_from=to_micros(datetime.combine(day, time(), UTC)))
        case TimeOfDateConstraint(start_time=start, end_time=end):
            return replace(rates, hours=(_of_day(start), _of_day(end)))
        case _:
            return rates


def _of_day(moment: time) -> int:
    """Return the microseconds since midnight UTC of a time of day; one without a zone is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    utc = datetime.combine(datetime(1970, 1, 2, tzinfo=UTC), aware).astimezone(UTC)
    return to_micros(utc.replace(year=1970, month=1, day=1))
