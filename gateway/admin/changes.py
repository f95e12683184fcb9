"""A change through the admin API: audited before it is made, and again if it then fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request

from gateway.audit import Audit
from gateway.headers import peer
from spendstream.documents import Document
from spendstream.errors import SpendstreamError

__all__ = ["Changes"]


class Changes:
    """Makes changes, each known to the audit log; `who` names the admin key without telling it."""

    def __init__(self, audit: Audit, who: str) -> None:
        self._audit = audit
        self._who = who

    async def make(
        self,
        request: Request,
        kind: str,
        name: str,
        change: Callable[[], Awaitable[None]],
        *,
        before: Document | None = None,
        after: Document | None = None,
    ) -> None:
        """Make a change of what is called `name`. Raises TransientError."""
        fields: dict[str, Any] = {
            "who": self._who,
            "address": peer(request.scope),
            "id": name,
            "before": before.tag if before else None,
            "after": after.tag if after else None,
        }
        await self._audit.record(kind, fields)
        try:
            await change()
        except SpendstreamError as error:
            self._audit.note(f"{kind}_failed", {**fields, "why": str(error)})
            raise
