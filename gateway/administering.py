"""What the admin API sets, followed on its topics, and brought into force as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import structlog

from gateway.admin import Administration, Cache, Keys, Routes
from gateway.parts import Parts
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.adapters.document_feed import DocumentFeed
from spendstream.adapters.price_feed import PriceFeed
from spendstream.errors import ConfigError, TransientError
from spendstream.keys import KeyHasher
from spendstream.keys.documents import KeyDocument
from spendstream.keys.documents import decode as decode_key
from spendstream.pricing import LivePrices
from spendstream.routing import Route, read_routes
from spendstream.routing.documents import RouteDocument
from spendstream.routing.documents import decode as decode_route
from spendstream.teams import TeamDocument
from spendstream.teams import decode as decode_team
from spendstream.topics import KEYS, ROUTES, TEAMS

__all__ = ["administering"]

_log = structlog.get_logger()


@asynccontextmanager
async def administering(
    parts: Parts,
    servers: str,
    *,
    budgets: BudgetFeed,
    prices: LivePrices,
    cache: Cache | None = None,
) -> AsyncIterator[Administration]:
    """Follow Kafka at `servers`, which may be away, and keep `parts` and `prices` up to date."""
    config = parts.config

    def take_keys(found: Mapping[str, KeyDocument]) -> None:
        parts.callers.take_over(document.key for document in found.values())

    def take_teams(found: Mapping[str, TeamDocument]) -> None:
        parts.teams.use(found.values())

    in_file = read_routes(list(config.route))

    def take_routes(found: Mapping[str, RouteDocument]) -> None:
        _use_routes(parts, in_file, found)

    keys = DocumentFeed(servers, KEYS, decode_key, take_keys)
    team_feed = DocumentFeed(servers, TEAMS, decode_team, take_teams)
    price_feed = PriceFeed(servers, prices)
    routes = DocumentFeed(servers, ROUTES, decode_route, take_routes)
    feeds: Sequence[DocumentFeed[Any]] = (
        *((keys,) if config.key_secret else ()),
        team_feed,
        price_feed,
        routes,
    )
    async with AsyncExitStack() as stack:
        for feed in feeds:
            stack.push_async_callback(feed.close)
            with suppress(TransientError):  # asked once, it goes on to read
                await feed.documents()
        yield Administration(
            budgets=budgets,
            keys=_keys(parts, keys),
            teams=team_feed,
            prices=price_feed,
            routes=Routes(
                store=routes,
                in_file=frozenset(route.name for route in in_file),
                check=lambda route: _check(parts, route),
            ),
            cache=cache,
        )


def _keys(parts: Parts, store: DocumentFeed[KeyDocument]) -> Keys | None:
    """Return what keys are made with; without a secret there are none."""
    secret = parts.config.key_secret
    if not secret:
        return None
    in_file = frozenset(key.id for key in parts.config.api_keys)
    return Keys(store=store, hasher=KeyHasher(secret), in_file=in_file)


def _check(parts: Parts, route: Route) -> None:
    parts.serving.check((one.provider, one.model) for one in route.candidates)


def _use_routes(parts: Parts, in_file: Sequence[Route], found: Mapping[str, RouteDocument]) -> None:
    """Choose by the routes of the file, then by the others; one that nobody here serves is left out."""
    names = {route.name for route in in_file}
    routes = list(in_file)
    for name, document in sorted(found.items()):
        if name in names:
            _log.warning("route is in the configuration too, which counts", route=name)
            continue
        try:
            _check(parts, document.route)
        except ConfigError as error:
            _log.warning("route is left out", route=name, reason=str(error))
            continue
        routes.append(document.route)
    parts.choosing.use(routes)
