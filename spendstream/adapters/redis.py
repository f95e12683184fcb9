"""A small Redis client for hot paths: one connection, on which commands of many callers travel together.

What is asked for within one turn of the event loop leaves in one write, and the answers to it mostly come in
one read. There is no pool to wait for and no lock: Redis answers in order. While it is away every command
fails at once, and the client keeps trying to reach it; a command is never sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from hashlib import sha1
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from hiredis import HiredisError, Reader, ReplyError, pack_command
from msgspec import Struct

from spendstream.config import Secret
from spendstream.errors import ConfigError, RedisRefused, RedisUnavailable

__all__ = ["Redis", "RedisAddress", "Script"]

_log = structlog.get_logger(__name__)

_FIRST_RETRY_S = 0.05
_LAST_RETRY_S = 2.0
_CHECKS = 4  # looks for a late answer within the time limit
_TRANSIENT = ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "OOM", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS")
_NO_REPLY = object()

Argument = str | bytes | int


class RedisAddress(Struct, frozen=True, kw_only=True):
    """Where Redis is, from redis://[user][:password@]host[:port][/database]; rediss:// is with TLS."""

    host: str
    port: int = 6379
    user: str = ""
    password: Secret = Secret("")
    database: int = 0
    tls: bool = False

    @classmethod
    def of(cls, url: Secret) -> RedisAddress:
        """Return the address that a URL names; raise ConfigError, which does not repeat the URL."""
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("redis", "rediss") or not parts.hostname:
                raise ValueError  # noqa: TRY301 - one way to tell a mistake
            return cls(
                host=parts.hostname,
                port=parts.port or 6379,
                user=unquote(parts.username or ""),
                password=Secret(unquote(parts.password or "")),
                database=int(parts.path.strip("/") or 0),
                tls=parts.scheme == "rediss",
            )
        except ValueError:
            raise ConfigError(
                "redis: expected redis://[user][:password@]host[:port][/database], or rediss:// for TLS"
            ) from None


