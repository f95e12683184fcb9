"""Public fakes: a publisher and an audit log that remember, and models that follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from gateway.simulated import Call, Piece
from spendstream.codec import TOKENS
from spendstream.errors import TransientError
from spendstream.events import TokenUsage

__all__ = ["RecordingAudit", "RecordingPublisher", "ScriptedModels", "Step"]

Step = Piece | Exception | asyncio.Event
"""A piece to yield, an error to raise, or an event to wait for."""


class RecordingAudit:
    """Keeps entries, as kind and fields; `broken` makes it fail as one with a full disk does."""

    def __init__(self) -> None:
        self.broken = False
        self.entries: list[tuple[str, Mapping[str, Any]]] = []

    def note(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Keep an entry."""
        self.entries.append((kind, fields))

    async def record(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Keep an entry, or fail."""
        if self.broken:
            raise TransientError("the audit log cannot be written", retry_after=5)
        self.note(kind, fields)


class RecordingPublisher:
    """Keeps what is emitted; `broken` makes it fail as one with a broken disk does."""

    def __init__(self, *, free_bytes: int = 1 << 30) -> None:
        self.free_bytes = free_bytes
        self.broken = False
        self.records: list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]] = []

    @property
    def events(self) -> list[TokenUsage]:
        """The events, as a consumer decodes them."""
        return [TOKENS.decode(value) for _, _, value, _ in self.records]

    def emit(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Keep one record."""
        if self.broken:
            raise TransientError("the disk is broken", retry_after=2.5)
        self.records.append((topic, key, value, headers))


class ScriptedModels:
    """Plays the same script for every call, and counts the calls and those that came to an end."""

    def __init__(self, script: Sequence[Step], *, models: Sequence[str] = ("gpt-4",)) -> None:
        self.models = models
        self.script = script
        self.calls: list[Call] = []
        self.closed = 0

    async def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Play the script."""
        self.calls.append(call)
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    await asyncio.sleep(0)
                    yield step
        finally:
            self.closed += 1
