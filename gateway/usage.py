"""What a call used, as its provider says or as we count: tokens by kind."""

from __future__ import annotations

import msgspec
from msgspec import Struct

__all__ = ["Usage"]


class Usage(Struct, frozen=True, kw_only=True):
    """The tokens of a call, as in events: cache tokens are part of the input, reasoning of the output.

    `cache_write_1h_tokens` are those of the cache writes that are kept for an hour. Raises ValueError for
    counts that contradict each other.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        plain = self.input_tokens - self.cache_read_tokens - self.cache_write_tokens
        rests = (
            self.cache_write_tokens - self.cache_write_1h_tokens,
            self.output_tokens - self.reasoning_tokens,
        )
        if min(plain, *rests, *msgspec.structs.astuple(self)) < 0:
            raise ValueError(f"token counts that contradict each other: {self}")
