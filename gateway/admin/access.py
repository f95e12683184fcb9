"""Who may use the admin API: whoever has its key, which is known by its SHA-256 only."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.headers import peer, read_headers
from gateway.security import Security

__all__ = ["keeper"]

_BEARER = HTTPBearer(auto_error=False, description="the admin key")


def keeper(key_sha256: str, security: Security) -> Callable[..., Awaitable[None]]:
    """Return what lets nobody else in. `key_sha256` is in hex."""

    async def keep(
        request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> None:
        read_headers(request.headers.raw)
        digest = sha256((given.credentials if given else "").encode()).hexdigest()
        if not given or not hmac.compare_digest(digest, key_sha256):
            raise security.admin_refused(peer(request.scope), guessed=given is not None)

    return keep
