"""The admin API: everything that is set while the gateway runs. It exists only where it has a key.

It is an application of its own beneath `/admin`, with its own description in OpenAPI, so that nothing of it
can be reached, or read about, in a gateway without an admin key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError

from gateway.admin.access import keeper
from gateway.admin.answers import answer_mistakes, answer_parameters, answer_patience, answers
from gateway.admin.cache import cache_router
from gateway.admin.changes import Changes
from gateway.admin.description import AsDescribed
from gateway.admin.documents import Kind, documents_router
from gateway.admin.keys import keys_router
from gateway.admin.schemas import BUDGET, PRICES, ROUTE, TEAM
from gateway.admin.stores import Administration, Budgets, Cache, Keys, Routes, Store
from gateway.audit import Audit
from gateway.security import Security
from spendstream.budgets.documents import BudgetDocument
from spendstream.budgets.documents import decode as decode_budget
from spendstream.errors import ConfigError, TransientError
from spendstream.pricing.documents import decode as decode_prices
from spendstream.routing.documents import RouteDocument
from spendstream.routing.documents import decode as decode_route
from spendstream.teams import decode as decode_team

__all__ = ["Administration", "Budgets", "Cache", "Keys", "Routes", "Store", "create_admin"]

_TEAM_IDS = r"^[^/\x00-\x20\x7f-\xa0][^/\x00-\x1f\x7f-\x9f]{0,199}$"  # any script: they are what callers say
_NAMED = 8  # digits of the key's digest that tell one admin key from the next in the audit log


def create_admin(
    key_sha256: str,
    administration: Administration,
    audit: Audit,
    security: Security,
    clock: Callable[[], int],
) -> FastAPI:
    """Return the application for whoever has the key with this SHA-256 (hex)."""
    admin = AsDescribed(
        title="Spendstream admin API",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(keeper(key_sha256, security))],
        responses=answers(401, 429, 503),
    )
    changes = Changes(audit, f"admin key {key_sha256[:_NAMED]}")
    for router in _routers(administration, changes, clock):
        admin.include_router(router)
    admin.add_exception_handler(RequestValidationError, answer_parameters)
    admin.add_exception_handler(ConfigError, answer_mistakes)
    admin.add_exception_handler(TransientError, answer_patience)
    return admin


def _routers(
    administration: Administration, changes: Changes, clock: Callable[[], int]
) -> Iterator[APIRouter]:
    yield documents_router(_budgets(administration.budgets), changes)
    if administration.keys:
        yield keys_router(administration.keys, changes, clock)
    if administration.teams:
        yield documents_router(
            Kind(
                singular="team",
                plural="teams",
                schema=TEAM,
                store=administration.teams,
                decode=decode_team,
                ids=_TEAM_IDS,
            ),
            changes,
        )
    if administration.prices:
        yield documents_router(
            Kind(
                singular="price",
                plural="prices",
                schema=PRICES,
                store=administration.prices,
                decode=decode_prices,
            ),
            changes,
        )
    if administration.routes:
        yield documents_router(_routes(administration.routes), changes)
    if administration.cache:
        yield cache_router(administration.cache, changes)


def _budgets(budgets: Budgets) -> Kind[BudgetDocument]:
    return Kind(
        singular="budget",
        plural="budgets",
        schema=BUDGET,
        store=budgets,
        decode=lambda name, value: decode_budget(name, value, budgets.file.rates),
        in_file={budget.id for budget in budgets.file.budgets},
        file="the budget file",
    )


def _routes(routes: Routes) -> Kind[RouteDocument]:
    def decode(name: str, value: bytes) -> RouteDocument:
        document = decode_route(name, value)
        routes.check(document.route)
        return document

    return Kind(
        singular="route",
        plural="routes",
        schema=ROUTE,
        store=routes.store,
        decode=decode,
        in_file=routes.in_file,
    )
