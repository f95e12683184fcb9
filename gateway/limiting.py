"""Before a call: set aside what it may cost. After it: say what it did cost. Meanwhile: let it have more.

What a call may cost is told from above at first, from its bytes. Only where that is too much for a budget the
tokens of its texts are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from gateway.estimates import most_input_by_bytes, most_input_by_count
from gateway.exchange import Exchange
from gateway.metrics import GatewayMetrics
from gateway.refusal import Refusal
from gateway.upstream.provider import Candidate
from gateway.upstream.serving import Serving
from spendstream.errors import RedisUnavailable
from spendstream.limits.decision import Admitted, Breach, Downgrade, Rejected, Subject
from spendstream.limits.guard import Guard
from spendstream.pricing import PriceBook
from spendstream.tokens import count_text

__all__ = ["DEFAULT_OUTPUT_TOKENS", "REMEMBERED", "RESERVED", "Leash", "Limiting"]

DEFAULT_OUTPUT_TOKENS = 4096
"""What is set aside for an answer whose caller sets no limit; a stream that outruns it asks for more."""

RESERVED = 600_000_000
"""Microseconds that a reservation lasts which nobody extends; longer than a provider may be silent."""
REMEMBERED = 1_800_000_000
"""Microseconds that a settled request is remembered, so that it counts once."""
_AHEAD_TOKENS = 1024  # of room left, from which on a stream asks for more
_LARGE = {"budget", "pace", "tokens"}
"""Breaches that a smaller estimate can avoid."""

_log = structlog.get_logger()


class _Estimate(NamedTuple):
    cost: int
    tokens: int


class Limiting:
    """Asks the guard for each call. `clock` gives microseconds UTC."""

    def __init__(
        self,
        guard: Guard,
        *,
        prices: PriceBook,
        serving: Serving,
        metrics: GatewayMetrics,
        clock: Callable[[], int],
    ) -> None:
        self._guard = guard
        self._prices = prices
        self._serving = serving
        self._metrics = metrics
        self._clock = clock

    async def reserve(self, exchange: Exchange) -> None:
        """Set aside what a call may cost, or have it go to a cheaper model. Raises Refusal."""
        decision = await self._ask(exchange)
        if isinstance(decision, Downgrade):
            self._tell(decision.breaches)
            exchange.candidates = self._serving.candidates(exchange.dialect.path, decision.model)
            exchange.is_downgraded = True
            exchange.route_reason = f"budget {decision.why.limit}: downgraded"
            decision = await self._ask(exchange, downgraded=True)
        if isinstance(decision, Admitted):
            self._tell(decision.breaches)
            exchange.grant = decision.grant
            return
        assert isinstance(decision, Rejected)  # noqa: S101 - a request is downgraded once
        self._tell(decision.breaches)
        raise Refusal(
            decision.status,
            decision.message,
            reason="limit",
            kind="insufficient_quota" if decision.status == 402 else "rate_limit_error",  # noqa: PLR2004
            code=decision.code,
            retry_after=decision.retry_after,
        )

    def leash(self, exchange: Exchange) -> Leash:
        """Return what a stream may come to before there has to be more money for it."""
        unlimited = exchange.grant is None or exchange.ask.max_output_tokens is not None
        return Leash(self, exchange, None if unlimited else DEFAULT_OUTPUT_TOKENS)

    async def extend(self, exchange: Exchange, output_tokens: int) -> bool:
        """Set aside what an answer of so many tokens costs; False if there is no money for it."""
        assert exchange.grant is not None  # noqa: S101 - a leash without one has no end
        first = exchange.candidates[0]
        tokens = most_input_by_count(exchange, first.model)
        estimate = self._estimate(exchange, first, tokens, output_tokens).cost
        most = max(estimate, exchange.grant.estimate)
        return await self._guard.extend(exchange.grant, estimate=most, now=self._clock())

    async def settle(self, exchange: Exchange) -> None:
        """Say what a call did cost. An unpriced one gives back what it holds."""
        grant, event = exchange.grant, exchange.event
        if grant is None:
            return
        try:
            if event is None or event.cost is None:
                await self._guard.release(grant, self._clock())
                return
            subject = _subject(exchange, exchange.provider, exchange.model)
            tokens = event.input_tokens + event.output_tokens
            await self._guard.settle(
                grant, cost=event.cost, tokens=tokens, now=event.event_time, subject=subject
            )
        except RedisUnavailable as error:  # what is held expires; the event is the truth
            _log.warning("not settled", reason=str(error), **exchange.names)

    async def _ask(self, exchange: Exchange, *, downgraded: bool = False) -> Admitted | Downgrade | Rejected:
        model = exchange.candidates[0].model
        tokens = most_input_by_bytes(exchange, model)
        decision = await self._reserve(exchange, tokens, downgraded=downgraded)
        if isinstance(decision, Admitted) or not _may_be_too_large(decision):
            return decision
        return await self._reserve(exchange, most_input_by_count(exchange, model), downgraded=downgraded)

    async def _reserve(
        self, exchange: Exchange, input_tokens: int, *, downgraded: bool
    ) -> Admitted | Downgrade | Rejected:
        first = exchange.candidates[0]
        output = exchange.ask.max_output_tokens
        output = DEFAULT_OUTPUT_TOKENS if output is None else output
        estimate = self._estimate(exchange, first, input_tokens, output)
        return await self._guard.reserve(
            exchange.request_id,
            _subject(exchange, first.provider.name, first.model),
            estimate=estimate.cost,
            tokens=estimate.tokens,
            now=self._clock(),
            downgraded=downgraded,
        )

    def _estimate(
        self, exchange: Exchange, candidate: Candidate, input_tokens: int, output: int
    ) -> _Estimate:
        """Return what a call may cost; nothing without a price, as no budget knows then."""
        rates = self._prices.find(candidate.provider.name, candidate.model, self._clock())
        if rates is None:
            return _Estimate(0, input_tokens + output)
        return _Estimate(
            rates.most(input_tokens, output, an_hour=_may_be_kept(exchange.request)), input_tokens + output
        )

    def _tell(self, breaches: Sequence[Breach]) -> None:
        for breach in breaches:
            self._metrics.breached(breach.limit, breach.kind, breach.mode)


class Leash:
    """How long a stream may get. Its tokens are counted when there may be too many: no more than bytes."""

    def __init__(self, limiting: Limiting, exchange: Exchange, reserved: int | None) -> None:
        self._limiting = limiting
        self._exchange = exchange
        self._reserved = reserved
        self._unseen = reserved or 0
        self._tokens = 0

    async def feel(self, size: int) -> None:
        """Take note of some more bytes. Raises Refusal when there is no money for so many."""
        if self._reserved is None:
            return
        self._unseen -= size
        if self._unseen <= 0:
            self._unseen = await self._let_out(self._reserved)

    async def _let_out(self, reserved: int) -> int:
        """Return how many more bytes can come unseen."""
        exchange = self._exchange
        assert exchange.reader is not None  # noqa: S101 - it is a stream
        self._tokens += count_text(exchange.model, exchange.reader.fresh_text())
        if reserved - self._tokens < _AHEAD_TOKENS:
            more = self._tokens + DEFAULT_OUTPUT_TOKENS
            if await self._limiting.extend(exchange, more):
                self._reserved = reserved = more
            elif self._tokens >= reserved:
                raise _no_money()
        return reserved - self._tokens


def _no_money() -> Refusal:
    return Refusal(
        402,
        "the answer is cut: there is no budget for more of it",
        reason="limit",
        kind="insufficient_quota",
        code="budget_exhausted",
    )


def _subject(exchange: Exchange, provider: str, model: str) -> Subject:
    caller = exchange.caller
    return Subject(
        org=caller.org,
        team=caller.team,
        project=caller.project,
        environment=caller.environment,
        provider=provider,
        model=model,
        key_id=caller.key_id,
    )


def _may_be_kept(request: bytes) -> bool:
    """Tell whether a request may ask a provider's cache to keep its input for an hour."""
    return b"1h" in request or b"\\u00" in request  # an escape can hide any letter


def _may_be_too_large(decision: Downgrade | Rejected) -> bool:
    return any(
        breach.kind in _LARGE and breach.mode not in ("shadow", "allow") for breach in decision.breaches
    )
