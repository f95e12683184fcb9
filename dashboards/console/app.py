"""The console as a FastAPI application: pages, what is on them, the answers, and what people decide."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dashboards.console.pages import ASSETS, PLOTLY, described, page
from dashboards.console.ranges import time_range
from dashboards.console.store import Decision, Store
from dashboards.panel import Dashboard
from spendstream.errors import QueryError, StoreUnavailable

__all__ = ["create_app"]

_HEADERS = {
    # Plotly sets styles by itself; scripts come from here only, and nothing else comes from anywhere.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_FOR_A_YEAR = "public, max-age=31536000, immutable"
_MOST_CHOSEN = 200
_POINTS = 120

Start = Annotated[str, Query(alias="from", max_length=40)]
End = Annotated[str, Query(alias="to", max_length=40)]
Points = Annotated[int, Query(ge=1, le=500)]


def create_app(store: Store, dashboards: Sequence[Dashboard], now: Callable[[], int]) -> FastAPI:
    """Return the application. `now` gives microseconds since 1970 UTC."""
    app = FastAPI(title="Spendstream console", docs_url=None, redoc_url=None, openapi_url=None)
    # A page elsewhere could name our address by a host of its own, and read what we answer.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    app.middleware("http")(_secured)
    app.exception_handler(QueryError)(_refused)
    app.exception_handler(StoreUnavailable)(_away)
    boards = {board.slug: board for board in dashboards}
    token = secrets.token_urlsafe(32)
    app.include_router(_files())
    app.include_router(_answers(store, boards, now))
    app.include_router(_decisions(store, now, token))
    app.include_router(_pages(boards, token))  # last: its path fits any
    return app


async def _secured(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(_HEADERS)
    response.headers.setdefault("cache-control", "no-store")
    return response


async def _refused(_: Request, error: Exception) -> Response:
    return _json({"detail": str(error)}, 400)


async def _away(_: Request, error: Exception) -> Response:
    return _json({"detail": f"ClickHouse does not answer: {error}"}, 503)


def _files() -> APIRouter:
    router = APIRouter(prefix="/static")

    @router.get(f"/plotly-{version('plotly')}.js")
    async def plotly() -> Response:
        forever = {"cache-control": _FOR_A_YEAR}
        return FileResponse(str(PLOTLY), media_type="text/javascript", headers=forever)

    @router.get("/{name}")
    async def asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404, "there is no such file")
        kind, contents = ASSETS[name]
        return Response(contents, media_type=kind, headers={"cache-control": "no-cache"})

    return router


def _pages(boards: Mapping[str, Dashboard], token: str) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/")
    async def start() -> Response:
        return RedirectResponse(f"/{next(iter(boards))}")

    @router.get("/{slug}")
    async def show(slug: str) -> Response:
        return HTMLResponse(page(_board(boards, slug), list(boards.values()), token))

    return router


def _answers(store: Store, boards: Mapping[str, Dashboard], now: Callable[[], int]) -> APIRouter:
    router = APIRouter(prefix="/api/pages")

    @router.get("/{slug}")
    async def describe(slug: str) -> Response:
        return _json(described(_board(boards, slug)))

    @router.get("/{slug}/variables/{name}")
    async def choose(slug: str, name: str, start: Start, end: End = "now") -> Response:
        variable = next((each for each in _board(boards, slug).variables if each.name == name), None)
        if variable is None:
            raise HTTPException(404, "there is no such variable")
        return _json(await store.choices(variable.sql, time_range(start, end, now() // 1000, _POINTS)))

    @router.get("/{slug}/panels/{name}")
    async def answer(
        request: Request, slug: str, name: str, start: Start, end: End = "now", points: Points = _POINTS
    ) -> Response:
        board = _board(boards, slug)
        panel = next((each for each in board.panels if each.id == name and each.sql), None)
        if panel is None:
            raise HTTPException(404, "there is no such panel")
        time = time_range(start, end, now() // 1000, points, panel.step)
        found = await store.answer(panel.sql, time, _chosen(board, request))
        return _json({**msgspec.to_builtins(time), **msgspec.to_builtins(found)})

    return router


class _Decided(BaseModel, extra="forbid"):
    decision: Decision


def _decisions(store: Store, now: Callable[[], int], token: str) -> APIRouter:
    router = APIRouter(prefix="/api/recommendations")

    @router.post("/{recommendation}", status_code=204)
    async def decide(
        recommendation: UUID, decided: _Decided, x_spendstream_token: Annotated[str, Header()] = ""
    ) -> None:
        # A page elsewhere can make a browser send this, but cannot know what our pages were given.
        if not secrets.compare_digest(x_spendstream_token.encode(), token.encode()):
            raise HTTPException(403, "this page is of an earlier console: load it again")
        await store.decide(recommendation, decided.decision, now())

    return router


def _board(boards: Mapping[str, Dashboard], slug: str) -> Dashboard:
    if slug not in boards:
        raise HTTPException(404, "there is no such page")
    return boards[slug]


def _chosen(board: Dashboard, request: Request) -> Mapping[str, Sequence[str]]:
    """Return what is chosen of each variable; nothing is everything."""
    chosen = {variable.name: request.query_params.getlist(variable.name) for variable in board.variables}
    for name, values in chosen.items():
        if len(values) > _MOST_CHOSEN:
            raise QueryError(f"{name}: at most {_MOST_CHOSEN} can be chosen, found {len(values)}")
    return chosen


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
