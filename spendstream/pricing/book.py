"""Effective-dated token prices, per provider and model, in layers of which the upper ones win."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeAlias

import msgspec
from msgspec import Struct

from spendstream.clock import from_micros
from spendstream.errors import UnknownPrice

__all__ = ["DAY", "MILLION", "Layer", "PriceBook", "Rates", "agreed", "hour_of_cache", "table"]

MILLION = 10**6
DAY = 24 * 3600 * MILLION
"""Microseconds of a day."""

_REMEMBERED = 4096
"""Names whose prices are kept at hand. Names come from callers, so their number has to have a bound."""


class Rates(Struct, frozen=True, kw_only=True):
    """What a million tokens of each kind cost, in picodollars, and since when.

    `cache_write_1h` is for what a cache keeps for an hour, and None where that costs what other writes do.
    With `hours` the rates hold only in that part of every UTC day, from the first until before the second
    (microseconds since midnight; the second may be past midnight, and so the smaller one).
    """

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int | None = None
    effective_from: int = 0
    hours: tuple[int, int] | None = None
    source: str = ""

    def cost(
        self,
        input_tokens: int,
        output_tokens: int,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
    ) -> int:
        """Return the cost in picodollars, rounded half to even once, after all kinds are added up.

        Cache reads and writes are part of `input_tokens`, as in every event, and writes for an hour part of
        all writes. Raises ValueError for a negative count, or if a part is more than the whole.
        """
        plain = input_tokens - cache_read_tokens - cache_write_tokens
        short = cache_write_tokens - cache_write_1h_tokens
        if min(plain, output_tokens, cache_read_tokens, short, cache_write_1h_tokens) < 0:
            raise ValueError(
                "token counts must not be negative, and cache tokens are included in input tokens: "
                f"found input {input_tokens}, output {output_tokens}, cache read {cache_read_tokens}, "
                f"cache write {cache_write_tokens}, of which for an hour {cache_write_1h_tokens}"
            )
        an_hour = self.cache_write if self.cache_write_1h is None else self.cache_write_1h
        total = (
            plain * self.input
            + output_tokens * self.output
            + cache_read_tokens * self.cache_read
            + short * self.cache_write
            + cache_write_1h_tokens * an_hour
        )
        whole, rest = divmod(total, MILLION)
        return whole + (rest * 2 > MILLION or (rest * 2 == MILLION and whole % 2 == 1))

    def most(self, input_tokens: int, output_tokens: int, *, an_hour: bool) -> int:
        """Return what a call can cost in picodollars: if all of its input is of the dearest kind.

        `an_hour` is whether it may write to a cache for so long.
        """
        dearest = max(self.input, self.cache_write, (an_hour and self.cache_write_1h) or 0)
        return -(-(input_tokens * dearest + output_tokens * self.output) // MILLION)

    def in_force(self, at: int) -> bool:
        """Return whether these rates hold at a time (microseconds since 1970 UTC)."""
        if at < self.effective_from:
            return False
        if self.hours is None:
            return True
        start, end = self.hours
        time_of_day = at % DAY
        if end < start:
            return time_of_day >= start or time_of_day < end
        return start <= time_of_day < end


def hour_of_cache(model: str, plain: int) -> int | None:
    """Return what a cache write for an hour costs where nobody says it; None: what other writes do.

    Anthropic's rule is a multiple of the price of input, twice, and sellers of its models keep to it.
    """
    return 2 * plain if "claude" in model.lower() else None


Schedule: TypeAlias = tuple[Rates, ...]
"""The rates of one model; of those in force, the last one holds."""
Layer: TypeAlias = Callable[[str, str], Schedule]
"""Answers (provider, model), both in lower case, with the schedule; with an empty one when it has none."""


class PriceBook:
    """Finds the rates of a model at a time. Built from layers; the first that has rates in force decides."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers
        self._schedules = lru_cache(maxsize=_REMEMBERED)(self._look_up)

    def over(self, below: PriceBook) -> PriceBook:
        """Return a book that asks this one first, then the one below."""
        return PriceBook(*self.layers, *below.layers)

    def find(self, provider: str, model: str, at: int) -> Rates | None:
        """Return the rates of a model at a time (microseconds since 1970 UTC), or None.

        An empty `provider` means any, and finds rates only if all sellers of that name agree.
        """
        for schedule in self._schedules(provider.strip().lower(), model.strip().lower()):
            for rates in reversed(schedule):
                if rates.in_force(at):
                    return rates
        return None

    def rates(self, provider: str, model: str, at: int) -> Rates:
        """Return what `find` returns; raise UnknownPrice where it returns None."""
        found = self.find(provider, model, at)
        if found is None:
            raise UnknownPrice(_unknown(provider, model, at))
        return found

    def _look_up(self, provider: str, model: str) -> tuple[Schedule, ...]:
        return tuple(schedule for layer in self.layers if (schedule := layer(provider, model)))


def table(entries: Iterable[tuple[str, str, Rates]]) -> Layer:
    """Return a layer made of (provider, model, rates); an entry's empty provider stands for all of them."""
    schedules: dict[str, dict[str, Schedule]] = {}
    for provider, model, rates in sorted(entries, key=lambda entry: entry[2].effective_from):
        sellers = schedules.setdefault(model.lower(), {})
        sellers[provider.lower()] = (*sellers.get(provider.lower(), ()), rates)

    def layer(provider: str, model: str) -> Schedule:
        sellers = schedules.get(model, {})
        found = sellers.get(provider) or sellers.get("")
        if found or provider:
            return found or ()
        return agreed(sellers.values())

    return layer


def agreed(schedules: Iterable[Schedule]) -> Schedule:
    """Return the schedule that all of them are, whatever their sources; an empty one if they differ."""
    different = {_without_source(schedule): schedule for schedule in schedules}
    return different.popitem()[1] if len(different) == 1 else ()


def _without_source(schedule: Schedule) -> Schedule:
    return tuple(msgspec.structs.replace(rates, source="") for rates in schedule)


def _unknown(provider: str, model: str, at: int) -> str:
    seller = f"of provider {provider!r}" if provider else "without a provider"
    hint = "" if provider else ", or name the provider if several sell this model at different prices"
    return (
        f"no price covers model {model!r} {seller} at {from_micros(at).isoformat()}: "
        f"add a [[price]] entry for it to the price file (setting price_file){hint}"
    )
