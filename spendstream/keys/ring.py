"""All keys, and whether what somebody sends is one of them now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hmac import compare_digest
from typing import Literal, NamedTuple

from spendstream.clock import to_micros
from spendstream.keys.definition import ApiKey
from spendstream.keys.secret import KeyHasher, key_id

__all__ = ["KeyRing", "Verdict", "Why"]

Why = Literal["", "malformed", "unknown", "wrong_secret", "superseded", "expired", "revoked"]

_NOBODY = bytes(32)  # no input has this hash, as far as anybody knows


class Verdict(NamedTuple):
    """What came of a check. `id` is that of a key that there is; `why`, if any, is why it opens nothing."""

    id: str
    why: Why


class _Entry(NamedTuple):
    id: str
    hash: bytes
    old_hash: bytes
    old_until: int
    expires_at: int
    revoked: bool


_UNKNOWN = _Entry("", _NOBODY, _NOBODY, 0, 0, revoked=False)
_NEVER = 1 << 63


class KeyRing:
    """Keys by id. What has no key costs the same work as what has one, and as a wrong secret."""

    def __init__(self, hasher: KeyHasher, keys: Iterable[ApiKey]) -> None:
        self._digest = hasher.digest
        self._entries = {key.id: _entry(key) for key in keys}

    def check(self, given: bytes, now: int) -> Verdict:
        """Tell which key was given at `now` (microseconds since 1970 UTC), and whether it opens anything."""
        name = key_id(given)
        entry = self._entries.get(name, _UNKNOWN) if name is not None else _UNKNOWN
        digest = self._digest(given)
        current = compare_digest(digest, entry.hash)
        old = compare_digest(digest, entry.old_hash)
        if entry is _UNKNOWN:
            return Verdict("", "malformed" if name is None else "unknown")
        if not current and not old:
            return Verdict(entry.id, "wrong_secret")
        if entry.revoked:
            return Verdict(entry.id, "revoked")
        if now >= entry.expires_at:
            return Verdict(entry.id, "expired")
        if not current and now >= entry.old_until:
            return Verdict(entry.id, "superseded")
        return Verdict(entry.id, "")


def _entry(key: ApiKey) -> _Entry:
    return _Entry(
        id=key.id,
        hash=bytes.fromhex(key.hash),
        old_hash=bytes.fromhex(key.old_hash) if key.old_hash else _NOBODY,
        old_until=_micros(key.old_until, 0),
        expires_at=_micros(key.expires_at, _NEVER),
        revoked=key.revoked_at is not None,
    )


def _micros(moment: datetime | None, otherwise: int) -> int:
    return otherwise if moment is None else to_micros(moment)
