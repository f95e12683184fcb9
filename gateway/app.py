"""The gateway as an ASGI application: the hot route beside a few plain ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.admin import Administration, create_admin
from gateway.calls import ModelCalls
from gateway.dialects import DIALECTS
from gateway.headers import peer, read_headers
from gateway.meter import Meter
from gateway.parts import Parts
from gateway.refusal import Refusal

__all__ = ["create_app"]

_NOT_ALLOWED = 405
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


def create_app(parts: Parts, administration: Administration | None = None) -> ASGIApp:
    """Return the application. With an admin key configured, `administration` is what its API sets."""
    config = parts.config
    calls = {path: ModelCalls(dialect, parts) for path, dialect in DIALECTS.items()}
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
