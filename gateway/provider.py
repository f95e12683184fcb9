"""The seam between the gateway and whoever runs the models: one call in, an answer in pieces out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from spendstream.errors import SpendstreamError
from spendstream.tokens import ChatMessage

__all__ = ["ChatCall", "FinishReason", "Piece", "Provider", "ProviderError", "Usage"]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


class ChatCall(Struct, frozen=True, kw_only=True):
    """A validated chat request. `body` has its original bytes, for a provider that hands them on."""

    model: str
    messages: Sequence[ChatMessage]
    max_tokens: int | None = None
    temperature: float | None = None
    stream: bool = False
    body: bytes = b""


class Usage(Struct, frozen=True, kw_only=True):
    """The tokens of a call, as in events: cache tokens are part of the input, reasoning of the output.

    Raises ValueError for counts that contradict each other.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        plain = self.input_tokens - self.cache_read_tokens - self.cache_write_tokens
        counts = (plain, self.output_tokens - self.reasoning_tokens, *msgspec.structs.astuple(self))
        if min(counts) < 0:
            raise ValueError(f"token counts that contradict each other: {self}")


class Piece(Struct, frozen=True, kw_only=True):
    """A part of an answer. The last one says why the answer ends; of several usages the last counts."""

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class ProviderError(SpendstreamError):
    """A call that the provider refused or broke off: with which HTTP status, and when to try again."""

    def __init__(
        self, status: int, error_type: str, message: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.retry_after = retry_after


class Provider(Protocol):
    """Runs models."""

    @property
    def name(self) -> str:
        """Who it is, in events and in the price book."""

    @property
    def models(self) -> Sequence[str]:
        """The models it serves."""

    def answer(self, call: ChatCall) -> AsyncGenerator[Piece, None]:
        """Call the model; yield the answer as it comes (in one piece, if `call.stream` is off).

        Raises ProviderError, before the first piece or between two. Closing the generator ends the call.
        """
