"""Load on a gateway, from a process of its own: connections that each ask again once they are answered.

Every reply is checked: its status, that it is complete, and that it has the usage that the provider reported.
The prompts have 900 bytes of JSON around words that differ from one to the next; each has a number, so that
no two are the same unless they are to be.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Mapping
from itertools import chain, count, repeat
from random import Random
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop
from httptools import HttpResponseParser
from msgspec import Struct

from benchmarks.children import BenchmarkError, tree_cpu_seconds
from benchmarks.peers.upstream import INPUT_TOKENS

__all__ = ["BODY_BYTES", "Load", "Loaded", "load", "requests"]

BODY_BYTES = 900
_VARIANTS = 256
_NUMBER = 12  # digits
_OK = 200
_SHOWN = 600  # bytes of a reply that is not as it should be
_SLACK_S = 60.0
_CONNECT_S = 10.0

# fmt: off
_WORDS = (
    "budget", "quarter", "revenue", "forecast", "customer", "engineer", "invoice", "latency", "cluster",
    "database", "release", "migration", "dashboard", "incident", "contract", "supplier", "inventory",
    "shipment", "schedule", "estimate", "variance", "summary", "compare", "explain", "describe", "improve",
    "between", "because", "however", "without", "several", "during", "against", "monthly", "regional",
)
# fmt: on


class Load(Struct, frozen=True, kw_only=True):
    """What to ask of whom, and how often: until `requests` are answered or `seconds` are over.

    Prompts are numbered from `first` on; with `same` they all have that number. `chunks` is the length of the
    answers in tokens. `pids` are processes whose CPU time is to be known, by name, with their children.
    """

    url: str
    headers: Mapping[str, str]
    model: str
    stream: bool
    chunks: int
    connections: int
    requests: int
    seconds: float
    first: int
    same: bool
    pids: Mapping[str, int]


class Loaded(Struct, frozen=True, kw_only=True):
    """What came of it. Times are microseconds: of a whole reply, and until its body began.

    `cpu_us` is CPU time for each request, by process; `client_percent` is the load's own share of a core.
    """

    requests: int
    seconds: float
    requests_per_second: float
    p50_us: float
    p99_us: float
    first_p50_us: float
    cpu_us: Mapping[str, float]
    client_percent: float


class _Mistake(Exception):
    """A reply is not as it should be."""


def load(wanted: Load) -> Loaded:
    """Put load on a gateway from another process; raise BenchmarkError for a reply that is wrong."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.loading", msgspec.json.encode(wanted).decode()],
            check=False, capture_output=True, text=True, timeout=wanted.seconds + _SLACK_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{wanted.url}: replies stopped coming") from error
    if ran.returncode:
        raise BenchmarkError(f"{wanted.url}: {ran.stderr.strip()[-_SHOWN * 2 :]}")
    return msgspec.json.decode(ran.stdout, type=Loaded)


class _Run:
    """The work that connections share, and what they found."""

    def __init__(self, wanted: Load) -> None:
        self.usage = re.compile(rb'"total_tokens":\s*%d\b' % (INPUT_TOKENS + wanted.chunks))
        self.stream = wanted.stream
        self.times = array("q")
        self.firsts = array("q")
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline = time.perf_counter_ns() + int(wanted.seconds * 1e9)
        self._open = 0
        self._left = wanted.requests
        self._requests = requests(wanted)

    def next_request(self) -> bytes | None:
        """Return a request to send, or None when there is no more to do."""
        if not self._left or self.over.done() or time.perf_counter_ns() > self._deadline:
            if not self._open and not self.over.done():
                self.over.set_result(None)
            return None
        self._left -= 1
        self._open += 1
        return next(self._requests)

    def answered(self, took: int, first: int) -> None:
        """Note a reply; times are nanoseconds."""
        self._open -= 1
        self.times.append(took)
        self.firsts.append(first)

    def failed(self, reason: str) -> None:
        """End it all: a figure with wrong replies in it is none."""
        if not self.over.done():
            self.over.set_exception(_Mistake(reason))


