"""The console as a process: loopback only, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from dashboards.catalogue import DASHBOARDS
from dashboards.console.app import create_app
from dashboards.console.store import Store
from spendstream import clock
from spendstream.config import Secret
from spendstream.errors import AlreadyRunning, ConfigError

__all__ = ["serve"]

_HOST = "127.0.0.1"
_DRAIN_S = 5


async def serve(url: Secret, port: int) -> None:
    """Serve until SIGTERM or SIGINT; 0 takes any free port.

    Says `console ready on <address>` on standard output once it accepts connections. ClickHouse may be away.
    Raises AlreadyRunning if the port is taken.
    """
    store = Store(url)
    try:
        with _listen(port) as listener:
            print(f"console ready on http://{_HOST}:{listener.getsockname()[1]}", flush=True)  # noqa: T201
            server = _Server(
                uvicorn.Config(
                    create_app(store, DASHBOARDS, clock.now_micros),
                    lifespan="off",
                    ws="none",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    timeout_graceful_shutdown=_DRAIN_S,
                )
            )
            await server.serve(sockets=[listener])
    finally:
        await store.close()


class _Server(uvicorn.Server):
    """Uvicorn, except that a signal does not kill it when it is done."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


@contextmanager
def _listen(port: int) -> Generator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
            listener.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunning(f"port {port} of {_HOST} is taken: choose another by --port") from error
            raise ConfigError(f"cannot listen on {_HOST}:{port}: {os.strerror(error.errno or 0)}") from error
        yield listener
