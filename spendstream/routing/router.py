"""Decides where calls go: rules, then what candidates can do, their health, their limits, and the strategy.

    router = Router(routes, prices=book.find)
    decision = router.decide(call, now, healthy=breakers.closed)
    ...                                     # the call
    router.statistics.seen(outcome, now)

Pure and for one process: time and health are handed in. It remembers turns and spreads within bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from spendstream.routing.complexity import Complexity, shipped
from spendstream.routing.decision import LONGEST_REASON, Call, Decision, NoCandidate
from spendstream.routing.definition import Candidate, Condition, Route, Rule
from spendstream.routing.diversity import Spread
from spendstream.routing.statistics import Statistics
from spendstream.routing.strategies import Prices, Ranking

__all__ = ["Healthy", "Router"]

_REMEMBERED = 4_096

Healthy = Callable[[str, str], bool]
"""Tells whether a provider's model may be called: its circuit breaker is not open."""


class Router:
    """All routes. To change them make a new one with the same `statistics`; turns and spreads start anew."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        prices: Prices,
        statistics: Statistics | None = None,
        complexity: Complexity | None = None,
    ) -> None:
        self.statistics = statistics or Statistics()
        judge = complexity or shipped()
        self._paths = [_Path(route, self.statistics, prices, judge) for route in routes]
        self._by_name = {path.route.name: path for path in self._paths}
        self._matched: dict[str, _Path | None] = {}

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes, in the order in which they are asked."""
        return tuple(path.route for path in self._paths)

    def decide(self, call: Call, now: int, *, healthy: Healthy | None = None) -> Decision | None:
        """Return where a call goes; None if no route answers for its model.

        Raises NoCandidate if a route does, and none of its candidates can take the call.
        """
        path = self._by_name.get(call.model) or self._find(call.model)
        return None if path is None else path.decide(call, now, healthy)

    def _find(self, model: str) -> _Path | None:
        """Return the first route with a pattern for a model. Callers make up names: few are kept."""
        if model in self._matched:
            return self._matched[model]
        if len(self._matched) >= _REMEMBERED:
            self._matched.clear()
        found = next((path for path in self._paths if _matches(model, path.route.models)), None)
        self._matched[model] = found
        return found


class _Path:
    def __init__(self, route: Route, statistics: Statistics, prices: Prices, complexity: Complexity) -> None:
        self.route = route
        self._ranking = Ranking(
            weights=route.weights, statistics=statistics, prices=prices, complexity=complexity
        )
        self._spread = Spread(route.limit) if route.limit else None

    def decide(self, call: Call, now: int, healthy: Healthy | None) -> Decision:
        route = self.route
        number, rule = self._rule(call)
        strategy = rule.strategy if rule and rule.strategy else route.strategy
        able, left_out = _able(_named(route.candidates, rule), call, healthy)
        if not able:
            raise NoCandidate(f"route {route.name}: no candidate can take this call: {'; '.join(left_out)}")
        admitted, over = self._admitted(able, now)
        order = self._ranking.order(strategy, admitted, call, now)
        chosen, *rest = ((one.provider, one.model) for one in (*order.candidates, *over))
        if self._spread:
            self._spread.count(chosen[0], now)
        said = f"rule {number}: {strategy}" if rule else strategy
        left_out += [f"{one.name} over its provider's limit" for one in over]
        tail = f" (not {', '.join(left_out)})" if left_out else ""
        return Decision(
            route=route.name,
            strategy=strategy,
            chosen=chosen,
            fallbacks=tuple(rest),
            reason=f"{said} {order.reason}{tail}"[:LONGEST_REASON],
            complexity=order.complexity,
        )

    def _rule(self, call: Call) -> tuple[int, Rule | None]:
        for number, rule in enumerate(self.route.rules, 1):
            if _holds(rule.when, call):
                return number, rule
        return 0, None

    def _admitted(
        self, able: Sequence[Candidate], now: int
    ) -> tuple[Sequence[Candidate], Sequence[Candidate]]:
        """Return the candidates whose provider may have one more call, and the others."""
        if self._spread is None:
            return able, ()
        providers = self._spread.admitted({one.provider for one in able}, now)
        if len(providers) == len({one.provider for one in able}):
            return able, ()
        return (
            [one for one in able if one.provider in providers],
            [one for one in able if one.provider not in providers],
        )


def _named(candidates: Sequence[Candidate], rule: Rule | None) -> Sequence[Candidate]:
    if rule is None or not rule.use:
        return candidates
    return [one for one in candidates if one.model in rule.use or one.name in rule.use]


def _able(
    candidates: Sequence[Candidate], call: Call, healthy: Healthy | None
) -> tuple[list[Candidate], list[str]]:
    """Return those that can take a call, and why each of the others cannot."""
    able, left_out = [], []
    for one in candidates:
        why = _hindrance(one, call)
        if not why and healthy is not None and not healthy(one.provider, one.model):
            why = "unhealthy"
        if why:
            left_out.append(f"{one.name} {why}")
        else:
            able.append(one)
    return able, left_out


def _hindrance(candidate: Candidate, call: Call) -> str:
    if call.tools and not candidate.tools:
        return "without tools"
    if call.vision and not candidate.vision:
        return "without vision"
    if candidate.context and call.prompt_tokens + (call.max_tokens or 0) > candidate.context:
        return "too short of context"
    return ""


def _holds(when: Condition, call: Call) -> bool:
    return (
        (not when.team or call.team in when.team)
        and (not when.project or call.project in when.project)
        and (not when.environment or call.environment in when.environment)
        and call.prompt_tokens >= when.at_least
        and (when.at_most is None or call.prompt_tokens <= when.at_most)
        and when.tools in (None, call.tools)
        and when.vision in (None, call.vision)
        and (not when.models or _matches(call.model, when.models))
    )


def _matches(model: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)
