"""Sending made-up traffic to a gateway over HTTP, at its own pace however slow the answers are."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
from msgspec import Struct

from producers.sender import Progress
from producers.traffic import Call
from spendstream.errors import TransientError

__all__ = ["Loaded", "load"]

_PATH = "/v1/chat/completions"
_ANSWER_S = 120.0
_START_S = 30.0  # how long the gateway may take to start
_DRAIN_S = 5.0  # how long calls may take to end once we stop
_RETRY_S = 0.2
_READ_BYTES = 1 << 16
_REMEMBERED = 10_000  # durations; the newest of them make the percentiles
_PERCENT = 100
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


class Loaded(Struct, frozen=True, kw_only=True):
    """What became of the calls: answers by status, failures by kind; how long the last 10,000 took."""

    calls: int
    statuses: dict[str, int]
    failures: dict[str, int]
    seconds: float
    median_ms: float | None
    p95_ms: float | None

    @property
    def succeeded(self) -> int:
        """How many calls were answered with a status of success."""
        return sum(count for status, count in self.statuses.items() if status.startswith("2"))


class _Tally:
    def __init__(self) -> None:
        self.calls = 0
        self.statuses: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.durations: deque[float] = deque(maxlen=_REMEMBERED)

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = asyncio.get_running_loop().time()
        self.calls += 1
        try:
            yield
        except _FAILURES as error:
            self.failures[type(error).__name__] += 1
        except asyncio.CancelledError:
            self.failures["unfinished"] += 1
            raise
        else:
            self.durations.append(asyncio.get_running_loop().time() - began)

    def result(self, seconds: float) -> Loaded:
        return Loaded(
            calls=self.calls,
            statuses=dict(sorted(self.statuses.items())),
            failures=dict(sorted(self.failures.items())),
            seconds=round(seconds, 3),
            median_ms=self._percentile(50),
            p95_ms=self._percentile(95),
        )

    def _percentile(self, percent: int) -> float | None:
        if len(self.durations) < 2:  # noqa: PLR2004 - percentiles are between two
            return None
        cuts = statistics.quantiles(self.durations, n=_PERCENT, method="inclusive")
        return round(1000 * cuts[percent - 1], 3)


async def load(
    url: str,
    calls: Iterable[Call],
    *,
    stop: asyncio.Event,
    seconds: float | None = None,
    api_key: str | None = None,
    at_once: int = 256,
    progress: Progress,
) -> Loaded:
    """Make `calls` when they are due, until `stop` is set or `seconds` have passed; let the last ones end.

    While `at_once` of them wait for an answer, the next one waits for its turn: with 1, calls follow one
    another.

    With an `api_key` the gateway knows whose calls they are; without one, headers say so. Raises
    TransientError when no gateway answers at `url` in half a minute.
    """
    loop, tally = asyncio.get_running_loop(), _Tally()
    under_way = set[asyncio.Task[None]]()
    timeout, connector = aiohttp.ClientTimeout(total=_ANSWER_S), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        await _until_there(session, url, stop, progress)
        started = loop.time()
        async for call in _due(calls, stop, seconds):
            task = asyncio.create_task(_make(session, call, api_key, tally))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            progress.sent(1)
            while len(under_way) >= at_once and not stop.is_set():
                await asyncio.wait(under_way, timeout=_RETRY_S, return_when=asyncio.FIRST_COMPLETED)
        await _let_end(under_way)
        return tally.result(loop.time() - started)


async def _due(calls: Iterable[Call], stop: asyncio.Event, seconds: float | None) -> AsyncIterator[Call]:
    """Yield each call when its time has come, until `stop` is set or `seconds` have passed."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for call in calls:
        if seconds is not None and max(call.at, loop.time() - started) >= seconds:
            await _pause(started + seconds - loop.time(), stop)
            return
        await _pause(started + call.at - loop.time(), stop)
        if stop.is_set():
            return
        yield call


async def _until_there(
    session: aiohttp.ClientSession, url: str, stop: asyncio.Event, progress: Progress
) -> None:
    """Return when anything answers, whatever it says."""
    try:
        async with asyncio.timeout(_START_S):
            while not stop.is_set():
                try:
                    async with session.get("/health"):
                        return
                except (aiohttp.ClientError, OSError):
                    progress.waiting(f"no gateway answers at {url} yet; trying again")
                    await _pause(_RETRY_S, stop)
    except TimeoutError as error:
        raise TransientError(f"no gateway answers at {url}: start one with `spendstream gateway`") from error


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    if seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()


async def _make(session: aiohttp.ClientSession, call: Call, api_key: str | None, tally: _Tally) -> None:
    with tally.timed():
        async with session.post(_PATH, json=_body(call), headers=_headers(call, api_key)) as answer:
            async for _ in answer.content.iter_chunked(_READ_BYTES):
                pass
            tally.statuses[str(answer.status)] += 1


def _body(call: Call) -> Mapping[str, Any]:
    return {
        "model": call.model,
        "messages": [{"role": "user", "content": call.prompt}],
        "max_tokens": call.max_tokens,
        "stream": call.stream,
        "user": call.user,
    }


def _headers(call: Call, api_key: str | None) -> Mapping[str, str]:
    user = {"x-spendstream-user": call.user}
    if api_key is not None:
        return {"authorization": f"Bearer {api_key}", **user}
    return {
        "x-spendstream-team": call.team,
        "x-spendstream-project": call.project,
        "x-spendstream-environment": call.environment,
        **user,
    }


async def _let_end(under_way: set[asyncio.Task[None]]) -> None:
    if under_way:
        _, unfinished = await asyncio.wait(under_way, timeout=_DRAIN_S)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
