"""Routes from what TOML or JSON was decoded to, with all mistakes told at once; see docs/routing.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from spendstream.budgets.fields import Mistake, Mistakes, flag, percent, read_fields, text, unknown
from spendstream.errors import ConfigError
from spendstream.routing.definition import (
    FULL,
    STRATEGIES,
    Candidate,
    Condition,
    Limit,
    Route,
    Rule,
    Strategy,
    Weights,
)

__all__ = ["BadRoutes", "read_routes"]

_MOST = 100  # routes, and things within a route
_MOST_TOKENS = 10**9
_WINDOW = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_Parser = Callable[[Any], Any]


class BadRoutes(ConfigError):
    """Definitions that are no routes; `mistakes` has each field at fault, where it is, and why."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = tuple(mistakes)


def read_routes(raw: Any, place: str = "routes") -> tuple[Route, ...]:
    """Return the routes that a list of tables defines; raise BadRoutes with everything that is wrong."""
    mistakes = Mistakes(place)
    routes: list[Route] = []
    for number, entry in enumerate(_tables(raw, "route", mistakes), 1):
        name = entry.get("name")
        here = mistakes.within(f"route {number} ({name})" if isinstance(name, str) else f"route {number}")
        route = _route(entry, here)
        if route is None:
            continue
        if any(route.name == other.name for other in routes):
            here.add("name", "another route has this name")
        routes.append(route)
    if mistakes.found:
        raise BadRoutes(mistakes.found)
    return tuple(routes)


def _route(raw: Mapping[str, Any], mistakes: Mistakes) -> Route | None:
    before = len(mistakes.found)
    known = _fields(raw, _ROUTE, mistakes, required=("name", "strategy", "candidates"))
    nested = {name: known.pop(name) for name in ("candidates", "rules", "weights") if name in known}
    candidates = _parts(
        nested.get("candidates", []), "candidate", _CANDIDATE, mistakes, ("provider", "model")
    )
    rules = [_rule(each, here) for each, here in _numbered(nested.get("rules", []), "rule", mistakes)]
    weights = _fields(nested.get("weights", {}), _WEIGHTS, mistakes.within("weights"))
    limit = _limit(known, mistakes)
    if len(mistakes.found) > before:
        return None
    route = Route(
        **known,
        candidates=tuple(Candidate(**each) for each in candidates),
        rules=tuple(rules),
        weights=Weights(**weights),
        limit=limit,
    )
    _check(route, mistakes)
    return route


def _rule(raw: Mapping[str, Any], mistakes: Mistakes) -> Rule:
    known = _fields(raw, _RULE, mistakes, required=("when",))
    when = _fields(known.pop("when", {}), _CONDITION, mistakes.within("when"))
    return Rule(when=Condition(**when), **known)


def _limit(known: dict[str, Any], mistakes: Mistakes) -> Limit | None:
    share, window = known.pop("provider_limit", None), known.pop("provider_window", None)
    if (share is None) != (window is None):
        mistakes.add("provider_limit", "provider_limit and provider_window need each other")
    return None if share is None or window is None else Limit(share=share, window=window)


def _check(route: Route, mistakes: Mistakes) -> None:
    """Note down what is wrong between the fields of a route."""
    names = [one.name for one in route.candidates]
    for name in sorted({name for name in names if names.count(name) > 1}):
        mistakes.add("candidates", f"{name} is there twice")
    called = {one.model for one in route.candidates} | set(names)
    for number, rule in enumerate(route.rules, 1):
        for name in rule.use:
            if name not in called:
                mistakes.within(f"rule {number}").add("use", f"{name}: {unknown('candidate', name, called)}")
        if rule.when.at_most is not None and rule.when.at_most < rule.when.at_least:
            mistakes.within(f"rule {number}").add("when", "at_most is less than at_least: this never holds")
    strategies = {route.strategy, *(rule.strategy for rule in route.rules)}
    if "mix" in strategies and not any(one.share for one in route.candidates):
        mistakes.add("candidates", "a mix needs the share of at least one")
    if "quality-first" in strategies and not any(one.quality for one in route.candidates):
        mistakes.add("candidates", "quality-first needs the quality of at least one")
    if "complexity" in strategies and len({one.up_to for one in route.candidates}) == 1:
        mistakes.add("candidates", "complexity needs candidates with different up_to")


