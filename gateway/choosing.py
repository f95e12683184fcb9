"""Who is asked first, and who next: by the routes, or in the order of the providers where there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from gateway.exchange import Exchange
from gateway.metrics import GatewayMetrics
from gateway.refusal import Refusal
from gateway.upstream.provider import Candidate
from gateway.upstream.serving import Serving
from spendstream.pricing import PriceBook
from spendstream.routing import Call, NoCandidate, Outcome, Route, Router

__all__ = ["Choosing"]

_BYTES_PER_TOKEN = 4  # of English; a route's lengths need no more
_PROVIDER_FAILED = (401, 402, 403, 408, 429, *range(500, 600))
"""Statuses that say that a provider does not answer us, and not that the request is at fault."""


class Choosing:
    """Chooses by `routes`, which can be exchanged while calls are under way; what was learned stays."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        serving: Serving,
        prices: PriceBook,
        metrics: GatewayMetrics,
        clock: Callable[[], int],
    ) -> None:
        self._serving = serving
        self._prices = prices
        self._metrics = metrics
        self._clock = clock
        self._router = Router((), prices=prices.find)
        self.use(routes)

    @property
    def names(self) -> Sequence[str]:
        """The models that are routes."""
        return [route.name for route in self._router.routes]

    def use(self, routes: Sequence[Route]) -> None:
        """Choose by these from now on. Raises ConfigError for a candidate that nobody serves.

        If they are those in force, as when their topic was read again, a mix goes on with whose turn it is.
        """
        self._serving.check((one.provider, one.model) for route in routes for one in route.candidates)
        if tuple(routes) == tuple(self._router.routes):
            return
        self._router = Router(routes, prices=self._prices.find, statistics=self._router.statistics)

    def choose(self, exchange: Exchange) -> None:
        """Set who is asked. Raises Refusal for a model that nobody serves, and where nobody can answer."""
        path, ask = exchange.dialect.path, exchange.ask
        if self._router.routes:
            try:
                decision = self._router.decide(self._call(exchange), self._clock(), healthy=self._is_healthy)
            except NoCandidate as error:
                raise Refusal(
                    503, str(error), reason="no_candidate", kind="server_error", retry_after=error.retry_after
                ) from error
            if decision is not None:
                exchange.route, exchange.route_reason = decision.route, decision.reason
                targets = decision.chosen, *decision.fallbacks
                exchange.candidates = self._found(path, targets, decision.route)
                self._metrics.decided(decision.route, decision.strategy, exchange.candidates[0])
                return
        exchange.candidates = self._serving.candidates(path, ask.model)

    def seen(self, exchange: Exchange) -> None:
        """Learn from a call that is over."""
        event = exchange.event
        if event is None or exchange.candidate is None or not self._router.routes:
            return
        failed = event.status in _PROVIDER_FAILED and event.error_type != "internal_error"
        answered = event.status < 300  # noqa: PLR2004 - success
        outcome = Outcome(
            provider=event.provider,
            model=event.model,
            failed=failed,
            latency=event.duration if answered else None,
            first_token=event.time_to_first_token if answered and exchange.ask.stream else None,
            tokens=event.input_tokens + event.output_tokens if answered else 0,
            output_tokens=event.output_tokens if answered else 0,
            cost=event.cost if answered else None,
        )
        self._router.statistics.seen(outcome, self._clock())

    def _call(self, exchange: Exchange) -> Call:
        ask, caller = exchange.ask, exchange.caller
        return Call(
            model=ask.model,
            prompt=ask.last_text,
            prompt_tokens=len(exchange.request) // _BYTES_PER_TOKEN,
            max_tokens=ask.max_output_tokens,
            stream=ask.stream,
            tools="tools" in ask.fields,
            vision=ask.has_pictures,
            team=caller.team,
            project=caller.project,
            environment=caller.environment,
        )

    def _is_healthy(self, provider: str, model: str) -> bool:
        return self._serving.is_healthy(provider, model, monotonic())

    def _found(self, path: str, targets: Sequence[tuple[str, str]], route: str) -> Sequence[Candidate]:
        found = [one for target in targets if (one := self._serving.candidate(path, *target)) is not None]
        if not found:
            raise Refusal(
                404,
                f"route {route}: none of its candidates speaks this API",
                reason="unknown_model",
                param="model",
                code="model_not_found",
            )
        return found
