"""Keys as text: how one is made, which of them it is, and the keyed hash that it is known by.

The hash is HMAC-SHA256 (RFC 2104) of the whole key, id included, with a secret of the server: who reads the
hashes can neither test guesses nor move a hash to another key. Secrets have 256 bits, so that nothing slow
is needed to protect them.
"""

from __future__ import annotations

import secrets
import string
from hashlib import sha256

__all__ = ["LONGEST", "PREFIX", "KeyHasher", "key_id", "new_id", "new_key"]

PREFIX = "sk-spend-"
LONGEST = 256
"""Bytes of what can be a key."""

_PREFIX = PREFIX.encode()
_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43  # 62 ** 43 > 2 ** 256
_READABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # without what looks alike
_ID_LENGTH = 10
_BLOCK = 64


class KeyHasher:
    """Hashes keys. Each hash begins with a copy of what the server's secret comes to, which never changes."""

    def __init__(self, secret: str) -> None:
        given = secret.encode()
        block = (sha256(given).digest() if len(given) > _BLOCK else given).ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, key: bytes) -> bytes:
        """Return the 32 bytes that a key is known by."""
        inner = self._inner.copy()
        inner.update(key)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def hash(self, key: str) -> str:
        """Return the same in hex, as it is kept."""
        return self.digest(key.encode()).hex()


def new_id() -> str:
    """Return an id that nobody has."""
    return "".join(secrets.choice(_READABLE) for _ in range(_ID_LENGTH))


def new_key(key_id: str) -> str:
    """Return a key with this id and a fresh secret."""
    return f"{PREFIX}{key_id}-{''.join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))}"


def key_id(given: bytes) -> str | None:
    """Return the id in what may be a key; None if no key looks like that."""
    if not given.startswith(_PREFIX) or len(given) > LONGEST:
        return None
    return given[len(_PREFIX) :].rpartition(b"-")[0].decode("ascii", "replace") or None
