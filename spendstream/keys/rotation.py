"""How a key changes: it gets another secret, and the one before opens a while longer; or it is revoked."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from spendstream.keys.definition import ApiKey

__all__ = ["replaced", "revoked"]


def replaced(key: ApiKey, new_hash: str, now: datetime, overlap: timedelta) -> ApiKey:
    """Return the key with a new secret; the present one opens for `overlap` more, one before it no more."""
    if not overlap:
        return replace(key, hash=new_hash, old_hash=None, old_until=None)
    return replace(key, hash=new_hash, old_hash=key.hash, old_until=now + overlap)


def revoked(key: ApiKey, now: datetime) -> ApiKey:
    """Return the key as it opens nothing any more; what was revoked stays so, since when it was."""
    return key if key.revoked_at else replace(key, revoked_at=now)
