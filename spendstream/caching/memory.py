"""Answers in this process, bounded by bytes: what is worth least for its room goes first.

Greedy-Dual-Size-Frequency (Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency
Caching Policy", 1998): an answer's priority is what its hits save for each byte, and a clock that rises to
the priority of whatever was evicted last, so that old merit fades. Least recently used would let a flood of
large, cheap answers push out the dear ones.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace

from msgspec import Struct

from spendstream.caching.answers import Answer

__all__ = ["MemoryAnswers"]

_UNPRICED = 10**9
"""Picodollars that an answer counts for if its cost is not known or nothing: a tenth of a cent."""
_SLACK = 64


class _Kept(Struct, kw_only=True):
    answer: Answer
    serial: int
    expires_at: int
    priority: float
    uses: int


class MemoryAnswers:
    """An `AnswerStore` of at most `max_bytes`, shared by all tenants."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._clock = 0.0
        self._serial = 0
        self._tenants: dict[str, dict[bytes, _Kept]] = {}
        self._by_serial: dict[int, _Kept] = {}
        # Heaps of serials, which may name what is gone.
        self._by_priority: list[tuple[float, int]] = []
        self._by_expiry: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._by_serial)

    @property
    def taken(self) -> int:
        """Bytes that are taken now."""
        return self._bytes

    async def find(self, tenant: str, digest: bytes, now: int) -> Answer | None:
        """Return the answer that was kept, if its time is not over."""
        kept = self._tenants.get(tenant, {}).get(digest)
        if kept is None:
            return None
        if kept.expires_at <= now:
            self._drop(kept)
            return None
        kept.uses += 1
        kept.priority = self._worth(kept)
        return kept.answer

    async def keep(self, answer: Answer, ttl: int, now: int) -> None:
        """Keep an answer for `ttl` microseconds at most; not one that would take an eighth of all room."""
        before = self._tenants.get(answer.tenant, {}).get(answer.digest)
        if before is not None:
            self._drop(before)
        if ttl <= 0 or answer.size > self._max_bytes // 8:
            return
        self._make_room(answer.size, now)
        self._serial += 1
        kept = _Kept(
            answer=answer,
            serial=self._serial,
            expires_at=now + ttl,
            priority=0.0,
            uses=before.uses if before else 1,
        )
        kept.priority = self._worth(kept)
        self._bytes += answer.size
        self._tenants.setdefault(answer.tenant, {})[answer.digest] = self._by_serial[kept.serial] = kept
        heappush(self._by_priority, (kept.priority, kept.serial))
        heappush(self._by_expiry, (kept.expires_at, kept.serial))
        self._sweep()

    async def purge(self, tenant: str | None) -> None:
        """Forget all answers of a tenant; of all tenants if None."""
        for name in [tenant] if tenant is not None else list(self._tenants):
            for kept in list(self._tenants.get(name, {}).values()):
                self._drop(kept)
        self._sweep()

    def _worth(self, kept: _Kept) -> float:
        return self._clock + kept.uses * (kept.answer.cost or _UNPRICED) / kept.answer.size

    def _make_room(self, size: int, now: int) -> None:
        """Drop what has expired, then what is worth least, until `size` more bytes fit."""
        while self._by_expiry and self._by_expiry[0][0] <= now:
            expired = self._by_serial.get(heappop(self._by_expiry)[1])
            if expired is not None:
                self._drop(expired)
        while self._bytes + size > self._max_bytes:
            priority, serial = self._by_priority[0]
            kept = self._by_serial.get(serial)
            if kept is None:
                heappop(self._by_priority)
            elif kept.priority > priority:  # it was used since
                heapreplace(self._by_priority, (kept.priority, serial))
            else:
                self._clock = priority
                self._drop(kept)

    def _drop(self, kept: _Kept) -> None:
        answer = kept.answer
        own = self._tenants[answer.tenant]
        del own[answer.digest], self._by_serial[kept.serial]
        if not own:
            del self._tenants[answer.tenant]
        self._bytes -= answer.size

    def _sweep(self) -> None:
        """Clear the heaps of what is gone, once that is more than what is there."""
        most = 2 * len(self._by_serial) + _SLACK
        if len(self._by_priority) > most:
            self._by_priority = [each for each in self._by_priority if each[1] in self._by_serial]
            heapify(self._by_priority)
        if len(self._by_expiry) > most:
            self._by_expiry = [each for each in self._by_expiry if each[1] in self._by_serial]
            heapify(self._by_expiry)
