"""The meter: turns every finished call into exactly one event, priced, and journals it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog
from msgspec.structs import replace

from gateway.exchange import Exchange
from gateway.metrics import GatewayMetrics
from gateway.refusal import Refusal
from gateway.settled import SettledSpend
from gateway.usage import Usage
from spendstream.codec import TOKENS
from spendstream.errors import TransientError
from spendstream.events import TokenUsage
from spendstream.pricing import PriceBook, Rates
from spendstream.topics import USAGE_TOKENS

__all__ = ["EVENT_ROOM", "Meter", "Publisher"]

EVENT_ROOM = 32 * 1024
"""Bytes kept free for the event of each call under way; more than an event with the longest names takes."""
_RETRY_S = 1.0
_JSON = [("content-type", b"application/json")]

_log = structlog.get_logger()


class Publisher(Protocol):
    """Takes events on their way to Kafka."""

    @property
    def free_bytes(self) -> int:
        """How much more it can take at least."""

    def emit(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Take one event for good. Raises TransientError when it cannot."""


class Meter:
    """Admits calls while their events are sure to have room, and settles each of them once.

    `owner_of` tells the provider of a model that was asked for, empty for none. Events have CloudEvents
    attributes if they are `attributed`, which makes sense where none share a record.
    """

    def __init__(  # noqa: PLR0913 - each part that an event is made with, once
        self,
        *,
        publisher: Publisher,
        prices: PriceBook,
        clock: Callable[[], int],
        metrics: GatewayMetrics,
        source: str,
        attributed: bool,
        owner_of: Callable[[str], str],
        settled: SettledSpend | None = None,
    ) -> None:
        self._publisher = publisher
        self._prices = prices
        self._clock = clock
        self._metrics = metrics
        self._source = source
        self._attributed = attributed
        self._owner_of = owner_of
        self._settled = settled
        self._open = 0

    @property
    def has_room(self) -> bool:
        """Whether one more call could be admitted now."""
        return self._publisher.free_bytes >= (self._open + 1) * EVENT_ROOM

    def admit(self) -> None:
        """Reserve room for one call's event; `settle` gives it back. Raises Refusal when there is none."""
        if not self.has_room:
            raise _no_room()
        self._open += 1
        self._metrics.active += 1

    def dismiss(self) -> None:
        """Give back the room of a call that is not made."""
        self._open -= 1
        self._metrics.active -= 1

    def settle(self, exchange: Exchange) -> None:
        """Journal the call's event, and keep it in the exchange.

        If that fails, in spite of the room reserved (a broken disk), the event goes to the log and the client
        gets an error in the place of the reply's end.
        """
        self._open -= 1
        self._metrics.active -= 1
        event = exchange.event = self._event(exchange)
        value = TOKENS.encode(event)
        try:
            headers = TOKENS.headers(event) if self._attributed else _JSON
            self._publisher.emit(USAGE_TOKENS.name, event.team.encode(), value, headers)
        except TransientError as error:
            self._metrics.failed("journal")
            _log.error("event not journalled", reason=str(error), record=value.decode(), **exchange.names)
            exchange.refusal = _no_room(error)
            return
        self._metrics.settled(event, streamed=exchange.ask.stream)
        if self._settled is not None:
            self._settled.note(event)

    def _event(self, exchange: Exchange) -> TokenUsage:
        """Return the event. Its time is the call's end: then all of its cost has come about."""
        now = self._clock()
        usage, usage_source = exchange.used()
        list_cost = self._cost(exchange, usage, now)
        hit = exchange.hit
        cost = list_cost if hit is None else 0
        first = exchange.first_text
        caller = exchange.caller
        return TokenUsage(
            id=exchange.id,
            event_time=now,
            source=self._source,
            org=caller.org,
            team=caller.team,
            project=caller.project,
            environment=caller.environment,
            service=caller.service,
            user=caller.user,
            key_id=caller.key_id,
            provider=exchange.provider,
            model=exchange.model,
            request_model=exchange.ask.model,
            operation=exchange.dialect.operation,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            list_cost=list_cost,
            cost=cost,
            avoided_by_cache=0 if hit is None else list_cost or 0,
            duration=_micros(exchange.ended - exchange.arrived),
            time_to_first_token=None if first is None else _micros(first - exchange.arrived),
            status=exchange.status,
            error_type=exchange.error_type,
            retries=exchange.retries,
            usage_source=usage_source,
            cache_outcome="none" if hit is None else hit.outcome,
            cache_similarity=None if hit is None else hit.similarity,
            route=exchange.route,
            route_reason=exchange.route_reason,
            avoided_by_routing=self._avoided(exchange, usage, cost, now) if exchange.route_reason else 0,
            avoided_by_compression=self._saved(exchange, usage, cost, now),
        )

    def _saved(self, exchange: Exchange, usage: Usage, cost: int | None, at: int) -> int:
        """Return how much more the call would have cost with the tokens that its prompt has lost."""
        if not exchange.saved_tokens or not cost:
            return 0
        longer = replace(usage, input_tokens=usage.input_tokens + exchange.saved_tokens)
        return (self._cost(exchange, longer, at) or 0) - cost

    def _avoided(self, exchange: Exchange, usage: Usage, cost: int | None, at: int) -> int:
        """Return how much more the model would have cost that was asked for; of a mere route, nothing."""
        asked = self._prices.find(self._owner_of(exchange.ask.model), exchange.ask.model, at)
        if asked is None or cost is None:
            return 0
        return max(_price(asked, usage) - cost, 0)

    def _cost(self, exchange: Exchange, usage: Usage, at: int) -> int | None:
        """Return the cost in picodollars: nothing for no tokens, None for tokens without a price."""
        if not usage.input_tokens and not usage.output_tokens:
            return 0
        rates = self._prices.find(exchange.provider, exchange.model, at)
        if rates is None:
            self._metrics.unpriced(exchange.model)
            return None
        return _price(rates, usage)


def _price(rates: Rates, usage: Usage) -> int:
    return rates.cost(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    )


def _no_room(error: TransientError | None = None) -> Refusal:
    return Refusal(
        503,
        "the gateway cannot keep the record of another call just now: try again",
        reason="no_room",
        kind="server_error",
        code="service_unavailable",
        retry_after=error.retry_after if error else _RETRY_S,
    )


def _micros(seconds: float) -> int:
    return max(0, round(seconds * 1e6))
