"""Dead letters: what is no valid event, kept as it came, with the reason and its place.

The letter's value is the original bytes, untouched; everything about it rides in headers, so that a letter
can be mended and sent back, and a reader needs no decoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Protocol, Self

import msgspec
from msgspec import Meta

from spendstream.positions import MAX_LINES

__all__ = ["DeadLetter", "DeadLetterOffice", "Stage"]

Stage = Literal["decode", "validate", "land"]

_PREFIX = "spendstream-"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event that could not be processed: a record, or one `line` of it.

    `timestamp` is the broker's, in milliseconds UTC.
    """

    topic: str
    partition: Annotated[int, Meta(ge=0, lt=2**31)]
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    line: Annotated[int, Meta(ge=0, lt=MAX_LINES)] = 0
    timestamp: Annotated[int, Meta(ge=-1, lt=2**53)]
    stage: Stage
    reason: str
    key: bytes | None
    value: bytes | None

    def headers(self) -> list[tuple[str, bytes]]:
        """Return what the letter's record says about the original.

        The original's key is among it: the letter's own is the topic. Like a record, it may have none.
        """
        key = [] if self.key is None else [("spendstream-key", self.key)]
        return [
            *key,
            ("spendstream-topic", self.topic.encode()),
            ("spendstream-partition", str(self.partition).encode()),
            ("spendstream-offset", str(self.offset).encode()),
            ("spendstream-line", str(self.line).encode()),
            ("spendstream-timestamp", str(self.timestamp).encode()),
            ("spendstream-stage", self.stage.encode()),
            ("spendstream-reason", self.reason.encode()),
        ]

    @classmethod
    def from_record(cls, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Self:
        """Return the letter that a record of the dead-letter topic holds; ValueError if it is none."""
        raw = {name: content or b"" for name, content in headers if name.startswith(_PREFIX)}
        said: dict[str, object] = {
            name.removeprefix(_PREFIX): content.decode("utf-8", "replace") for name, content in raw.items()
        }
        said |= {"key": raw.get(f"{_PREFIX}key"), "value": value}
        try:
            return msgspec.convert(said, cls, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"no dead letter of ours: {error}") from error


class DeadLetterOffice(Protocol):
    """Where dead letters go."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep `letters` for good; on return they are durable. Raises BrokerUnavailable."""
