"""Run the endpoint: `python -m infra.local.clickhouse --data-dir DIR [--host H] [--port P]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import uvloop

from infra.local.clickhouse.access import Account, is_loopback
from infra.local.clickhouse.engine import Engine
from infra.local.clickhouse.ownership import owned
from infra.local.clickhouse.server import Endpoint
from spendstream.errors import AlreadyRunning, ConfigError, SpendstreamError

_GRACE_SECONDS: Final = 10.0
_BACKLOG: Final = 512


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0, or 2 when the endpoint cannot start."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.clickhouse", description=__doc__)
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8123, type=int, help="0 picks a free one")
    options = parser.parse_args(arguments)
    directory = options.data_dir.absolute()
    try:
        with owned(directory), _listen(options.host, options.port) as listener:
            uvloop.run(_serve(directory, options.host, listener))
    except SpendstreamError as error:
        print(f"clickhouse endpoint: {error}", file=sys.stderr)  # noqa: T201  (the command's output)
        return 2
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """Bind before the engine starts, so that a taken port shows at once; connections wait meanwhile."""
    try:
        return socket.create_server((host, port), backlog=_BACKLOG, family=_family(host))
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        message = f"cannot listen on {host} port {port}: {reason}; choose another with --port (0: a free one)"
        raise AlreadyRunning(message) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _serve(directory: Path, host: str, listener: socket.socket) -> None:
    stop = asyncio.Event()
    engine = _open(directory)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        account = Account.from_environment(os.environ)
        endpoint = Endpoint(engine, account, loopback_only=is_loopback(host))
        serving = asyncio.create_task(endpoint.serve(listener, stop, grace=_GRACE_SECONDS))
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        print(f"clickhouse endpoint ready on {url} data {directory}", flush=True)  # noqa: T201
        await serving
    finally:
        engine.close()


def _open(directory: Path) -> Engine:
    if "?" in str(directory):
        message = f"data directory {directory}: the engine takes no '?' in a path; choose another --data-dir"
        raise ConfigError(message)
    return Engine(directory)


if __name__ == "__main__":
    sys.exit(main())