class Redis:
    """Commands to the server at `address`; one that is not answered within `timeout` seconds has failed."""

    def __init__(self, address: RedisAddress, *, timeout: float = 1.0) -> None:
        self._address = address
        self._timeout = timeout
        self._connection: _Connection | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether a command would be sent now."""
        return self._connection is not None

    async def start(self) -> None:
        """Connect, and stay connected from now on. Returns after the first try, be Redis there or not.

        Raises RedisRefused if it is there and refuses the password or the database.
        """
        try:
            await self._connect()
        except RedisUnavailable as error:
            _log.warning("redis is away", why=str(error))
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Let go of the connection; commands under way fail."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._connection is not None:
            self._connection.abort("the client was closed")
            self._connection = None

    def execute(self, *command: Argument) -> asyncio.Future[Any]:
        """Return what Redis answers: bytes, an int, a list or None, once awaited.

        Raises RedisUnavailable and RedisRefused, when awaited. A caller that is cancelled leaves its command
        under way.
        """
        if self._connection is None:
            reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            reply.set_exception(RedisUnavailable(f"{self._where}: no connection", retry_after=1.0))
            return reply
        return self._connection.send(command)

    @property
    def _where(self) -> str:
        return f"Redis at {self._address.host}:{self._address.port}"

    async def _keep(self) -> None:
        """Connect anew whenever the connection is lost."""
        pause = _FIRST_RETRY_S
        while True:
            if self._connection is not None:
                await self._connection.lost.wait()
                self._connection = None
                _log.warning("redis connection lost", where=self._where)
                pause = _FIRST_RETRY_S
            with suppress(RedisUnavailable, RedisRefused):
                await self._connect()
                _log.info("redis connected", where=self._where)
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_RETRY_S)

    async def _connect(self) -> None:
        address = self._address
        loop = asyncio.get_running_loop()
        connection = _Connection(loop, self._where, self._timeout)
        context = ssl.create_default_context() if address.tls else None
        try:
            async with asyncio.timeout(max(self._timeout, 1.0)):
                await loop.create_connection(lambda: connection, address.host, address.port, ssl=context)
                await self._greet(connection)
        except (OSError, TimeoutError) as error:
            connection.abort("no connection")
            raise RedisUnavailable(f"{self._where}: {error or 'no answer'}", retry_after=1.0) from error
        except BaseException:
            connection.abort("it refused the password or the database")
            raise
        self._connection = connection

    async def _greet(self, connection: _Connection) -> None:
        address = self._address
        if address.password:
            names = (address.user,) if address.user else ()
            await connection.send(("AUTH", *names, address.password))
        if address.database:
            await connection.send(("SELECT", address.database))
        await connection.send(("PING",))


class _Connection(asyncio.Protocol):
    """One connection: what was sent on it and waits for its answer, oldest first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, where: str, timeout: float) -> None:
        self.lost = asyncio.Event()
        self._loop = loop
        self._where = where
        self._timeout = timeout
        self._reader = Reader(notEnoughData=_NO_REPLY)
        self._waiting: deque[tuple[asyncio.Future[Any], int]] = deque()
        self._looks = 0
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream it is a Transport
        self._look_for_late_answers()

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort(f"the connection broke: {exc or 'the server closed it'}")

    def send(self, command: tuple[Argument, ...]) -> asyncio.Future[Any]:
        """Send a command with all others of this turn of the loop; the future gets its answer."""
        reply = self._loop.create_future()
        if self.lost.is_set():
            reply.set_exception(self._unavailable("the connection broke"))
            return reply
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(pack_command(command))  # type: ignore[arg-type]  # any tuple is fine
        self._waiting.append((reply, self._looks))
        return reply

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        waiting = self._waiting
        try:
            while (answer := self._reader.gets()) is not _NO_REPLY:
                reply, _ = waiting.popleft()
                if reply.done():  # its caller was cancelled
                    continue
                if isinstance(answer, ReplyError):
                    reply.set_exception(self._refusal(str(answer)))
                else:
                    reply.set_result(answer)
        except (HiredisError, IndexError) as error:
            self.abort(f"that is not Redis: {error}")

    def abort(self, why: str) -> None:
        """End the connection, and fail whatever waits for an answer."""
        self.lost.set()
        if self._check is not None:
            self._check.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._unsent.clear()
        while self._waiting:
            reply, _ = self._waiting.popleft()
            if not reply.done():
                reply.set_exception(self._unavailable(why))

    def _flush(self) -> None:
        if self._transport is not None and self._unsent:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look_for_late_answers(self) -> None:
        """Give the connection up when its oldest command is late: those behind it would be later still.

        One timer for all commands; a timer for each would cost more than the command. Time is counted in
        looks, between any two of which answers were read: what came while we were busy is not late.
        """
        self._looks += 1
        if self._waiting and self._looks - self._waiting[0][1] > _CHECKS:
            self.abort(f"no answer within {self._timeout} s")
            return
        self._check = self._loop.call_later(self._timeout / _CHECKS, self._look_for_late_answers)

    def _unavailable(self, why: str) -> RedisUnavailable:
        return RedisUnavailable(f"{self._where}: {why}", retry_after=1.0)

    def _refusal(self, answer: str) -> RedisUnavailable | RedisRefused:
        if answer.startswith(_TRANSIENT):
            return self._unavailable(answer)
        return RedisRefused(f"{self._where}: {answer}")


class Script:
    """A Lua script that Redis runs as one step; sent by its hash, and whole where Redis does not know it."""

    def __init__(self, body: str) -> None:
        self._body = body
        self._sha = sha1(body.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: int, *arguments: Argument) -> Any:
        """Run it with `arguments`, the first `keys` of which are keys. Raises as `Redis.execute` does."""
        try:
            return await redis.execute(b"EVALSHA", self._sha, keys, *arguments)
        except RedisRefused as error:
            if "NOSCRIPT" not in str(error):
                raise
        return await redis.execute(b"EVAL", self._body, keys, *arguments)
