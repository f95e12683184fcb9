"""What is tried until an answer is there: the candidates in their order, each again as its provider says.

Only what was not passed on yet can be tried again: a whole answer until it is complete, a stream until its
first bytes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from time import monotonic

from msgspec import Struct

from gateway.upstream.client import BrokenOff, TooSlow
from gateway.upstream.provider import (
    AccountRefused,
    AnyAnswer,
    Candidate,
    ProviderError,
    Untranslatable,
    provider_error,
)

__all__ = ["UNREACHABLE", "Begun", "begin"]

UNREACHABLE = "provider_unreachable"
"""The error type of an attempt that got no answer, whose status is ours."""

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request can go well."""
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
"""Who asks for more patience than that is left, for the next candidate or for good."""
_GONE = 502
_TOO_SLOW = 504
_SUCCESS = range(200, 300)


class Begun(Struct, frozen=True, kw_only=True):
    """An answer: `first` is all of it, or of a stream the beginning."""

    answer: AnyAnswer
    first: bytes


async def begin(
    candidates: Sequence[Candidate],
    path: str,
    body: Callable[[str], bytes],
    *,
    stream: bool,
    tried: Callable[[Candidate], bytes],
    failed: Callable[[ProviderError], None],
) -> Begun:
    """Return the first answer. `body` makes the request for a model.

    `tried` hears of each attempt and returns lines of headers for it, `failed` of those that fail. Raises the
    last ProviderError when nobody answers, and at once one that another attempt cannot mend.
    """
    last: ProviderError | None = None
    for candidate in candidates:
        breaker = candidate.provider.breaker(candidate.model)
        for attempt in range(1 + candidate.provider.retries):
            if not breaker.allows(monotonic()):
                break
            breaker.begun(monotonic())
            headers = tried(candidate)
            try:
                answer, first = await _once(candidate, path, headers, body(candidate.model), stream=stream)
            except Untranslatable as error:  # it was not asked, and the next one may have words for it
                failed(error)
                last = last or error
                break
            except AccountRefused as error:  # the next one has another key
                failed(error)
                breaker.failed(monotonic())
                last = error
                break
            except ProviderError as error:
                failed(error)
                if error.status not in _PASSING:
                    breaker.succeeded()  # it is there, and says that the request is at fault
                    raise
                breaker.failed(monotonic())
                last = error
                wait = _wait(attempt, error)
                if wait is None or attempt == candidate.provider.retries:
                    break
                await asyncio.sleep(wait)
            else:
                breaker.succeeded()
                return Begun(answer=answer, first=first)
    raise last or ProviderError(
        503, "circuit_open", "all providers of this model have failed just now", retry_after=5.0
    )


async def _once(
    candidate: Candidate, path: str, headers: bytes, body: bytes, *, stream: bool
) -> tuple[AnyAnswer, bytes]:
    answer: AnyAnswer | None = None
    try:
        answer = await candidate.provider.send(path, headers, body)
        if answer.status not in _SUCCESS:
            raise provider_error(candidate.provider.name, answer, await answer.read_all())
        return answer, await (answer.read() if stream else answer.read_all())
    except BrokenOff as error:
        status = _TOO_SLOW if isinstance(error, TooSlow) else _GONE
        raise ProviderError(status, UNREACHABLE, f"{candidate.provider.name}: {error}") from error
    except asyncio.CancelledError:
        if answer is not None:
            answer.close()
        raise


def _wait(attempt: int, error: ProviderError) -> float | None:
    """Return the seconds to wait before the same is tried again; None if that is too long."""
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= _LONGEST_WAIT_S else None
    jitter = random.uniform(0.5, 1)  # noqa: S311 - no secret
    return min(_FIRST_WAIT_S * float(2**attempt), _LONGEST_WAIT_S) * jitter
