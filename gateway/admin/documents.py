"""Documents that are listed, shown, set and deleted: one set of routes for each kind of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from fastapi import APIRouter, Path, Request, Response

from gateway.admin.answers import IfMatch, answers, check_match, etag, missing, read_body, shown, shows
from gateway.admin.changes import Changes
from gateway.admin.schemas import Schema, body, listing
from gateway.admin.stores import Store
from gateway.refusal import Refusal
from spendstream.documents import Document

__all__ = ["Kind", "documents_router"]

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[D]):
    """A kind of documents: where one is kept, how it is read, what ids match; those `in_file` are fixed."""

    singular: str
    plural: str
    schema: Schema
    store: Store[D]
    decode: Callable[[str, bytes], D]
    ids: str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
    in_file: Collection[str] = ()
    file: str = "the configuration file"


def documents_router(kind: Kind[D], changes: Changes) -> APIRouter:
    """Return the routes of a kind."""
    router = APIRouter(prefix=f"/{kind.plural}", tags=[kind.plural])
    _add_reading(router, kind)
    _add_writing(router, kind, changes)
    return router


def _add_reading(router: APIRouter, kind: Kind[D]) -> None:
    what, many, named = kind.singular, kind.plural, Path(pattern=kind.ids)

    @router.get("", summary=f"List {many}", responses=shows(listing(many, what, kind.schema), tagged=False))
    async def list_documents() -> Response:
        """Return all that were set here, and the ids of those in the file."""
        found = [
            {"id": it.id, "etag": etag(it), what: msgspec.Raw(it.encoded)}
            for _, it in sorted((await kind.store.documents()).items())
        ]
        listed = {many: found, "in_file": sorted(kind.in_file)}
        return Response(msgspec.json.encode(listed), media_type="application/json")

    @router.get("/{name}", summary=f"Show a {what}", responses=shows(kind.schema) | answers(400, 404))
    async def get_document(name: str = named) -> Response:
        """Return one as it was written; its ETag tells this state from any other."""
        return shown(_found(kind, await kind.store.documents(), name))


def _add_writing(router: APIRouter, kind: Kind[D], changes: Changes) -> None:
    what, named = kind.singular, Path(pattern=kind.ids)
    one_at_a_time = asyncio.Lock()

    @router.put(
        "/{name}",
        summary=f"Set a {what}",
        openapi_extra=body(kind.schema),
        responses=shows(kind.schema) | answers(400, 404, 409, 412, 413),
    )
    async def put_document(request: Request, name: str = named, if_match: IfMatch = None) -> Response:
        """Set one, whole; the answer comes when Kafka has it."""
        document = kind.decode(name, await read_body(request))
        async with one_at_a_time:
            known = _checked(kind, await kind.store.documents(), name, if_match)
            await changes.make(
                request,
                f"{what}_set",
                name,
                lambda: kind.store.put(document),
                before=known,
                after=document,
            )
        return shown(document)

    @router.delete(
        "/{name}", summary=f"Delete a {what}", status_code=204, responses=answers(400, 404, 409, 412)
    )
    async def delete_document(request: Request, name: str = named, if_match: IfMatch = None) -> Response:
        """Delete one."""
        async with one_at_a_time:
            documents = await kind.store.documents()
            known = _checked(kind, documents, name, if_match) or _found(kind, documents, name)
            await changes.make(
                request, f"{what}_deleted", name, lambda: kind.store.delete(name), before=known
            )
        return Response(status_code=204)


def _checked(kind: Kind[D], documents: Mapping[str, D], name: str, if_match: str | None) -> D | None:
    """Return the document as it is; refuse to change what is in the file, or not as the caller believes."""
    if name in kind.in_file:
        raise Refusal(
            409,
            f"{kind.singular} {name} is in {kind.file}: change it there",
            reason="conflict",
            param="id",
        )
    known = documents.get(name)
    check_match(kind.singular, name, known, if_match)
    return known


def _found(kind: Kind[D], documents: Mapping[str, D], name: str) -> D:
    if name not in documents:
        raise missing(kind.singular, name)
    return documents[name]
