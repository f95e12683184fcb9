"""The user's own prices: a TOML file of `[[price]]` entries, read whole, with all mistakes told at once.

[[price]]
provider = "openai"                # optional; without it, any provider
model = "gpt-4o"
effective_from = 2026-01-01        # optional; a date (midnight UTC) or a date-time with its offset
input_per_million = "2.50"         # dollars, exactly as written: no binary fraction comes near them
output_per_million = "10.00"
cache_read_per_million = "1.25"    # optional, as is cache_write_per_million: else the price of input
cache_write_1h_per_million = "5"   # optional; else twice the price of input for Claude, that of
                                   # cache_write_per_million for all others
source = "contract 4711"           # optional
"""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from spendstream.clock import to_micros
from spendstream.errors import ConfigError
from spendstream.money import parse_usd
from spendstream.pricing.book import PriceBook, Rates, hour_of_cache, table

__all__ = ["Entry", "conflicts", "mistakes_in", "rates_in", "read_overrides"]

Entry = tuple[str, str, Rates]
"""Provider, model and rates."""

_REQUIRED = ("model", "input_per_million", "output_per_million")
_KNOWN = (
    *_REQUIRED,
    "provider",
    "effective_from",
    "cache_read_per_million",
    "cache_write_per_million",
    "cache_write_1h_per_million",
    "source",
)
_EPOCH = date(1970, 1, 1)


def read_overrides(path: Path) -> PriceBook:
    """Return the book in a price file; raise ConfigError with one line for each mistake in it."""
    mistakes: list[str] = []
    entries: list[Entry] = []
    for place, raw in _entries(_document(path), path, mistakes):
        found = list(mistakes_in(raw))
        mistakes += [f"{place}: {mistake}" for mistake in found]
        if not found:
            entries.append((raw.get("provider", ""), raw["model"], rates_in(raw, path.name)))
    mistakes += [f"{path}: {conflict}" for conflict in conflicts(entries)]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return PriceBook(table(entries))


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the price file: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _entries(
    document: dict[str, Any], path: Path, mistakes: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each entry with the place it has in the file; note down what is no entry."""
    mistakes += [
        f"{path}: {name}: expected nothing but [[price]] entries" for name in document if name != "price"
    ]
    prices = document.get("price", [])
    if not isinstance(prices, list):
        mistakes.append(f"{path}: price: write it with two brackets, [[price]]")
        return
    for number, raw in enumerate(prices, 1):
        place = f"{path}: price {number}"
        if not isinstance(raw, dict):
            mistakes.append(f"{place}: expected a [[price]] table, found {raw!r}")
            continue
        yield (f"{place} ({raw['model']})" if isinstance(raw.get("model"), str) else place), raw


def mistakes_in(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with an entry, each with its field in front."""
    for name in raw:
        if name not in _KNOWN:
            close = difflib.get_close_matches(name, _KNOWN, n=1)
            yield f"{name}: no such field" + (f"; did you mean {close[0]}?" if close else "")
    yield from (f"{name} is missing" for name in _REQUIRED if name not in raw)
    for name in ("provider", "model", "source"):
        if not isinstance(raw.get(name, ""), str):
            yield f"{name}: expected text, found {raw[name]!r}"
    if raw.get("model") == "":
        yield "model: must not be empty"
    for name in _KNOWN:
        if name.endswith("_per_million") and name in raw:
            yield from _money_mistakes(name, raw[name])
    yield from _time_mistakes(raw.get("effective_from", _EPOCH))


def _money_mistakes(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
        yield f'{name}: expected dollars like "2.50", found {value!r}'
        return
    try:
        if parse_usd(value) < 0:
            yield f"{name}: must not be negative, found {value}"
    except ValueError as error:
        yield f"{name}: {error}"


def _time_mistakes(value: Any) -> Iterator[str]:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            yield f"effective_from: {value.isoformat()} lacks its offset from UTC, such as a final Z"
    elif not isinstance(value, date):
        yield f"effective_from: expected a date like 2026-01-01, without quotes, found {value!r}"


def rates_in(raw: Mapping[str, Any], source: str) -> Rates:
    """Return the rates of an entry without mistakes; `source` is what it does not name."""
    plain, an_hour = raw["input_per_million"], raw.get("cache_write_1h_per_million")
    return Rates(
        input=parse_usd(plain),
        output=parse_usd(raw["output_per_million"]),
        cache_read=parse_usd(raw.get("cache_read_per_million", plain)),
        cache_write=parse_usd(raw.get("cache_write_per_million", plain)),
        cache_write_1h=hour_of_cache(raw["model"], parse_usd(plain))
        if an_hour is None
        else parse_usd(an_hour),
        effective_from=to_micros(_moment(raw.get("effective_from", _EPOCH))),
        source=raw.get("source", source),
    )


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, time(), UTC)


def conflicts(entries: Sequence[Entry]) -> Iterator[str]:
    """Say which models have two prices from the same moment on."""
    starts = Counter(
        (provider.lower(), model.lower(), rates.effective_from) for provider, model, rates in entries
    )
    for (provider, model, _), count in starts.items():
        if count > 1:
            name = f"{provider}/{model}" if provider else model
            yield f"{count} entries price {name} from the same moment: keep one"
