"""Gateways beside ours, and bare proxies as limits: how each is installed, configured and started.

All are given the same: one process on one core, one key to check where they check any, no database, no log of
requests. To add one, write how it starts and one entry in PROXIES.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from benchmarks.children import Child, free_port
from benchmarks.peers.environments import ROOT, node_package, node_version, python_of, python_version

__all__ = ["MODEL", "PROXIES", "Door", "Proxy", "Server", "leave_the_core"]

MODEL = "gpt-4o-mini"
SERVER_CORE = max(os.sched_getaffinity(0))
"""The core that a measured process has to itself."""
_KEY = "sk-benchmark"
_UPSTREAM_KEY = "sk-upstream"
_PORTKEY = "@portkey-ai/gateway"
_READY_S = 120.0
_POLL_S = 0.05
_HOST = "127.0.0.1"


def leave_the_core() -> None:
    """Keep this process, and what it starts, off the core of what is measured, if there is another."""
    others = os.sched_getaffinity(0) - {SERVER_CORE}
    if others:
        os.sched_setaffinity(0, others)


class Server(Child):
    """A child on a core of its own; it is ready when its port takes connections."""

    def __init__(
        self, name: str, command: Sequence[str], *, port: int, folder: Path, env: Mapping[str, str]
    ) -> None:
        arguments = ["-c", str(SERVER_CORE), *command]
        super().__init__(name, arguments, ready="", folder=folder, env=env, program="taskset")
        self.address = f"http://{_HOST}:{port}"
        self._port = port

    def wait_ready(self) -> Server:
        """Wait until somebody listens."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            self.check()
            with suppress(OSError), socket.create_connection((_HOST, self._port)):
                return self
            time.sleep(_POLL_S)
        raise self.failure(f"was not ready after {_READY_S:.0f} s")


def _no_account(_: int) -> None:
    """Check nothing: others keep no account that is like ours."""


class Door(Struct, frozen=True, kw_only=True):
    """How a running gateway is reached: where it takes chats, and what a request must say.

    `check` hears how many requests it has answered, and raises BenchmarkError if it has lost account of any.
    """

    pid: int
    url: str
    headers: Mapping[str, str] = {}
    model: str = MODEL
    check: Callable[[int], None] = _no_account


class Proxy(Struct, frozen=True, kw_only=True):
    """A gateway that can be measured.

    `install` returns where it is, and raises BenchmarkError when it cannot be had. `start` takes that, the
    upstream's address and a folder for its files.
    """

    name: str
    title: str
    install: Callable[[], str]
    version: Callable[[], str]
    start: Callable[[str, str, Path], AbstractContextManager[Door]]


@contextmanager
def _litellm(python: str, upstream: str, folder: Path) -> Iterator[Door]:
    config = folder / "litellm.yaml"
    config.write_text(
        f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: {upstream}/v1, api_key: {_UPSTREAM_KEY}}}
litellm_settings: {{set_verbose: false, telemetry: false}}
general_settings: {{master_key: {_KEY}, disable_spend_logs: true}}
"""
    )
    port = free_port()
    command = [str(Path(python).with_name("litellm")), "--config", str(config), "--host", _HOST]
    command += ["--port", str(port), "--num_workers", "1"]
    env = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with Server("litellm", command, port=port, folder=folder, env=env) as server:
        yield _openai(server)


@contextmanager
def _portkey(package: str, upstream: str, folder: Path) -> Iterator[Door]:
    port = free_port()
    command = ["node", f"{package}/build/start-server.js", f"--port={port}", "--headless"]
    with Server("portkey", command, port=port, folder=folder, env={"NODE_ENV": "production"}) as server:
        door = _openai(server)
        target = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{upstream}/v1"}
        yield Door(pid=door.pid, url=door.url, headers={**door.headers, **target})


@contextmanager
def _tensorzero(python: str, upstream: str, folder: Path) -> Iterator[Door]:
    config = folder / "tensorzero.toml"
    config.write_text(
        f"""
[gateway.observability]
enabled = false
[models.{MODEL}]
routing = ["openai"]
[models.{MODEL}.providers.openai]
type = "openai"
model_name = "{MODEL}"
api_base = "{upstream}/v1/"
api_key_location = "env::UPSTREAM_KEY"
"""
    )
    arguments = ["-c", str(SERVER_CORE), python, "-m", "benchmarks.peers.tensorzero_gateway", str(config)]
    env = {"PYTHONPATH": str(ROOT), "UPSTREAM_KEY": _UPSTREAM_KEY, "RUST_LOG": "error"}
    with Child(
        "tensorzero", arguments, ready=r"gateway ready on (\S+)", folder=folder, env=env, program="taskset"
    ) as child:
        name = f"tensorzero::model_name::{MODEL}"
        yield Door(pid=child.pid, url=f"{child.address}/chat/completions", model=name)


@contextmanager
def _fastapi(python: str, upstream: str, folder: Path) -> Iterator[Door]:
    port = free_port()
    command = [python, "-m", "benchmarks.peers.fastapi_httpx"]
    env = {"PYTHONPATH": str(ROOT), "BENCHMARK_UPSTREAM": upstream, "BENCHMARK_PORT": str(port)}
    with Server("fastapi", command, port=port, folder=folder, env=env) as server:
        yield _openai(server)


@contextmanager
def _bare(python: str, upstream: str, folder: Path) -> Iterator[Door]:
    port = free_port()
    command = [python, "-m", "granian", "--interface", "rsgi", "--loop", "uvloop", "--no-ws", "--no-log"]
    command += ["--workers", "1", "--host", _HOST, "--port", str(port), "benchmarks.peers.bare_proxy:app"]
    env = {"PYTHONPATH": str(ROOT), "BENCHMARK_UPSTREAM": upstream}
    with Server("bare", command, port=port, folder=folder, env=env) as server:
        yield _openai(server)


def _openai(server: Server) -> Door:
    """Return the door of a gateway that has OpenAI's paths and takes our key."""
    headers = {"Authorization": f"Bearer {_KEY}"}
    return Door(pid=server.pid, url=f"{server.address}/v1/chat/completions", headers=headers)


PROXIES = (
    Proxy(
        name="litellm",
        title="LiteLLM proxy",
        install=partial(python_of, "litellm"),
        version=partial(python_version, "litellm", "litellm"),
        start=_litellm,
    ),
    Proxy(
        name="portkey",
        title="Portkey AI gateway",
        install=lambda: str(node_package("portkey", _PORTKEY)),
        version=partial(node_version, "portkey", _PORTKEY),
        start=_portkey,
    ),
    Proxy(
        name="tensorzero",
        title="TensorZero gateway (Rust)",
        install=partial(python_of, "tensorzero"),
        version=partial(python_version, "tensorzero", "tensorzero"),
        start=_tensorzero,
    ),
    Proxy(
        name="fastapi",
        title="FastAPI + httpx: hands on, and nothing else",
        install=partial(python_of, "fastapi_httpx"),
        version=partial(python_version, "fastapi_httpx", "fastapi"),
        start=_fastapi,
    ),
    Proxy(
        name="bare",
        title="granian + httptools: the same, the limit of Python",
        install=partial(python_of, "granian"),
        version=partial(python_version, "granian", "granian"),
        start=_bare,
    ),
)