def _parts(
    raw: Any, what: str, parsers: Mapping[str, _Parser], mistakes: Mistakes, required: Sequence[str]
) -> list[dict[str, Any]]:
    numbered = _numbered(raw, what, mistakes)
    if raw == []:
        mistakes.add(f"{what}s", f"expected at least one {what}")
    return [_fields(each, parsers, here, required) for each, here in numbered]


def _numbered(raw: Any, what: str, mistakes: Mistakes) -> list[tuple[Mapping[str, Any], Mistakes]]:
    tables = _tables(raw, what, mistakes)
    return [(each, mistakes.within(f"{what} {number}")) for number, each in enumerate(tables, 1)]


def _tables(raw: Any, what: str, mistakes: Mistakes) -> list[Mapping[str, Any]]:
    if not isinstance(raw, list) or len(raw) > _MOST or not all(isinstance(each, Mapping) for each in raw):
        mistakes.add(f"{what}s", f"expected a list of at most {_MOST} tables, found {raw!r:.80}")
        return []
    return raw


def _fields(
    raw: Any, parsers: Mapping[str, _Parser], mistakes: Mistakes, required: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the fields that are right, and note down those that are wrong, unknown or missing."""
    if not isinstance(raw, Mapping):
        mistakes.add("table", f"expected fields, found {raw!r:.80}")
        return {}
    return read_fields(raw, parsers, mistakes, required=required)


def _texts(raw: Any) -> tuple[str, ...]:
    """Return one text, or a list of them."""
    listed = [raw] if isinstance(raw, str) else raw
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST:
        raise ValueError(f"expected a text or a list of 1 to {_MOST}, found {raw!r:.80}")
    return tuple(text(each) for each in listed)


def _whole(least: int, most: int, raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not least <= raw <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, found {raw!r:.80}")
    return raw


def _unit(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal) or not 0 <= raw <= 1:
        raise ValueError(f"expected a number from 0 to 1, found {raw!r:.80}")
    return float(raw)


def _strategy(raw: Any) -> Strategy:
    for strategy in STRATEGIES:
        if raw == strategy:
            return strategy
    raise ValueError(f"expected one of {', '.join(STRATEGIES)}, found {raw!r:.80}")


def _part(raw: Any) -> int:
    points = percent(raw)
    if points > FULL:
        raise ValueError(f"expected at most 100%, found {raw!r:.80}")
    return points


def _window(raw: Any) -> int:
    match = _WINDOW.fullmatch(raw) if isinstance(raw, str) else None
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= 7 * _SECONDS["d"]:
        raise ValueError(f"expected a length like 30s, 5m or 2h, at most 7d, found {raw!r:.80}")
    return seconds * 10**6


def _as_written(raw: Any) -> Any:
    """Return what is read later, with its place."""
    return raw


_tokens = partial(_whole, 0, _MOST_TOKENS)
_ROUTE: Mapping[str, _Parser] = {
    "name": text,
    "models": _texts,
    "strategy": _strategy,
    "candidates": _as_written,
    "rules": _as_written,
    "weights": _as_written,
    "provider_limit": _part,
    "provider_window": _window,
}
_CANDIDATE: Mapping[str, _Parser] = {
    "provider": text,
    "model": text,
    "share": partial(_whole, 0, 10_000),
    "quality": partial(_whole, 0, 100),
    "up_to": _unit,
    "context": _tokens,
    "tools": flag,
    "vision": flag,
}
_RULE: Mapping[str, _Parser] = {"when": _as_written, "use": _texts, "strategy": _strategy}
_CONDITION: Mapping[str, _Parser] = {
    "team": _texts,
    "project": _texts,
    "environment": _texts,
    "models": _texts,
    "at_least": _tokens,
    "at_most": _tokens,
    "tools": flag,
    "vision": flag,
}
_WEIGHTS: Mapping[str, _Parser] = dict.fromkeys(("cost", "latency", "quality"), partial(_whole, 0, 1_000))
