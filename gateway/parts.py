"""What a gateway is made of, put together from its configuration and what comes from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct
from prometheus_client import CollectorRegistry

from gateway.audit import Audit, NoAudit
from gateway.caching import NoCache, ReplyCache
from gateway.callers import Callers
from gateway.choosing import Choosing
from gateway.limiting import REMEMBERED, RESERVED, Limiting
from gateway.masking import Masking
from gateway.meter import Meter, Publisher
from gateway.metrics import GatewayMetrics
from gateway.security import Security
from gateway.settled import SettledSpend
from gateway.shortening import Shortening
from gateway.upstream.serving import Serving
from spendstream.config import Config
from spendstream.keys import KeyHasher
from spendstream.limits.book import ReservationBook
from spendstream.limits.guard import Guard
from spendstream.pricing import PriceBook
from spendstream.prompts import read_settings
from spendstream.routing import read_routes
from spendstream.teams import Teams

if TYPE_CHECKING:  # an optional part, which nobody imports who does not use it
    from gateway.tracing.spans import Tracing

__all__ = ["Parts", "assemble", "event_source"]


class Parts(Struct, frozen=True, kw_only=True):
    """What a gateway is made of."""

    config: Config
    clock: Callable[[], int]
    registry: CollectorRegistry
    metrics: GatewayMetrics
    serving: Serving
    caching: ReplyCache
    choosing: Choosing
    limiting: Limiting
    teams: Teams
    masking: Masking
    shortening: Shortening
    meter: Meter
    audit: Audit
    security: Security
    callers: Callers
    tracing: Tracing | None = None


def assemble(  # noqa: PLR0913 - each part that comes from outside, once
    config: Config,
    serving: Serving,
    publisher: Publisher,
    prices: PriceBook,
    clock: Callable[[], int],
    *,
    registry: CollectorRegistry | None = None,
    instance: str = "local",
    guard: Guard | None = None,
    caching: ReplyCache | None = None,
    settled: SettledSpend | None = None,
    audit: Audit | None = None,
    more_keys: bool = False,
    tracing: Tracing | None = None,
) -> Parts:
    """Return the parts. `clock` gives microseconds since 1970 UTC; events come from `instance`.

    Without a `guard` nothing is limited, without `caching` nothing is cached, without an `audit` nothing is
    audited; `settled` notes what calls cost, `tracing` traces them. With `more_keys` the callers will be
    told of keys beside those of the configuration. Raises ConfigError for routes or `prompts` that are wrong.
    """
    registry = registry or CollectorRegistry()
    metrics = GatewayMetrics(registry, serving)
    meter = Meter(
        publisher=publisher,
        prices=prices,
        clock=clock,
        metrics=metrics,
        source=event_source(instance),
        attributed=config.events_per_record == 1,
        owner_of=lambda model: serving.models.get(model, ""),
        settled=settled,
    )
    audit = audit or NoAudit()
    teams = Teams({"mask_pii": config.privacy_teams, "optimise_prompts": config.prompt_teams})
    security = Security(audit, clock, audit_calls=config.audit_calls)
    hasher = KeyHasher(config.key_secret) if config.key_secret else None
    guard = guard or Guard(ReservationBook(ttl=RESERVED, memory=REMEMBERED))
    return Parts(
        config=config,
        clock=clock,
        registry=registry,
        metrics=metrics,
        serving=serving,
        caching=caching or NoCache(),
        choosing=Choosing(
            read_routes(list(config.route)), serving=serving, prices=prices, metrics=metrics, clock=clock
        ),
        limiting=Limiting(guard, prices=prices, serving=serving, metrics=metrics, clock=clock),
        teams=teams,
        masking=Masking(teams, metrics, security),
        shortening=Shortening(teams, read_settings(config.prompts or {})),
        meter=meter,
        audit=audit,
        security=security,
        callers=Callers(hasher, config.api_keys, security, clock, complete=not more_keys),
        tracing=tracing,
    )


def event_source(instance: str) -> str:
    """Return the source of the events of a gateway that is called `instance`."""
    return f"gateway/{instance}"
