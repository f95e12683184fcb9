"""Dead letters: records that are no valid event, kept as they came, with the reason and their place.

The record's value is the original bytes, untouched; everything about it rides in headers, so that a letter
can be mended and sent back, and a reader needs no decoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, Self

import msgspec

__all__ = ["DeadLetter", "DeadLetterOffice", "Stage"]

Stage = Literal["decode", "validate", "land"]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One record that could not be processed. `timestamp` is the broker's, in milliseconds UTC."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    stage: Stage
    reason: str
    key: bytes | None
    value: bytes | None

    def headers(self) -> list[tuple[str, bytes]]:
        """Return what the letter's record says about the original."""
        return [
            ("spendstream-topic", self.topic.encode()),
            ("spendstream-partition", str(self.partition).encode()),
            ("spendstream-offset", str(self.offset).encode()),
            ("spendstream-timestamp", str(self.timestamp).encode()),
            ("spendstream-stage", self.stage.encode()),
            ("spendstream-reason", self.reason.encode()),
        ]

    @classmethod
    def from_record(
        cls, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]
    ) -> Self:
        """Return the letter that a record of the dead-letter topic holds; ValueError if it is none."""
        said: Mapping[str, str] = {name: text.decode("utf-8", "replace") for name, text in headers}
        try:
            return cls(
                topic=said["spendstream-topic"],
                partition=int(said["spendstream-partition"]),
                offset=int(said["spendstream-offset"]),
                timestamp=int(said["spendstream-timestamp"]),
                stage=msgspec.convert(said["spendstream-stage"], Stage),
                reason=said["spendstream-reason"],
                key=key,
                value=value,
            )
        except (KeyError, msgspec.ValidationError) as error:
            raise ValueError(f"no dead letter of ours: header {error} is missing or wrong") from error


class DeadLetterOffice(Protocol):
    """Where dead letters go."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep `letters` for good; on return they are durable. Raises BrokerUnavailable."""
