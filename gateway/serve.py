"""The gateway as a process: a socket, a publisher, a server, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

import structlog
import uvicorn
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from gateway.app import create_app, event_source
from gateway.reconciliation import Ledger, Reconciliation
from gateway.settled import SettledSpend
from gateway.simulated import Models, SimulatedModels, SimulatedProvider, serving
from gateway.upstream.provider import Provider
from gateway.upstream.serving import Serving
from spendstream import clock
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.adapters.publisher import Publisher
from spendstream.budgets import BudgetFile, load
from spendstream.config import Config, ProviderSettings
from spendstream.errors import AlreadyRunning, ConfigError, TransientError
from spendstream.pricing import book_from
from spendstream.pricing.simulation import SIMULATED

__all__ = ["serve"]

_DRAIN_S = 10
_FLUSH_S = 5.0
_CANCELLED_S = 1.0
_BACKLOG = 2048

_log = structlog.get_logger()


async def serve(
    config: Config, kafka_servers: str, models: Models | None = None, ledger: Ledger | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs, hand what is journalled to Kafka, and return.

    Says `gateway ready on <address>` on standard output once it accepts connections. Kafka may be away, at
    the start too. `models` take the place of the simulated ones. With a `ledger`, what calls cost is compared
    with what has landed of it, by budget. Raises AlreadyRunning if the port or the spool is taken,
    ConfigError for a bad setting.
    """
    prices = book_from(config)
    budgets = BudgetFeed(kafka_servers, load(config.budget_file) if config.budget_file else BudgetFile())
    settled = SettledSpend(clock.now_micros)
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(config))
        journal = Publisher(
            config.data_dir / "spool" / "gateway",
            kafka_servers,
            max_bytes=config.spool_max_bytes,
            registry=registry,
            events_per_record=config.events_per_record,
        )
        providers = await stack.enter_async_context(_providers(config, models))
        app = create_app(
            config,
            providers,
            journal,
            prices,
            clock.now_micros,
            registry=registry,
            instance=socket.gethostname(),
            budgets=budgets,
            settled=settled,
        )
        await journal.start()
        if config.admin_key_sha256:
            with suppress(TransientError):  # asked once, it goes on to read
                await budgets.documents()
        comparing = asyncio.create_task(_compare(budgets, settled, ledger, registry))
        try:
            server = _Server(_settings(app), address=_address(config, listener))
            await server.serve(sockets=[listener])
            if server.server_state.tasks:  # cancelled at the deadline: let them journal their events
                await asyncio.wait(server.server_state.tasks, timeout=_CANCELLED_S)
        finally:
            comparing.cancel()
            await asyncio.gather(comparing, return_exceptions=True)
            await budgets.close()
            owed = await journal.stop(_FLUSH_S)
            _log.info("gateway stopped", events_left_in_spool=owed)


@asynccontextmanager
async def _providers(config: Config, models: Models | None) -> AsyncIterator[Serving]:
    """Yield the providers of the configuration; the simulated ones among them run as long."""
    given = config.provider or (ProviderSettings(name=SIMULATED, kind="simulated"),)
    async with AsyncExitStack() as stack:
        providers = []
        for settings in given:
            if settings.kind == "simulated":
                simulated = models or SimulatedModels()
                address = await stack.enter_async_context(serving(SimulatedProvider(simulated)))
                names = settings.models or tuple(simulated.models)
                settings = replace(settings, base_url=address, models=names)  # noqa: PLW2901 - the same, placed
            providers.append(Provider(settings))
        found = Serving(providers)
        try:
            yield found
        finally:
            await found.close()


async def _compare(
    budgets: BudgetFeed, settled: SettledSpend, ledger: Ledger | None, registry: CollectorRegistry
) -> None:
    if ledger is None:
        return
    source = event_source(socket.gethostname())
    try:
        await Reconciliation(budgets, settled, ledger, source=source, registry=registry).run()
    finally:
        await ledger.close()


class _Server(uvicorn.Server):
    """Uvicorn, except that it says when it is ready, and that a signal does not kill it when it is done."""

    def __init__(self, settings: uvicorn.Config, *, address: str) -> None:
        super().__init__(settings)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"gateway ready on {self._address}", flush=True)  # noqa: T201 - what `up` and people wait for

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


def _settings(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )


@contextmanager
def _listen(config: Config) -> Generator[socket.socket]:
    host, port = config.gateway_host, config.gateway_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunning(
                    f"port {port} of {host} is taken: stop what uses it, or set gateway_port"
                ) from error
            raise ConfigError(
                f"gateway_host: cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}"
            ) from error
        yield listener


def _address(config: Config, listener: socket.socket) -> str:
    host = f"[{config.gateway_host}]" if ":" in config.gateway_host else config.gateway_host
    return f"http://{host}:{listener.getsockname()[1]}"
