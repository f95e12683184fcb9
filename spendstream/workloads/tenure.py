"""Since when something is billed: what an account remembers over a restart, and that it is small."""

from __future__ import annotations

from hashlib import blake2b

from msgspec import Struct

__all__ = ["Billed", "digest"]

_DIGEST_BYTES = 16


class Billed(Struct, frozen=True, kw_only=True):
    """What an account has billed: the things that are `known`, by their digests, up to `until`.

    Things it does not know are billed from their own beginning, but not from before `since`: what a cluster
    spent before there was an account of it is not told by its objects. `closing` is up to when samples were
    being made when this was written. Microseconds since 1970 UTC.
    """

    since: int
    until: int
    closing: int
    known: frozenset[bytes] = frozenset()

    @classmethod
    def nothing(cls, now: int) -> Billed:
        """Return what a new account has billed."""
        return cls(since=now, until=now, closing=now)

    def begin(self, key: bytes, started: int) -> int:
        """Return from when something that started then is to be billed."""
        return max(started, self.until if key in self.known else self.since)


def digest(*names: str) -> bytes:
    """Return what stands for a thing in state and ids."""
    return blake2b("/".join(names).encode(), digest_size=_DIGEST_BYTES).digest()
