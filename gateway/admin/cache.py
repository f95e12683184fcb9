"""The gateway's cache through the admin API: answers are forgotten."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta, Struct

from gateway.admin.answers import answers, read_body
from gateway.admin.changes import Changes
from gateway.admin.schemas import PURGE, body
from gateway.admin.stores import Cache
from gateway.caching import tenant_of
from spendstream.documents import BadDocument, field_of

__all__ = ["cache_router"]

_Name = Annotated[str, Meta(max_length=512)]


class _Purge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`team` None is everybody, and has to be said."""

    team: _Name | None
    org: _Name = ""


def cache_router(cache: Cache, changes: Changes) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/cache", tags=["cache"])

    @router.post(
        "/purge",
        summary="Forget answers",
        status_code=204,
        openapi_extra=body(PURGE),
        responses=answers(400, 413),
    )
    async def purge(request: Request) -> Response:
        """Forget the cached answers of a team, or with null those of all."""
        value = await read_body(request)
        try:
            asked = msgspec.json.decode(value, type=_Purge)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadDocument(f"purge: {error}", [field_of(str(error))]) from error
        if asked.team is None and asked.org:
            raise BadDocument("purge: org: needs a team", [("org", "needs a team")])
        tenant = None if asked.team is None else tenant_of(asked.org, asked.team)
        await changes.make(request, "cache_purged", tenant or "all", lambda: cache.purge(tenant))
        return Response(status_code=204)

    return router
