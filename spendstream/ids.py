"""Event ids: UUIDs that sort by event time (RFC 9562, version 7), fresh or derived.

Live events get a random tail. Rows of a recording get a tail derived from the recording and the row, so that
importing the same rows again makes the same ids, and the duplicates are dropped downstream. So it is with
repricings: the tail is derived from the original's id, and an event can be repriced once.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from uuid import UUID

__all__ = ["derived_id", "new_id", "repricing_id"]

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_TAIL_BITS = 74
_PAGE = 4096


class _Random:
    """The system's randomness, fetched a page at a time: asking for it takes as long as all else of an id.

    A child that was forked begins with none, so as not to repeat its parent's.
    """

    def __init__(self) -> None:
        self._page, self._used = b"", _PAGE
        os.register_at_fork(after_in_child=self._forget)

    def take(self, size: int) -> bytes:
        """Return that many bytes, which nobody else gets."""
        if self._used + size > _PAGE:
            self._page, self._used = os.urandom(_PAGE), 0
        self._used += size
        return self._page[self._used - size : self._used]

    def _forget(self) -> None:
        self._page, self._used = b"", _PAGE


_random = _Random()


def new_id(event_time: int) -> UUID:
    """Return a fresh id for an event at `event_time` (microseconds since 1970 UTC)."""
    return _at(event_time, int.from_bytes(_random.take(10), "big") >> (80 - _TAIL_BITS))


def derived_id(event_time: int, recording: bytes, row: int) -> UUID:
    """Return the id of row number `row` of a recording that has the digest `recording` (64 bytes at most)."""
    digest = blake2b(row.to_bytes(8, "big"), key=recording, digest_size=10).digest()
    return _at(event_time, int.from_bytes(digest, "big") >> (80 - _TAIL_BITS))


def repricing_id(event_time: int, original: UUID) -> UUID:
    """Return the id of the event that prices `original`, an event at `event_time` (microseconds)."""
    digest = blake2b(original.bytes, person=b"repricing", digest_size=10).digest()
    return _at(event_time, int.from_bytes(digest, "big") >> (80 - _TAIL_BITS))


def _at(event_time: int, tail: int) -> UUID:
    millis = max(event_time, 0) // 1000 & 0xFFFF_FFFF_FFFF
    high, low = tail >> 62, tail & ((1 << 62) - 1)
    return UUID(int=millis << 80 | _VERSION_7 | high << 64 | _VARIANT | low)
