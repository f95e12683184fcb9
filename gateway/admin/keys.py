"""API keys through the admin API: made, shown, changed, exchanged and revoked. A secret is shown once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from msgspec import Meta, Struct

from gateway.admin.answers import IfMatch, answers, check_match, etag, missing, read_body, shows
from gateway.admin.changes import Changes
from gateway.admin.schemas import KEY, KEY_ID, NEW_KEY, ROTATION, SHOWN_KEY, SHOWN_SECRET, body, listing
from gateway.admin.stores import Keys
from gateway.refusal import Refusal
from spendstream.clock import from_micros
from spendstream.documents import BadDocument, field_of, read_object
from spendstream.keys import ApiKey, new_id, new_key, replaced, revoked
from spendstream.keys.documents import KeyDocument, changed, created, document

__all__ = ["keys_router"]

_Id = Annotated[str, Path(pattern=KEY_ID)]
_DAY_S = 24 * 3600
_HASHES = ("hash", "old_hash")


class _Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    overlap_s: Annotated[float, Meta(ge=0, le=31 * _DAY_S)] = _DAY_S


_Change = Callable[[ApiKey], ApiKey]


class _Desk:
    """Changes keys, one at a time."""

    def __init__(self, keys: Keys, changes: Changes) -> None:
        self._keys = keys
        self._changes = changes
        self._one_at_a_time = asyncio.Lock()

    async def all(self) -> Mapping[str, KeyDocument]:
        return await self._keys.store.documents()

    async def add(self, request: Request, key: ApiKey) -> KeyDocument:
        async with self._one_at_a_time:
            self._refuse_in_file(key.id)
            if key.id in await self.all():
                raise Refusal(409, f"there is a key {key.id} already", reason="conflict", param="id")
            return await self._write(request, "key_created", None, document(key))

    async def change(
        self, request: Request, verb: str, name: str, if_match: str | None, change: _Change
    ) -> KeyDocument:
        async with self._one_at_a_time:
            self._refuse_in_file(name)
            known = (await self.all()).get(name)
            check_match("key", name, known, if_match)
            if known is None:
                raise missing("key", name)
            return await self._write(request, f"key_{verb}", known, document(change(known.key)))

    def _refuse_in_file(self, name: str) -> None:
        if name in self._keys.in_file:
            raise Refusal(
                409,
                f"key {name} is in the configuration file: change it there",
                reason="conflict",
                param="id",
            )

    async def _write(
        self, request: Request, kind: str, known: KeyDocument | None, made: KeyDocument
    ) -> KeyDocument:
        await self._changes.make(
            request, kind, made.id, lambda: self._keys.store.put(made), before=known, after=made
        )
        return made


def keys_router(keys: Keys, changes: Changes, clock: Callable[[], int]) -> APIRouter:
    """Return the routes. `clock` gives microseconds since 1970 UTC."""
    router = APIRouter(prefix="/keys", tags=["keys"])
    desk = _Desk(keys, changes)
    _add_reading(router, desk, keys)
    _add_making(router, desk, keys, clock)
    _add_changing(router, desk, clock)
    return router


def _add_reading(router: APIRouter, desk: _Desk, keys: Keys) -> None:
    listed = listing("keys", "api_key", SHOWN_KEY)

    @router.get("", summary="List keys", responses=shows(listed, tagged=False))
    async def list_keys() -> Response:
        """Return all keys that were made here, without their secrets, and the ids of those in the file."""
        found = [
            {"id": it.id, "etag": etag(it), "api_key": _public(it)}
            for _, it in sorted((await desk.all()).items())
        ]
        return _json({"keys": found, "in_file": sorted(keys.in_file)})

    @router.get("/{name}", summary="Show a key", responses=shows(SHOWN_KEY) | answers(400, 404))
    async def get_key(name: _Id) -> Response:
        """Return a key without its secret."""
        found = (await desk.all()).get(name)
        if found is None:
            raise missing("key", name)
        return _answer(found)


def _add_making(router: APIRouter, desk: _Desk, keys: Keys, clock: Callable[[], int]) -> None:
    @router.post(
        "",
        summary="Make a key",
        status_code=201,
        openapi_extra=body(NEW_KEY),
        responses=shows(SHOWN_SECRET, 201) | answers(400, 409, 413),
    )
    async def post_key(request: Request) -> Response:
        """Make a key. `key` in the answer is what its owner sends; nobody can ask for it again."""
        asked = _read(await read_body(request))
        name = asked.pop("id") if "id" in asked else new_id()
        secret = new_key(str(name))
        key = created({**asked, "id": name}, keys.hasher.hash(secret), from_micros(clock()))
        made = await desk.add(request, key)
        return _answer(made, secret, status=201, location=f"/admin/keys/{made.id}")

    @router.post(
        "/{name}/rotate",
        summary="Give a key another secret",
        openapi_extra=body(ROTATION, required=False),
        responses=shows(SHOWN_SECRET) | answers(400, 404, 409, 412, 413),
    )
    async def rotate_key(name: _Id, request: Request, if_match: IfMatch = None) -> Response:
        """Give a key another secret; the one before opens for `overlap_s` seconds more, a day if not said."""
        overlap = timedelta(seconds=_rotation(await read_body(request)).overlap_s)
        secret = new_key(name)

        def exchange(key: ApiKey) -> ApiKey:
            if key.revoked_at is not None:
                raise Refusal(409, f"key {name} is revoked", reason="conflict", param="id")
            return replaced(key, keys.hasher.hash(secret), from_micros(clock()), overlap)

        return _answer(await desk.change(request, "rotated", name, if_match, exchange), secret)


def _add_changing(router: APIRouter, desk: _Desk, clock: Callable[[], int]) -> None:
    @router.patch(
        "/{name}",
        summary="Change a key",
        openapi_extra=body(KEY),
        responses=shows(SHOWN_KEY) | answers(400, 404, 409, 412, 413),
    )
    async def patch_key(name: _Id, request: Request, if_match: IfMatch = None) -> Response:
        """Change the fields that are given; null takes one back to its default (RFC 7396)."""
        fields = _read(await read_body(request))
        return _answer(
            await desk.change(request, "changed", name, if_match, lambda key: changed(key, fields))
        )

    @router.post(
        "/{name}/revoke",
        summary="Revoke a key",
        responses=shows(SHOWN_KEY) | answers(400, 404, 409, 412),
    )
    async def revoke_key(name: _Id, request: Request, if_match: IfMatch = None) -> Response:
        """Have a key open nothing any more. It stays listed, and nobody gets its id."""
        return _answer(
            await desk.change(
                request, "revoked", name, if_match, lambda key: revoked(key, from_micros(clock()))
            )
        )


def _read(value: bytes) -> dict[str, Any]:
    try:
        return dict(read_object(value))
    except ValueError as error:
        raise BadDocument(f"key: {error}", [("document", str(error))]) from error


def _rotation(value: bytes) -> _Rotation:
    try:
        return msgspec.json.decode(value, type=_Rotation) if value else _Rotation()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadDocument(f"rotation: {error}", [field_of(str(error))]) from error


def _public(found: KeyDocument) -> dict[str, Any]:
    return {name: value for name, value in found.written.items() if name not in _HASHES}


def _answer(
    found: KeyDocument, secret: str | None = None, *, status: int = 200, location: str | None = None
) -> Response:
    headers = {"etag": etag(found), "cache-control": "no-store"}
    if location:
        headers["location"] = location
    content = {"key": secret, "api_key": _public(found)} if secret else _public(found)
    return _json(content, status, headers)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
