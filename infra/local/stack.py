"""The local stack: every part as its own process, started in order, watched, and stopped without loss."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import structlog

from infra.local.parts import Part, PartFailed, Process
from spendstream import running
from spendstream.adapters.kafka import committed_offsets, end_offsets
from spendstream.config import Config
from spendstream.errors import AlreadyRunning, ConfigError, TransientError
from spendstream.topics import USAGE_TOPICS, WORKER_GROUP

__all__ = ["GATEWAY", "LOAD", "PIPELINE", "Stack", "clickhouse_folder"]

_log = structlog.get_logger(__name__)

_HOST = "127.0.0.1"
_DRAIN_S = 60.0
_POLL_S = 0.2
_RESTART_S = 1.0

_ADDRESS = r"(?P<address>\S+)"


PIPELINE = frozenset({"worker", "sink"})
GATEWAY = PIPELINE | {"gateway", "console"}
LOAD = GATEWAY | {"load"}


class Stack:
    """Runs `parts`, and the broker and ClickHouse if the configuration does not place them elsewhere.

    With no parts it is ClickHouse alone. `settings` are variables that every part is given.

    `restarts` counts, by part, how often a part ended by itself and was started again. The embedded broker
    is not restarted: what it held is gone, so its end is the end of the stack, and is told.
    """

    def __init__(self, config: Config, parts: frozenset[str], settings: Mapping[str, str] = {}) -> None:
        self._config = config
        self._parts = parts
        self._settings = settings
        self._gateway_port = _free(config.gateway_port)
        self._processes: dict[str, Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.restarts: dict[str, int] = {}
        self.kafka = config.kafka
        self.clickhouse = str(config.clickhouse)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop_processes()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def address(self, name: str) -> str:
        """Return where a part answers; empty when it does not run here."""
        return self._processes[name].address if name in self._processes else ""

    async def stop_load(self) -> None:
        """End the made-up traffic."""
        await self._stop_process("load")

    async def drained(self) -> bool:
        """Wait until all that Kafka holds has landed; False when that takes longer than a minute."""
        for _ in range(int(_DRAIN_S / _POLL_S)):
            if await self._behind() == 0:
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def stop(self) -> None:
        """Stop sending, let what was sent land, then stop the rest, the broker last."""
        running.withdraw(self._config.data_dir)
        await self.stop_load()
        await self._stop_process("gateway")
        if "worker" in self._processes and not self.failed.done() and not await self.drained():
            _log.warning("stopping before all has landed", behind=await self._behind())
        await self._stop_processes()

    async def _start(self) -> None:
        self._refuse_a_second_stack()
        if self._parts and not self.kafka:
            self.kafka = await self._placed(_broker, 9092)
        if not self.clickhouse:
            self.clickhouse = await self._placed(partial(_clickhouse, self._config), 8123)
        if self._parts:
            await self._migrate()
            await asyncio.gather(self._run(_WORKER), self._run(_SINK))
        if "gateway" in self._parts:
            await self._run(_GATEWAY)
        if "console" in self._parts:
            await self._run(_console(_free(8090)))
        if "load" in self._parts:
            await self._run(_load(self.address("gateway")))
        self._announce()

    def _refuse_a_second_stack(self) -> None:
        other = running.find(self._config.data_dir)
        if other is not None and other.pid != os.getpid():
            raise AlreadyRunning(
                f"a stack is already running on {self._config.data_dir} (process {other.pid}): "
                "stop it, or use another --data-dir"
            )

    def _announce(self) -> None:
        running.announce(
            self._config.data_dir,
            running.Addresses(
                pid=os.getpid(),
                kafka=self.kafka,
                clickhouse=self.clickhouse,
                gateway=self.address("gateway"),
            ),
        )

    async def _placed(self, part: Callable[[int], Part], preferred: int) -> str:
        """Run a part on the preferred port, or on any other if somebody takes that at the last moment."""
        try:
            return await self._run(part(_free(preferred)))
        except (AlreadyRunning, ConfigError):  # a refusal that has other reasons comes again
            return await self._run(part(_free(0)))

    async def _run(self, part: Part) -> str:
        """Start a part, watch it from now on, and return its address."""
        process = Process(part, self._environment(), self._config.data_dir / "logs")
        self._processes[part.name] = process
        await process.start()
        self._watchers.append(asyncio.create_task(self._watch(process)))
        return process.address

    def _environment(self) -> Mapping[str, str]:
        return {
            **self._settings,
            "SPENDSTREAM_KAFKA": self.kafka,
            "SPENDSTREAM_CLICKHOUSE": self.clickhouse,
            "SPENDSTREAM_DATA_DIR": str(self._config.data_dir),
            "SPENDSTREAM_GATEWAY_PORT": str(self._gateway_port),
        }

    async def _watch(self, process: Process) -> None:
        """Start the process again when it ends by itself."""
        while True:
            code = await process.ended()
            name = process.part.name
            if self._processes.get(name) is not process:
                return  # it was stopped
            if name == "broker":
                self._fail(PartFailed(f"the broker ended by itself (exit code {code}): see {process.log}"))
                return
            self.restarts[name] = self.restarts.get(name, 0) + 1
            _log.warning("restarting", part=name, exit_code=code, log=str(process.log))
            await asyncio.sleep(_RESTART_S)
            try:
                await process.start()
            except PartFailed as error:
                _log.warning("it failed again", part=name, why=str(error))

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def _migrate(self) -> None:
        part = Part(name="migrate", arguments=["-m", "spendstream", "migrate"], ready="applied|up to date")
        process = Process(part, self._environment(), self._config.data_dir / "logs")
        await process.start()
        await process.ended()

    async def _behind(self) -> int:
        """Return how many records Kafka holds that have not landed; 1 while nobody can tell."""
        try:
            landed = await committed_offsets(self.kafka, WORKER_GROUP)
            behind = 0
            for topic in USAGE_TOPICS:
                for partition, end in (await end_offsets(self.kafka, topic.name)).items():
                    behind += end - landed.get((topic.name, partition), 0)
        except TransientError:
            return 1
        return behind

    async def _stop_process(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            await process.stop()

    async def _stop_processes(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        for name in ("load", "console", "gateway", "worker", "sink", "clickhouse", "broker"):
            await self._stop_process(name)


_WORKER = Part.command("worker", ready=rf"worker ready, metrics on {_ADDRESS}")
_SINK = Part.command("sink", ready=rf"sink ready, metrics on {_ADDRESS}")
_GATEWAY = Part.command("gateway", ready=rf"gateway ready on {_ADDRESS}")


def _broker(port: int) -> Part:
    return Part(
        name="broker",
        arguments=["-m", "infra.local.broker", "--port", str(port)],
        ready=rf"broker ready on {_ADDRESS}",
    )


def _console(port: int) -> Part:
    return Part(
        name="console",
        arguments=["-m", "spendstream", "api", "--port", str(port)],
        ready=rf"console ready on {_ADDRESS}",
    )


def _load(gateway: str) -> Part:
    return Part.command("load", "--url", gateway, ready=None)


def clickhouse_folder(config: Config) -> Path:
    """Return where the local ClickHouse keeps its data; it is not there before the first start."""
    return config.data_dir / "clickhouse"


def _clickhouse(config: Config, port: int) -> Part:
    folder = str(clickhouse_folder(config))
    return Part(
        name="clickhouse",
        arguments=["-m", "infra.local.clickhouse", "--data-dir", folder, "--port", str(port)],
        ready=rf"clickhouse endpoint ready on {_ADDRESS}",
    )


def _free(preferred: int) -> int:
    """Return `preferred` if it is free, else a port that is; a part that is restarted keeps it."""
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            free: int = probe.getsockname()[1]
            return free
    raise AlreadyRunning(f"no port is free on {_HOST}")
