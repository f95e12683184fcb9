"""What the gateway says of itself to Prometheus.

Labels are the models, providers and routes that it knows, never users, teams or paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry

from gateway.tallies import Reading, Tallies
from gateway.upstream.provider import Candidate
from gateway.upstream.serving import Serving
from spendstream.events import TokenUsage
from spendstream.money import PICO

__all__ = ["GatewayMetrics"]

_TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
_DOLLAR_BUCKETS = (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 10)
# Prometheus guesses where in its bucket a quantile is: a step is 1.3 to 2 times, so no guess is far off.
_SECOND_BUCKETS = (
    *(0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
    *(1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 200, 300),
)
_OVERHEAD_BUCKETS = (
    *(5e-5, 7.5e-5, 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4, 6e-4, 8e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1),
)


class _ModelTallies:
    """What is counted of one model."""

    def __init__(self, metrics: GatewayMetrics, model: str) -> None:
        self.input = metrics.tokens["input", model]
        self.output = metrics.tokens["output", model]
        self.cost = metrics.cost[(model,)]
        self.duration = metrics.duration[(model,)]
        self.first_token = metrics.first_token[(model,)]


class GatewayMetrics:
    """What one gateway counts, and what it sees of its providers.

    Dollars are for the eye: the exact sums are in the events.
    """

    def __init__(self, registry: CollectorRegistry, serving: Serving) -> None:
        self.active = 0
        self._models: dict[str, _ModelTallies] = {}
        tallies = Tallies(registry)
        self._declare_usage(tallies)
        self._declare_outcomes(tallies)
        self._declare_attempts(tallies, serving)
        tallies.register()

    def _declare_usage(self, tallies: Tallies) -> None:
        self._input = tallies.histogram("ai_input_tokens", "Input tokens of a call", _TOKEN_BUCKETS)[()]
        self._output = tallies.histogram("ai_output_tokens", "Output tokens of a call", _TOKEN_BUCKETS)[()]
        self._estimated_cost = tallies.histogram(
            "ai_estimated_cost", "Cost of a call in US dollars", _DOLLAR_BUCKETS
        )[()]
        self.tokens = tallies.counter("ai_tokens_total", "Tokens of all calls", ("type", "model"))
        self.cost = tallies.counter("ai_cost_total", "Cost of all calls in US dollars", ("model",))
        self.duration = tallies.histogram(
            "ai_request_duration_seconds",
            "From a call's arrival to its last piece",
            _SECOND_BUCKETS,
            ("model",),
        )
        self.first_token = tallies.histogram(
            "ai_time_to_first_token_seconds",
            "From a streamed call's arrival to the first text of its answer",
            _SECOND_BUCKETS,
            ("model",),
        )
        self._overhead = tallies.histogram(
            "spendstream_gateway_overhead_seconds",
            "A call's time that neither its provider nor its client took",
            _OVERHEAD_BUCKETS,
        )[()]

    def _declare_outcomes(self, tallies: Tallies) -> None:
        self._hits = tallies.counter("ai_cache_hits_total", "Calls answered from the gateway's cache")[()]
        self._misses = tallies.counter(
            "ai_cache_misses_total", "Calls that the gateway's cache could not answer"
        )[()]
        self._received = tallies.counter(
            "spendstream_gateway_received_total", "Requests for a model's answer"
        )[()]
        self._sent = tallies.counter("spendstream_gateway_sent_total", "Usage events journalled")[()]
        self._discarded = tallies.counter(
            "spendstream_gateway_discarded_total",
            "Requests refused without a call, and no event",
            ("reason",),
        )
        self._unheard = tallies.counter(
            "spendstream_gateway_connections_refused_total",
            "Connections closed on a request that no route saw whole: too large, too slow, or no HTTP",
            ("reason",),
        )
        self._errors = tallies.counter(
            "spendstream_gateway_errors_total", "Failures, by what failed", ("stage",)
        )
        self._breaches = tallies.counter(
            "spendstream_gateway_limit_breaches_total",
            "Requests that did not fit a limit, by what that meant for them",
            ("limit", "kind", "mode"),
        )
        self._unpriced = tallies.counter(
            "spendstream_gateway_unpriced_total", "Calls no price covers", ("model",)
        )
        self._masked = tallies.counter(
            "spendstream_gateway_masked_total", "Personal data and secrets kept from providers", ("kind",)
        )
        tallies.gauge("ai_active_requests", "Calls under way", (), lambda: [((), self.active)])

    def _declare_attempts(self, tallies: Tallies, serving: Serving) -> None:
        self._retries = tallies.counter(
            "spendstream_gateway_retries_total",
            "Attempts at a provider that has just failed, once more",
            ("provider", "model"),
        )
        self._fallbacks = tallies.counter(
            "spendstream_gateway_fallbacks_total",
            "Attempts at a provider's model that was not the first choice, as those before it failed",
            ("provider", "model"),
        )
        self._account_refusals = tallies.counter(
            "spendstream_gateway_account_refusals_total",
            "Attempts that a provider refused because of our key or our bill",
            ("provider", "status"),
        )
        self._decisions = tallies.counter(
            "spendstream_gateway_route_decisions_total",
            "Calls that a route decided on, by what it chose first",
            ("route", "strategy", "provider", "model"),
        )
        tallies.gauge(
            "spendstream_gateway_breaker_open",
            "Whether a provider's model has failed so often that it is left alone, or only tried: 1, else 0",
            ("provider", "model"),
            lambda: _breakers(serving),
        )
        tallies.gauge(
            "spendstream_gateway_upstream_connections",
            "Connections to a provider that have an answer under way (busy), or wait for a request (idle)",
            ("provider", "state"),
            lambda: _connections(serving),
        )

    def received(self) -> None:
        """Count a request."""
        self._received.add()

    def refused(self, reason: str) -> None:
        """Count a request that calls no provider."""
        self._discarded[(reason,)].add()

    def connection_refused(self, reason: str) -> None:
        """Count a request that was answered before it was whole, and its connection closed."""
        self._unheard[(reason,)].add()

    def failed(self, stage: str) -> None:
        """Count a failure: of the provider, of the journal, of the gateway itself."""
        self._errors[(stage,)].add()

    def breached(self, limit: str, kind: str, mode: str) -> None:
        """Count a request that did not fit a limit, whatever became of it."""
        self._breaches[(limit, kind, mode)].add()

    def looked_up(self, *, hit: bool) -> None:
        """Count a call that the cache was asked about."""
        (self._hits if hit else self._misses).add()

    def masked(self, counts: Mapping[str, int]) -> None:
        """Count what was masked in a request, by kind."""
        for kind, count in counts.items():
            self._masked[(kind,)].add(count)

    def unpriced(self, model: str) -> None:
        """Count a call whose cost is not known."""
        self._unpriced[(model,)].add()

    def retried(self, candidate: Candidate) -> None:
        """Count an attempt at the candidate that has just failed."""
        self._retries[candidate.provider.name, candidate.model].add()

    def fell_back(self, candidate: Candidate) -> None:
        """Count the first attempt at a candidate that was not the call's first choice."""
        self._fallbacks[candidate.provider.name, candidate.model].add()

    def account_refused(self, provider: str, status: int) -> None:
        """Count an attempt that a provider refused because of our account with it."""
        self._account_refusals[provider, str(status)].add()

    def decided(self, route: str, strategy: str, candidate: Candidate) -> None:
        """Count a decision of a route."""
        self._decisions[route, strategy, candidate.provider.name, candidate.model].add()

    def settled(self, event: TokenUsage, *, streamed: bool) -> None:
        """Count a call whose event is journalled."""
        self._sent.add()
        model = self._models.get(event.model)
        if model is None:
            model = self._models[event.model] = _ModelTallies(self, event.model)
        self._input.observe(event.input_tokens)
        self._output.observe(event.output_tokens)
        model.input.add(event.input_tokens)
        model.output.add(event.output_tokens)
        model.duration.observe(event.duration / 1e6)
        if streamed and event.time_to_first_token is not None:
            model.first_token.observe(event.time_to_first_token / 1e6)
        if event.cost is not None:
            dollars = event.cost / PICO
            self._estimated_cost.observe(dollars)
            model.cost.add(dollars)

    def overhead(self, seconds: float) -> None:
        """Record what the gateway itself took of a whole reply's time."""
        self._overhead.observe(seconds)


def _breakers(serving: Serving) -> Iterator[Reading]:
    for provider in serving.providers:
        for model, breaker in provider.breakers.items():
            yield (provider.name, model), breaker.is_open


def _connections(serving: Serving) -> Iterator[Reading]:
    for provider in serving.providers:
        busy, idle = provider.connections
        yield (provider.name, "busy"), busy
        yield (provider.name, "idle"), idle
