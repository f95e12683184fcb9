"""What the admin API sets, and where that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from msgspec import Struct

from spendstream.budgets import BudgetFile
from spendstream.budgets.documents import BudgetDocument
from spendstream.documents import Document
from spendstream.keys import KeyHasher
from spendstream.keys.documents import KeyDocument
from spendstream.pricing.documents import PriceDocument
from spendstream.routing import Route
from spendstream.routing.documents import RouteDocument
from spendstream.teams import TeamDocument

__all__ = ["Administration", "Budgets", "Cache", "Keys", "Routes", "Store"]

D = TypeVar("D", bound=Document)


class Store(Protocol[D]):
    """Keeps documents by id; all methods raise TransientError while it does not answer."""

    async def documents(self) -> Mapping[str, D]:
        """Return all of them."""

    async def put(self, document: D) -> None:
        """Set one for good."""

    async def delete(self, name: str) -> None:
        """Delete one for good."""


class Budgets(Store[BudgetDocument], Protocol):
    """Keeps budgets, and knows those that are in the file."""

    file: BudgetFile


class Cache(Protocol):
    """Keeps answers."""

    async def purge(self, tenant: str | None) -> None:
        """Forget the answers of a tenant, or all. Raises SpendstreamError."""


class Keys(Struct, frozen=True, kw_only=True):
    """Where API keys are kept, and what they are hashed with; the ids of those in the file."""

    store: Store[KeyDocument]
    hasher: KeyHasher
    in_file: frozenset[str]


class Routes(Struct, frozen=True, kw_only=True):
    """Where routes are kept, the names of those in the file, and the models that are served."""

    store: Store[RouteDocument]
    in_file: frozenset[str]
    check: Callable[[Route], None]
    """Raises ConfigError for a route with a candidate that nobody serves."""


class Administration(Struct, frozen=True, kw_only=True):
    """All that is administered; what is None cannot be."""

    budgets: Budgets
    keys: Keys | None = None
    teams: Store[TeamDocument] | None = None
    prices: Store[PriceDocument] | None = None
    routes: Routes | None = None
    cache: Cache | None = None
