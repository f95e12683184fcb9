"""Our gateway as it is measured: with keys, budgets at each level, Kafka, and the Redis of replicas."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.children import BenchmarkError, Child, free_port
from benchmarks.journalled import check_journalled
from benchmarks.peers.environments import ROOT
from benchmarks.peers.proxies import MODEL, Door, Server
from infra.local.broker import EmbeddedBroker
from spendstream.adapters.kafka import ensure_topics
from spendstream.keys import KeyHasher, new_key

__all__ = ["gateway"]

_SECRET = "the benchmark's, which protects nothing"  # noqa: S105
_KEY = new_key("bench")
_HOW_TO_GET = "the gateway's benchmark needs Redis: apt-get install redis-server"
_BUDGETS = """
budgets:
  - {id: org, amount: 1000000 USD, period: month, scope: {org: acme}, enforce: hard}
  - {id: team, amount: 500000 USD, period: month, scope: {org: acme, team: search}, enforce: hard}
  - {id: project, amount: 250000 USD, period: day, scope: {team: search, project: answers}, enforce: hard}
limits:
  - {id: key, scope: {key_id: bench}, requests_per_minute: 100000000, tokens_per_minute: 100000000}
"""


@contextmanager
def gateway(upstream: str, folder: Path) -> Iterator[Door]:
    """Give a running gateway in front of `upstream`; Kafka and Redis run beside it, on other cores."""
    with EmbeddedBroker(log=folder / "broker.log") as broker, _redis(folder) as redis:
        asyncio.run(ensure_topics(broker.servers))
        port = free_port()
        config = _config(folder, broker.servers, redis.address, upstream, port)
        env = {"SPENDSTREAM_CONFIG": str(config), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "spendstream", "gateway"]
        with Server("spendstream", command, port=port, folder=folder, env=env) as server:
            headers = {"Authorization": f"Bearer {_KEY}"}
            yield Door(
                pid=server.pid,
                url=f"{server.address}/v1/chat/completions",
                headers=headers,
                check=lambda answered: asyncio.run(check_journalled(broker.servers, answered)),
            )


def _config(folder: Path, kafka: str, redis: str, upstream: str, port: int) -> Path:
    budgets, config = folder / "budgets.yaml", folder / "spendstream.toml"
    budgets.write_text(_BUDGETS)
    config.write_text(
        f"""
kafka = "{kafka}"
redis = "{redis}"
cache = "exact"
data_dir = "{folder}"
gateway_port = {port}
budget_file = "{budgets}"
log_level = "warning"
key_secret = "{_SECRET}"

[[api_keys]]
id = "bench"
hash = "{KeyHasher(_SECRET).hash(_KEY)}"
org = "acme"
team = "search"
project = "answers"

[[provider]]
name = "openai"
kind = "openai"
base_url = "{upstream}/v1"
api_key = "sk-upstream"
models = ["{MODEL}"]
"""
    )
    return config


@contextmanager
def _redis(folder: Path) -> Iterator[Child]:
    """Give a Redis that keeps nothing on disk; its address is a URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchmarkError(_HOW_TO_GET)
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with Child(
        "redis", arguments, ready="(Ready to accept connections)", folder=folder, env={}, program=program
    ) as redis:
        redis.address = f"redis://127.0.0.1:{port}/0"
        yield redis
