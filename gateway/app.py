"""The gateway as an ASGI application: the hot route beside a few plain ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.admin import Administration, create_admin
from gateway.audit import Audit, NoAudit
from gateway.caching import NoCache, ReplyCache
from gateway.callers import Callers
from gateway.calls import ModelCalls
from gateway.choosing import Choosing
from gateway.dialects import DIALECTS
from gateway.headers import peer, read_headers
from gateway.limiting import Limiting
from gateway.masking import Masking
from gateway.meter import Meter, Publisher
from gateway.metrics import GatewayMetrics
from gateway.refusal import Refusal
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

__all__ = ["REMEMBERED", "RESERVED", "Parts", "assemble", "create_app", "event_source"]

RESERVED = 600_000_000
"""Microseconds that a reservation lasts which nobody extends; longer than a provider may be silent."""
REMEMBERED = 1_800_000_000
"""Microseconds that a settled request is remembered, so that it counts once."""

_NOT_ALLOWED = 405
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


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
        masking=Masking(teams, metrics),
        shortening=Shortening(teams, read_settings(config.prompts or {})),
        meter=meter,
        audit=audit,
        security=security,
        callers=Callers(hasher, config.api_keys, security, clock, complete=not more_keys),
        tracing=tracing,
    )


def create_app(parts: Parts, administration: Administration | None = None) -> ASGIApp:
    """Return the application. With an admin key configured, `administration` is what its API sets."""
    config = parts.config
    calls = {
        path: ModelCalls(
            dialect,
            callers=parts.callers,
            caching=parts.caching,
            choosing=parts.choosing,
            limiting=parts.limiting,
            masking=parts.masking,
            shortening=parts.shortening,
            meter=parts.meter,
            metrics=parts.metrics,
            clock=parts.clock,
            security=parts.security,
            drains=config.deserted_streams == "drain",
            tracing=parts.tracing,
        )
        for path, dialect in DIALECTS.items()
    }
    app = FastAPI(title="Spendstream gateway", openapi_url=None)
    _add_calls_of_other_methods(app, calls)
    _add_models(app, parts)
    _add_probes(app, parts.meter, parts.registry)
    applications = [app]
    if config.admin_key_sha256 and administration is not None:
        admin = create_admin(
            config.admin_key_sha256, administration, parts.audit, parts.security, parts.clock
        )
        applications.append(admin)
        app.mount("/admin", admin)
    for application in applications:
        application.add_exception_handler(Refusal, _answer_refusal)
        application.add_exception_handler(HTTPException, _answer_http_error)
    return _dispatching(calls, app)


def _dispatching(calls: Mapping[str, ASGIApp], others: ASGIApp) -> ASGIApp:
    """Return an application that takes model calls past all middleware, which takes longer than they do."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        found = calls.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (found or others)(scope, receive, send)

    return dispatch


def event_source(instance: str) -> str:
    """Return the source of the events of a gateway that is called `instance`."""
    return f"gateway/{instance}"


def _add_models(app: FastAPI, parts: Parts) -> None:
    created = parts.clock() // 10**6

    @app.get("/v1/models")
    def models(request: Request) -> dict[str, Any]:
        address = peer(request.scope)
        caller = parts.callers.identify(read_headers(request.headers.raw), address)
        parts.callers.permit(caller, "models", address=address)
        owners = dict.fromkeys(parts.choosing.names, "spendstream") | dict(parts.serving.models)
        found = [
            {"id": model, "object": "model", "created": created, "owned_by": owner}
            for model, owner in owners.items()
            if caller.scope.has_model(model)
        ]
        return {"object": "list", "data": found}


def _add_calls_of_other_methods(app: FastAPI, paths: Iterable[str]) -> None:
    """Let FastAPI know the paths of calls, so that it answers other methods than theirs."""
    for path in paths:
        app.router.routes.append(Route(path, _unreachable, methods=["POST"]))


async def _unreachable(_: Request) -> Response:
    raise RuntimeError("model calls are dispatched before")


def _add_probes(app: FastAPI, meter: Meter, registry: CollectorRegistry) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        if meter.has_room:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": "no room for events of new calls"}, 503)

    @app.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - what it is registered for
    return Response(error.encoded, error.status, error.headers, media_type="application/json")


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Answer an unknown path or method in the same shape as everything else."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    message = f"{request.method} {request.url.path}: {error.detail}"
    refusal = Refusal(error.status_code, message, reason="http")
    headers = {"allow": _allowed(request)} if error.status_code == _NOT_ALLOWED else error.headers
    return Response(refusal.encoded, error.status_code, headers, media_type="application/json")


def _allowed(request: Request) -> str:
    """Return all methods of a path: the framework names those of the first route that has it."""
    routes: Sequence[BaseRoute] = request.app.routes
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )
