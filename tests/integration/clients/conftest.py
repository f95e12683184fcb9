"""A gateway as a process, in front of a provider that answers at once, for the official client libraries.

Nothing here needs our packages, so that client libraries that do not go with them can run in an environment
of their own: `GATEWAY_PYTHON` then names the Python that has ours.
"""

from __future__ import annotations

import hmac
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clients.provider import Provider

KEY = f"sk-spend-clients-{'c' * 43}"
CHAT_MODEL, EMBEDDING_MODEL, CLAUDE = "gpt-4o-mini", "text-embedding-3-small", "claude-haiku-4-5"
_SECRET = "of the server, and long enough for one"
_ROOT = Path(__file__).parents[3]
_READY = re.compile(r"gateway ready on (\S+)")
_DEADLINE_S = 60


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with Provider() as found:
        yield found


@pytest.fixture(scope="session")
def gateway(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway's address. Kafka is away: what was used stays in the spool, and nobody waits for it."""
    folder = tmp_path_factory.mktemp("gateway")
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [os.environ.get("GATEWAY_PYTHON", sys.executable), "-m", "spendstream", "gateway"],
            cwd=_ROOT,
            env={**os.environ, "SPENDSTREAM_CONFIG": str(_config(folder, provider)), "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
        )
    try:
        yield _wait_ready(process, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def prompt() -> str:
    """A question that nobody has asked before, so that no cache answers it."""
    return f"What does it cost? ({uuid.uuid4().hex})"


def _config(folder: Path, provider: Provider) -> Path:
    config = folder / "spendstream.toml"
    config.write_text(
        f"""
kafka = "127.0.0.1:1"
data_dir = "{folder}"
gateway_port = 0
key_secret = "{_SECRET}"

[[api_keys]]
id = "clients"
hash = "{hmac.digest(_SECRET.encode(), KEY.encode(), "sha256").hex()}"
team = "search"

[[provider]]
name = "openai"
kind = "openai"
base_url = "{provider.address}"
api_key = "sk-upstream"
models = ["{CHAT_MODEL}", "{EMBEDDING_MODEL}", "gpt-3.5-turbo-instruct"]

[[provider]]
name = "anthropic"
kind = "anthropic"
base_url = "{provider.address}"
api_key = "sk-ant-upstream"
models = ["{CLAUDE}"]
"""
    )
    return config


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        said = log.read_text()
        if found := _READY.search(said):
            return found[1]
        if process.poll() is not None:
            pytest.fail(f"the gateway ended with exit code {process.returncode}:\n{said[-4000:]}")
        time.sleep(0.02)
    pytest.fail(f"the gateway was not ready after {_DEADLINE_S} s:\n{log.read_text()[-4000:]}")
