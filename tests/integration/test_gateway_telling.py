"""What a running gateway tells Prometheus, and what docs/metrics.md says that it tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.serve import serve
from sinks.clickhouse.budgets import ClickHouseBudgetStore
from spendstream.config import Config, Secret
from tests.fixtures.redis import RedisServer

DEADLINE_S = 30
NOBODY = "127.0.0.1:1"
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
async def port(
    redis_server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[int]:
    """The port of a gateway that has everything it can have; Kafka and ClickHouse are away."""
    config = Config(gateway_port=0, data_dir=tmp_path, cache="exact", redis=Secret(redis_server.url))
    ledger = ClickHouseBudgetStore(Secret(f"http://{NOBODY}"))
    gateway = asyncio.create_task(serve(config, NOBODY, ledger=ledger))
    said = ""
    async with asyncio.timeout(DEADLINE_S):
        while not (ready := re.search(r"gateway ready on \S+:(\d+)\n", said)):
            assert not gateway.done(), gateway.exception()
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
    yield int(ready[1])
    gateway.cancel()
    await asyncio.gather(gateway, return_exceptions=True)


async def ask(port: int, request: bytes) -> str:
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
    return answer.decode()


async def metrics(port: int) -> str:
    return await ask(port, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")


async def test_the_page_lists_all_that_a_gateway_tells_and_nothing_else(port: int) -> None:
    told = set(re.findall(r"^# TYPE (\w+) (\w+)\r?$", await metrics(port), re.MULTILINE))
    of_the_gateway = PAGE.read_text(encoding="utf-8").partition("\n## Worker\n")[0]
    listed = set(re.findall(r"^\| `(\w+)` \| (\w+) \|", of_the_gateway, re.MULTILINE))
    assert listed == {(name, kind) for name, kind in told if not name.endswith("_created")}


async def test_what_a_connection_refuses_is_told(port: int) -> None:
    assert (await ask(port, b"nonsense\r\n\r\n")).startswith("HTTP/1.1 400")
    assert 'spendstream_gateway_connections_refused_total{reason="invalid"} 1.0' in await metrics(port)
