"""Models that are none: made-up answers, at the pace and with the failures of a profile.

The same seed and the same messages give the same answer, streamed or not. Tokens are counted for real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Literal, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.usage import Usage
from spendstream.config import Profile
from spendstream.errors import SpendstreamError
from spendstream.tokens import ChatMessage, count_text

__all__ = ["PROFILES", "Call", "Failure", "Models", "Piece", "Profile", "SimulatedModels"]

# fmt: off
_WORDS = (
    "the", "a", "of", "to", "and", "in", "is", "for", "on", "with", "that", "this", "it", "as", "are",
    "by", "from", "at", "or", "an", "be", "not", "all", "one", "more", "new", "time", "use", "work",
    "data", "cost", "team", "model", "value", "when", "which", "only", "first", "last", "most", "other",
    "each", "both", "same", "after", "before", "over", "under", "high", "low", "part", "place", "point",
    "line", "number", "system", "state", "level", "order", "rate", "change", "result", "case", "plan",
)
# fmt: on
"""Each is one token in both encodings, with a blank before it or without."""
_ERRORS = (
    (429, "rate_limit_exceeded", "the simulated provider is busy"),
    (500, "server_error", "the simulated provider failed"),
    (503, "overloaded", "the simulated provider is overloaded"),
)
_RETRY_AFTER_S = 1.0


class Call(Struct, frozen=True, kw_only=True):
    """What a model is asked."""

    model: str
    messages: Sequence[ChatMessage]
    input_tokens: int = 0
    max_tokens: int | None = None
    stream: bool = False
    body: bytes = b""


class Piece(Struct, frozen=True, kw_only=True):
    """A part of an answer. The last one says why the answer ends, and what it has used.

    The first one may say what the input has used already, and what came before the text.
    """

    text: str = ""
    finish_reason: Literal["stop", "length"] | None = None
    usage: Usage | None = None


class Failure(SpendstreamError):
    """A call that fails: with which HTTP status, and when to try again, in seconds."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class Models(Protocol):
    """Answers calls."""

    @property
    def models(self) -> Sequence[str]:
        """The models there are."""

    def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it comes (in one piece, if `call.stream` is off).

        Raises Failure, before the first piece or between two. Closing the generator ends the call.
        """


PROFILES: Mapping[str, Profile] = {
    "gpt-4": Profile(time_to_first_token=0.6, tokens_per_second=35, mean_output_tokens=220, error_rate=0.01),
    "gpt-3.5-turbo": Profile(
        time_to_first_token=0.25, tokens_per_second=90, mean_output_tokens=160, error_rate=0.005
    ),
    "claude-haiku": Profile(
        time_to_first_token=0.35, tokens_per_second=110, mean_output_tokens=180, error_rate=0.005
    ),
}
"""The defaults: a large, slow model and two small, fast ones."""


class SimulatedModels:
    """Imitates the models in `profiles`, `speed` times as fast; infinitely fast does not wait at all."""

    def __init__(
        self, profiles: Mapping[str, Profile] = PROFILES, *, seed: int = 0, speed: float = 1.0
    ) -> None:
        self._profiles = dict(profiles)
        self._seed = seed
        self._speed = speed
        self._luck = Random(seed)  # noqa: S311 - no secret depends on it
        self._encode = msgspec.msgpack.Encoder().encode
        for model in self._profiles:
            count_text(model, "")  # loads the encoding now, not while a first call waits

    @property
    def models(self) -> Sequence[str]:
        """The models that have a profile."""
        return tuple(self._profiles)

    async def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Yield a made-up answer. Raises Failure as often as the profile says."""
        profile = self._profiles[call.model]
        await self._wait(profile.time_to_first_token)
        self._maybe_fail(profile)
        words, cut, reasoning = self._words(call, profile)
        if reasoning:
            await self._wait(reasoning / profile.tokens_per_second)
        used = Usage(
            input_tokens=call.input_tokens,
            output_tokens=reasoning,
            cache_read_tokens=int(call.input_tokens * profile.cached_input),
            reasoning_tokens=reasoning,
        )
        breaks = self._luck.randrange(len(words)) if self._luck.random() < profile.break_rate else None
        if call.stream:
            for number, word in enumerate(words):
                if number == breaks:
                    raise Failure(500, "server_error", "the simulated provider broke down")
                yield Piece(text=word, usage=None if number else used)
                await self._wait(1 / profile.tokens_per_second)
        else:
            await self._wait(len(words) / profile.tokens_per_second)
        text = "".join(words)
        yield Piece(
            text="" if call.stream else text,
            finish_reason="length" if cut else "stop",
            usage=replace(used, output_tokens=reasoning + count_text(call.model, text)),
        )

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)

    def _maybe_fail(self, profile: Profile) -> None:
        if self._luck.random() < profile.error_rate:
            status, kind, message = self._luck.choice(_ERRORS)
            raise Failure(status, kind, message, retry_after=_RETRY_AFTER_S)

    def _words(self, call: Call, profile: Profile) -> tuple[list[str], bool, int]:
        """Return the answer's words, whether `max_tokens` cut it, and the tokens of thought before it."""
        prompt = self._encode((self._seed, call.model, call.messages))
        random = Random(blake2b(prompt, digest_size=8).digest())  # noqa: S311 - no secret depends on it
        wanted = max(1, round(random.lognormvariate(0, 0.6) * profile.mean_output_tokens))
        length = wanted if call.max_tokens is None else min(wanted, call.max_tokens)
        first, *others = random.choices(_WORDS, k=length)
        mean = profile.mean_reasoning_tokens
        reasoning = round(random.lognormvariate(0, 0.6) * mean) if mean else 0
        return [first, *(f" {word}" for word in others)], length < wanted, reasoning
