"""Whether a process is alive, and whether it can do its work: /health, /ready and /metrics.

They answer from the process's own event loop, so that a loop that is stuck answers nothing, which is the
truth. /health is for who restarts processes: a process that waits for ClickHouse is healthy. /ready is for
people, and for who waits until all is up: 503, and the reasons, while something that is needed is missing.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from spendstream.errors import AlreadyRunning, SpendstreamError
from spendstream.patience import Waits

__all__ = ["Probes", "Readiness", "ask_ready", "keep_asking"]

_HOST = "127.0.0.1"
_LATELY_S = 10.0
_PERIOD_S = 1.0
_ANSWER_S = 5.0
_GOODBYE_S = 1.0  # for requests under way when the process ends

Question = Callable[[], Awaitable[object]]


class Readiness:
    """What a process needs to do its work, and what of it is missing. `clock` gives seconds.

    `servers` have to answer again and again; `memberships` hold until they are said to be lost.
    """

    def __init__(
        self,
        servers: Mapping[str, Question],
        memberships: tuple[str, ...],
        waits: Waits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = servers
        self._waits = waits
        self._clock = clock
        self._answered: dict[str, float] = {}
        self._missing = dict.fromkeys(servers, "has not answered yet") | dict.fromkeys(
            memberships, "not joined yet"
        )

    def there(self, name: str) -> None:
        """Say that a server has answered just now, or that a group was joined."""
        self._missing.pop(name, None)
        if name in self.servers:
            self._answered[name] = self._clock()

    def missing(self, name: str, why: str) -> None:
        """Say that something is missing, and why."""
        self._missing[name] = why

    def reasons(self) -> Mapping[str, str]:
        """Return what stands in the way, by name; nothing when the process is ready."""
        now = self._clock()
        late = {
            name: f"has not answered for {now - answered:.0f} s"
            for name, answered in self._answered.items()
            if now - answered > _LATELY_S
        }
        waits = {"waiting": ", ".join(self._waits.now)} if self._waits.now else {}
        return late | self._missing | waits


async def keep_asking(readiness: Readiness) -> None:
    """Ask each server once a second, until cancelled, whether it answers."""

    async def ask(name: str, question: Question) -> None:
        while True:
            try:
                await question()
                readiness.there(name)
            except SpendstreamError as error:
                readiness.missing(name, str(error))
            await asyncio.sleep(_PERIOD_S)

    async with asyncio.TaskGroup() as asking:
        for name, question in readiness.servers.items():
            asking.create_task(ask(name, question))


async def ask_ready(port: int) -> Mapping[str, str]:
    """Return why the process on `port` of this machine is not ready; nothing when it is."""
    timeout = ClientTimeout(total=_ANSWER_S)
    try:
        async with ClientSession(timeout=timeout) as http, http.get(f"http://{_HOST}:{port}/ready") as answer:
            return msgspec.json.decode(await answer.read(), type=_Answer).reasons
    except TimeoutError:
        return {"process": f"does not answer on port {port} within {_ANSWER_S:.0f} s"}
    except (ClientError, msgspec.DecodeError) as error:
        return {"process": f"does not answer on port {port}: {error}"}


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    reasons: Mapping[str, str]


class Probes:
    """Answers a process's probes. `ill` says what is wrong with it beyond repair; empty while it is well."""

    def __init__(self, registry: CollectorRegistry, readiness: Readiness, ill: Callable[[], str]) -> None:
        self._registry = registry
        self._readiness = readiness
        self._ill = ill
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, host: str = _HOST) -> str:
        """Listen on `port` (0: any that is free) of `host`; return the address. Raises AlreadyRunning."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self.close()
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunning(f"port {port} on {host} is taken: choose another, or 0") from error
            raise
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _: web.Request) -> web.Response:
        ill = self._ill()
        return _answer("healthy", {"process": ill} if ill else {})

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer("ready", self._readiness.reasons())

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )


def _answer(state: str, reasons: Mapping[str, str]) -> web.Response:
    return web.Response(
        body=msgspec.json.encode({state: not reasons, "reasons": reasons}),
        status=503 if reasons else 200,
        content_type="application/json",
    )
