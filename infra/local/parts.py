"""One part of the local stack: a process that says on standard output when it is ready, and where."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from infra.local.broker import die_with_parent
from spendstream.errors import AlreadyRunning, ConfigError, SpendstreamError

__all__ = ["Part", "PartFailed", "Process"]

_READY_S = 60.0
_EXIT_USAGE = 2


class PartFailed(SpendstreamError):
    """A part of the stack ended, or did not become ready."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a part.

    `ready` matches its ready line, in which the group `address` says where it answers; with None it is ready
    as soon as it runs.
    """

    name: str
    arguments: Sequence[str]
    ready: str | None
    stop_seconds: float = 15.0

    @classmethod
    def command(cls, name: str, *arguments: str, ready: str | None) -> Part:
        """Return a part that runs `spendstream NAME ARGUMENTS`."""
        return cls(name=name, arguments=["-m", "spendstream", name, *arguments], ready=ready)


class Process:
    """A running part. Its log goes to `<logs>/<name>.log`; it dies with us, whatever way we die."""

    def __init__(self, part: Part, environment: Mapping[str, str], logs: Path) -> None:
        self.part = part
        self.address = ""
        self.log = logs / f"{part.name}.log"
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and wait until it is ready; raise PartFailed with its last words if it is not."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.part.arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the parts in order
                preexec_fn=die_with_parent,
            )
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(self._child, ready))
        if self.part.ready is None:
            ready.set_result("")
        try:
            self.address = await asyncio.wait_for(ready, _READY_S)
        except TimeoutError as error:
            raise PartFailed(
                f"{self.part.name} is not ready after {_READY_S:.0f} s: see {self.log}"
            ) from error

    async def ended(self) -> int:
        """Wait until the process ends; return its exit code."""
        assert self._child is not None  # noqa: S101  # a programming error: start() first
        return await self._child.wait()

    async def stop(self) -> None:
        """Ask the process to finish, wait for it, and kill it when it takes too long."""
        if self._child is None or self._child.returncode is not None:
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._child.wait(), self.part.stop_seconds)
        except TimeoutError:
            self._child.kill()
            await self._child.wait()
        if self._reader is not None:
            await self._reader

    async def _read(self, child: asyncio.subprocess.Process, ready: asyncio.Future[str]) -> None:
        """Find the ready line, and keep reading so that the pipe never fills."""
        assert child.stdout is not None  # noqa: S101  # it was asked for
        async for line in child.stdout:
            text = line.decode(errors="replace").rstrip()
            match = re.search(self.part.ready or "", text)
            if match and not ready.done():
                ready.set_result(match.groupdict().get("address") or "")
        code = await child.wait()
        if not ready.done():
            ready.set_exception(self._failure(code))

    def _failure(self, code: int) -> SpendstreamError:
        words = _last_line(self.log).removeprefix("spendstream: ")
        if code == _EXIT_USAGE and words:
            return AlreadyRunning(words) if "already" in words else ConfigError(words)
        return PartFailed(
            f"{self.part.name} ended with exit code {code}: {words or 'no word'} (see {self.log})"
        )


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