class _Connection(asyncio.Protocol):
    """One connection: a request, its reply, the next request."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._parser = HttpResponseParser(self)
        self._body: list[bytes] = []
        self._sent = self._first = 0
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._busy:
            self._run.failed(f"the connection was closed within a reply: {self._shown()}")

    def on_body(self, body: bytes) -> None:
        if not self._body:
            self._first = time.perf_counter_ns()
        self._body.append(body)

    def on_message_complete(self) -> None:
        now = time.perf_counter_ns()
        self._busy = False
        body = b"".join(self._body)
        if self._parser.get_status_code() != _OK or not self._run.usage.search(body):
            self._run.failed(f"status {self._parser.get_status_code()}: {self._shown()}")
            return
        if self._run.stream and b"[DONE]" not in body[-32:]:
            self._run.failed(f"a stream without its end: {self._shown()}")
            return
        self._run.answered(now - self._sent, self._first - self._sent)
        if self._parser.should_keep_alive():
            self._send()
        else:
            self._run.failed("the connection was not kept alive")

    def _send(self) -> None:
        request = self._run.next_request()
        if request is None:
            self._transport.close()
            return
        self._body.clear()
        self._busy = True
        self._sent = time.perf_counter_ns()
        self._transport.write(request)

    def _shown(self) -> str:
        return b"".join(self._body)[-_SHOWN:].decode(errors="replace")


def requests(wanted: Load) -> Iterator[bytes]:
    """Yield requests with their HTTP heads, without end."""
    head = _head(wanted)
    bodies = [_body(wanted, Random(seed)) for seed in range(1 if wanted.same else _VARIANTS)]  # noqa: S311 - words
    parts = [(head + before, after) for before, _, after in (body.partition(b"@number@") for body in bodies)]
    numbers = repeat(wanted.first) if wanted.same else count(wanted.first)
    for (before, after), number in zip(chain.from_iterable(repeat(parts)), numbers, strict=False):
        yield b"%b%0*d%b" % (before, _NUMBER, number, after)


def _head(wanted: Load) -> bytes:
    address = urlsplit(wanted.url)
    headers = {"Host": address.netloc, "Content-Type": "application/json", **wanted.headers}
    lines = [f"POST {address.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {BODY_BYTES}", "", ""]).encode()


def _body(wanted: Load, random: Random) -> bytes:
    """Return a request's body, with @number@ where its number goes."""
    words = " ".join(random.choices(_WORDS, k=BODY_BYTES))
    system = "You are a careful assistant of a finance team. Answer briefly, and give figures where you can."
    content = {
        "model": wanted.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": "@number@: @words@"}],
        "temperature": 0,
        "max_tokens": wanted.chunks,
        **({"stream": True, "stream_options": {"include_usage": True}} if wanted.stream else {}),
    }
    body = msgspec.json.encode(content)
    room = BODY_BYTES - len(body) + len("@words@") + len("@number@") - _NUMBER
    return body.replace(b"@words@", words[: room - 1].encode() + b"?")


async def _load(wanted: Load) -> Loaded:
    run = _Run(wanted)
    loop = asyncio.get_running_loop()
    address = urlsplit(wanted.url)
    before, own, began = _cpu(wanted), time.process_time(), time.perf_counter()
    async with asyncio.timeout(_CONNECT_S):
        await asyncio.gather(
            *[
                loop.create_connection(lambda: _Connection(run), address.hostname or "", address.port or 80)
                for _ in range(wanted.connections)
            ]
        )
    await run.over
    seconds, own = time.perf_counter() - began, time.process_time() - own
    after = _cpu(wanted)
    answered = len(run.times)
    return Loaded(
        requests=answered,
        seconds=round(seconds, 3),
        requests_per_second=round(answered / seconds, 1),
        p50_us=_quantile(run.times, 0.5),
        p99_us=_quantile(run.times, 0.99),
        first_p50_us=_quantile(run.firsts, 0.5),
        cpu_us={name: round((after[name] - before[name]) * 1e6 / answered, 1) for name in wanted.pids},
        client_percent=round(100 * own / seconds, 1),
    )


def _cpu(wanted: Load) -> dict[str, float]:
    return {name: tree_cpu_seconds(pid) for name, pid in wanted.pids.items()}


def _quantile(nanoseconds: array[int], share: float) -> float:
    """Return a quantile (nearest rank) in microseconds."""
    return round(sorted(nanoseconds)[int(share * (len(nanoseconds) - 1))] / 1000, 1)


def main() -> int:
    """Do what the first argument says; print what came of it."""
    wanted = msgspec.json.decode(sys.argv[1].encode(), type=Load)
    try:
        loaded = uvloop.run(_load(wanted))
    except (_Mistake, OSError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    os.write(1, msgspec.json.encode(loaded))
    return 0


if __name__ == "__main__":
    sys.exit(main())
