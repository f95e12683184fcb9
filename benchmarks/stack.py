"""The pipeline's own parts beside a broker, as processes: ClickHouse with its tables, workers, sink, gateway.

ClickHouse keeps its address when it is killed and started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.children import Child, free_port
from sinks.clickhouse.migrations import migrate
from spendstream.adapters.kafka import ensure_topics
from spendstream.config import Config, Secret

__all__ = ["Stack"]

_READY = {
    "worker": r"worker ready, metrics on (\S+)",
    "sink": r"sink ready, metrics on (\S+)",
    "gateway": r"gateway ready on (\S+)",
}


class Stack:
    """ClickHouse, and what is started by name: worker, sink, gateway; worker-2 is another worker.

    All of it ends with the `with` block, without waiting for what has not landed.
    """

    def __init__(self, folder: Path, servers: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.servers = servers
        self.children: dict[str, Child] = {}
        self._port = free_port()

    @property
    def clickhouse(self) -> str:
        """ClickHouse's address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells a process where everything is."""
        return {
            "SPENDSTREAM_KAFKA": self.servers,
            "SPENDSTREAM_CLICKHOUSE": self.clickhouse,
            "SPENDSTREAM_DATA_DIR": str(self.folder),
            "SPENDSTREAM_GATEWAY_PORT": "0",
        }

    def __enter__(self) -> Self:
        try:
            self._add(self._clickhouse()).wait_ready()
            asyncio.run(self._prepare())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, *names: str) -> list[Child]:
        """Start parts, all at once, and wait until each is ready."""
        return [child.wait_ready() for child in [self._add(self._part(name)) for name in names]]

    def close(self) -> None:
        """End everything, the last started first."""
        while self.children:
            _, child = self.children.popitem()
            child.kill()

    def _add(self, child: Child) -> Child:
        child.launch()
        self.children[child.name] = child
        return child

    def _part(self, name: str) -> Child:
        kind = name.partition("-")[0]
        arguments = ["-m", "spendstream", kind]
        return Child(name, arguments, ready=_READY[kind], folder=self.folder, env=self.environment)

    def _clickhouse(self) -> Child:
        folder, port = str(self.folder / "clickhouse"), str(self._port)
        arguments = ["-m", "infra.local.clickhouse", "--data-dir", folder, "--port", port]
        return Child("clickhouse", arguments, ready=r"endpoint ready on (\S+)", folder=self.folder, env={})

    async def _prepare(self) -> None:
        await ensure_topics(self.servers)
        await migrate(Secret(self.clickhouse), Config())
