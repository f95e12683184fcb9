"""What a key is: whose spend its calls are, what they may ask for, and for how long it opens anything."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

__all__ = ["APIS", "Api", "ApiKey", "KeyId", "Moment"]

Api = Literal["chat", "completions", "embeddings", "responses", "messages", "models"]
APIS: tuple[Api, ...] = get_args(Api)

KeyId = Annotated[str, Meta(pattern="^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$")]
"""Short and readable: it is part of the key, and stands in events and logs."""
Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its offset from UTC, such as 2027-01-01T00:00:00Z."""

_Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, Meta(max_length=512, pattern="^[^\x00]*$")]
_Pattern = Annotated[str, Meta(min_length=1, max_length=200)]


class ApiKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key, without its secret. No `apis` are all of them, and no `models` (patterns with *) all models.

    While a key is exchanged it has two secrets: the one before opens until `old_until`.
    """

    id: KeyId
    hash: _Digest
    team: Annotated[str, Meta(min_length=1, max_length=512, pattern="^[^\x00]*$")]
    org: _Name = ""
    project: _Name = ""
    environment: _Name = ""
    service: _Name = ""
    name: _Name = ""
    apis: Annotated[tuple[Api, ...], Meta(max_length=len(APIS))] = ()
    models: Annotated[tuple[_Pattern, ...], Meta(max_length=100)] = ()
    created_at: Moment | None = None
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    old_hash: _Digest | None = None
    old_until: Moment | None = None
