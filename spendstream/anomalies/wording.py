"""What anomalies say to the people who pay: one plain sentence, and then since when, how much, and who."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from spendstream.anomalies.anomaly import Anomaly
from spendstream.anomalies.detector import WARN
from spendstream.anomalies.keys import Key
from spendstream.anomalies.watch import Notice
from spendstream.clock import from_micros
from spendstream.money import PICO, format_usd
from spendstream.windows import DAY, HOUR, MINUTE

__all__ = ["summary_of", "title_of"]

_LENGTHS = MappingProxyType({MINUTE: "a minute", HOUR: "an hour", DAY: "a day"})
_NAME_MAX = 80
_NAMED = 3  # contributors that are named
_WORTH_NAMING = 10  # percent of the difference
_CAUSES = MappingProxyType({
    "price": "higher prices",
    "volume": "more usage",
    "mix": "a move to dearer models",
})  # fmt: skip
_TOKENS = MappingProxyType({
    "input": "input", "output": "output", "cache_read": "cached input", "cache_write": "cache writes",
    "cache_write_1h": "cache writes for an hour",
})  # fmt: skip


def title_of(notice: Notice) -> str:
    """Return what happened, and what was expected instead."""
    anomaly, who = notice.anomaly, _who(notice.key)
    return _TITLES[anomaly.type](anomaly, who, _LENGTHS.get(notice.size, f"{notice.size} seconds"))


def summary_of(notice: Notice) -> str:
    """Return since when, what it cost so far, and what explains it."""
    anomaly = notice.anomaly
    found = [_when(notice), _impact(anomaly), _contributors(anomaly), _cause(anomaly), _opinion(anomaly)]
    return " ".join(sentence for sentence in found if sentence)


def _spike(anomaly: Anomaly, who: str, length: str) -> str:
    return f"{who} spent {_usd(anomaly.value)} in {length}, expected {_range(anomaly, _usd)}"


def _usage(anomaly: Anomaly, who: str, length: str) -> str:
    expected = _range(anomaly, _usd if anomaly.measure == "cost_per_request" else _count)
    if anomaly.measure == "cost_per_request":
        return f"{who}: a call costs {_usd(anomaly.value)}, expected {expected}"
    what = "calls" if anomaly.measure == "requests" else anomaly.measure
    return f"{who}: {_count(anomaly.value)} {what} in {length}, expected {expected}"


def _cache(anomaly: Anomaly, who: str, _length: str) -> str:
    cache = "the provider's prompt cache" if anomaly.measure == "prompt_cache" else "the response cache"
    return f"{who}: {cache} serves {_percent(anomaly.value)}, expected {_percent(anomaly.expected)}"


def _errors(anomaly: Anomaly, who: str, _length: str) -> str:
    return f"{who}: {_percent(anomaly.value)} of calls fail, expected {_percent(anomaly.expected)}"


def _price(anomaly: Anomaly, who: str, _length: str) -> str:
    change = anomaly.prices
    if change is None:
        return f"{who}: the price of {_name(anomaly.measure)} changed"
    kinds = ", ".join(
        f"{_TOKENS.get(kind, kind)} from {_usd(change.old.get(kind, 0))} to {_usd(price)}"
        for kind, price in change.new.items()
    )
    return f"{who}: a million tokens of {_name(anomaly.measure)} have a new price: {kinds}"


def _new(anomaly: Anomaly, who: str, _length: str) -> str:
    what = "model" if anomaly.type == "new_model" else "team or key"
    return f"{who}: a new {what}, {_name(anomaly.measure)}"


def _unpriced(anomaly: Anomaly, who: str, _length: str) -> str:
    return f"{who}: {_name(anomaly.measure)} is used and has no price, so its cost is not counted"


_TITLES: Mapping[str, Callable[[Anomaly, str, str], str]] = MappingProxyType({
    "cost_spike": _spike,
    "usage_pattern": _usage,
    "cache_collapse": _cache,
    "error_spike": _errors,
    "price_change": _price,
    "new_model": _new,
    "new_key": _new,
    "unpriced_model": _unpriced,
})  # fmt: skip


def _who(key: Key) -> str:
    """Return whose spend it is: a team's, or everybody's; with the organisation where there are several."""
    if key.team is None:
        who = f"All teams of {_name(key.org)}" if key.org else "All teams"
    else:
        who = f"Team {_name(key.team)}" if key.team else "Spend without a team"
    return f"{who} (Kubernetes)" if key.kind == "pods" else who


def _when(notice: Notice) -> str:
    anomaly, size = notice.anomaly, notice.size
    if anomaly.state == "resolved":
        return f"From {_time(anomaly.start)} until {_time(anomaly.end + size)} UTC."
    return f"{'Since' if anomaly.state != 'told' else 'Seen at'} {_time(anomaly.start)} UTC."


def _impact(anomaly: Anomaly) -> str:
    if anomaly.impact is None:
        return ""
    more = "more" if anomaly.impact >= 0 else "less"
    return f"That is {_usd(abs(anomaly.impact))} {more} than expected so far."


def _contributors(anomaly: Anomaly) -> str:
    """Return the largest parts of the difference, of the dimension in which one name explains most."""
    whole = sum(part.difference for part in anomaly.contributors if part.dimension == "model")
    if whole <= 0:
        return ""
    named = sorted(
        (part for part in anomaly.contributors if part.dimension in ("model", "team", "project")),
        key=lambda part: -part.difference,
    )
    shares = [
        f"{100 * part.difference // whole}% is {part.dimension} {_name(part.name)}"
        for part in named[:_NAMED]
        if 100 * part.difference >= _WORTH_NAMING * whole and part.name
    ]
    return f"Of the difference, {', '.join(shares)}." if shares else ""


def _cause(anomaly: Anomaly) -> str:
    drivers = anomaly.drivers
    if drivers is None or drivers.total <= 0:
        return ""
    largest = max(_CAUSES, key=lambda cause: getattr(drivers, cause))
    share = 100 * getattr(drivers, largest) // drivers.total
    return f"The main reason is {_CAUSES[largest]}." if share >= _WORTH_NAMING else ""


def _opinion(anomaly: Anomaly) -> str:
    if anomaly.second_opinion is None:
        return ""
    agrees = anomaly.second_opinion >= WARN
    return "A second detector agrees." if agrees else "A second detector finds it within the usual."


def _range(anomaly: Anomaly, written: Callable[[float], str]) -> str:
    low, high = written(max(anomaly.low, 0.0)), written(max(anomaly.high, 0.0))
    return f"{low} to {high}" if low != high else f"about {low}"


def _usd(pico: float) -> str:
    """Return money, with cents; below a dollar with as much as a cheap call costs."""
    return format_usd(round(pico), decimals=2 if abs(pico) >= PICO or not pico else 4)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g}%"


def _name(name: str) -> str:
    return name if len(name) <= _NAME_MAX else f"{name[:_NAME_MAX]}…"


def _time(seconds: int) -> str:
    return f"{from_micros(seconds * 1_000_000):%Y-%m-%d %H:%M}"
