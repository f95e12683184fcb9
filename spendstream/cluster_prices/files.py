"""Cluster prices from a dated YAML file, read whole, with all mistakes told at once; see docs/prices.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from spendstream.clock import to_micros
from spendstream.cluster_prices.book import ClusterPrice, ClusterPrices, PriceKind
from spendstream.errors import ConfigError
from spendstream.events import PurchaseOption
from spendstream.exact_yaml import read_yaml
from spendstream.mistakes import mistakes
from spendstream.money import parse_usd

__all__ = ["prices_in"]


class _Dollars(int):
    """Picodollars that were written as dollars."""


class _Moment(int):
    """Microseconds that were written as a date (midnight UTC) or a date-time with its offset."""


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: PriceKind
    type: str
    region: str = ""
    purchase_option: PurchaseOption = "on-demand"
    price: _Dollars
    effective_from: _Moment = _Moment(0)
    source: str = ""


def prices_in(text: str, name: str) -> ClusterPrices:
    """Return the prices in a file's text; raise ConfigError with one line for each mistake in it."""
    try:
        document = read_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    entries = document.get("prices") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(entries, list):
        raise ConfigError(f"{name}: expected a list called prices, and nothing else")
    found = [f"{name}: {mistake}" for mistake in mistakes(entries, tuple[_Entry, ...], _convert)]
    if found:
        raise ConfigError("\n".join(found))
    prices = [_price(_convert(entry, _Entry), name) for entry in entries]
    conflicts = [f"{name}: {conflict}" for conflict in _conflicts(prices)]
    if conflicts:
        raise ConfigError("\n".join(conflicts))
    return ClusterPrices(prices)


def _convert(raw: Any, kind: Any) -> Any:
    return msgspec.convert(raw, kind, dec_hook=_decoded)


def _decoded(kind: Any, raw: Any) -> Any:
    if kind is _Dollars:
        return _dollars(raw)
    return _moment(raw)


def _dollars(raw: Any) -> _Dollars:
    if not isinstance(raw, str | int | Decimal) or isinstance(raw, bool):
        raise TypeError(f"expected dollars like 0.384, found {raw!r}")
    pico = parse_usd(raw)
    if pico < 0:
        raise ValueError(f"must not be negative, found {raw}")
    return _Dollars(pico)


def _moment(raw: Any) -> _Moment:
    if isinstance(raw, datetime):
        if raw.tzinfo is None:
            raise ValueError(f"{raw.isoformat()} lacks its offset from UTC, such as a final Z")
        return _Moment(to_micros(raw))
    if not isinstance(raw, date):
        raise TypeError(f"expected a date like 2026-01-01, without quotes, found {raw!r}")
    return _Moment(to_micros(datetime.combine(raw, time(), UTC)))


def _price(entry: _Entry, name: str) -> ClusterPrice:
    return ClusterPrice(
        kind=entry.kind,
        type=entry.type,
        region=entry.region,
        purchase_option=entry.purchase_option,
        price=int(entry.price),
        effective_from=int(entry.effective_from),
        source=entry.source or name,
    )


def _conflicts(prices: Sequence[ClusterPrice]) -> Iterator[str]:
    """Say what has two prices from the same moment on."""
    starts = Counter(
        (price.kind, price.type, price.region, price.purchase_option, price.effective_from)
        for price in prices
    )
    for (kind, of, region, purchase_option, _), count in starts.items():
        if count > 1:
            where = f" in {region}" if region else ""
            what = f"{kind} {of}{where} ({purchase_option})"
            yield f"{count} entries price {what} from the same moment: keep one"
