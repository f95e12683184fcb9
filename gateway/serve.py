"""The gateway as a process: a socket, a publisher, a server, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Protocol

import structlog
import uvicorn
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from gateway.administering import administering
from gateway.app import create_app
from gateway.audit import AuditLog
from gateway.http import Connection, counting
from gateway.metrics import GatewayMetrics
from gateway.parts import assemble, event_source
from gateway.reconciliation import Ledger, Reconciliation
from gateway.settled import SettledSpend
from gateway.simulated import PROFILES, Models, SimulatedModels, SimulatedProvider, serving
from gateway.storage import answer_cache, connected, reservations
from gateway.tls import server_context
from gateway.tracing import tracing
from gateway.upkeep import guarding, meanwhile
from gateway.upstream.provider import Provider
from gateway.upstream.serving import Serving
from spendstream import clock
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.adapters.publisher import Publisher
from spendstream.budgets import BudgetFile, load
from spendstream.config import Config, ProviderSettings
from spendstream.errors import AlreadyRunning, ConfigError
from spendstream.limits.guard import Guard
from spendstream.limits.opening import Ledger as SpentBefore
from spendstream.pricing import live_book_from
from spendstream.pricing.simulation import SIMULATED

__all__ = ["serve"]

_DRAIN_S = 10
_FLUSH_S = 5.0
_CANCELLED_S = 1.0
_BACKLOG = 2048
_OBJECTS_BETWEEN_COLLECTIONS = 50_000  # a call leaves hardly any cycle; looking for some took a tenth of it

_log = structlog.get_logger()


async def serve(
    config: Config, kafka_servers: str, models: Models | None = None, ledger: _Ledger | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs, hand what is journalled to Kafka, and return.

    Says `gateway ready on <address>` on standard output once it accepts connections. Kafka may be away, at
    the start too. `models` take the place of the simulated ones. With a `ledger`, what calls cost is compared
    with what has landed of it, by budget. Raises AlreadyRunning if the port or the spool is taken,
    ConfigError for a bad setting.
    """
    tls = _tls(config)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(config))
        app, metrics = await _application(stack, config, kafka_servers, models, ledger)
        connection = counting(metrics.connection_refused)
        server = _Server(_settings(app, connection, tls), address=_address(config, listener))
        await server.serve(sockets=[listener])
        if server.server_state.tasks:  # cancelled at the deadline: let them journal their events
            await asyncio.wait(server.server_state.tasks, timeout=_CANCELLED_S)


async def _application(
    stack: AsyncExitStack,
    config: Config,
    kafka_servers: str,
    models: Models | None,
    ledger: _Ledger | None,
) -> tuple[ASGIApp, GatewayMetrics]:
    """Return the application and its metrics, with all that they need running until the stack is unwound."""
    prices = live_book_from(config)
    budgets = BudgetFeed(kafka_servers, load(config.budget_file) if config.budget_file else BudgetFile())
    settled = SettledSpend(clock.now_micros)
    registry = CollectorRegistry()
    journal = Publisher(
        config.data_dir / "spool" / "gateway",
        kafka_servers,
        max_bytes=config.spool_max_bytes,
        registry=registry,
        events_per_record=config.events_per_record,
    )
    audit = AuditLog(config.data_dir / "audit", config.key_secret, clock.now_micros)
    redis = await stack.enter_async_context(connected(config))
    store = await stack.enter_async_context(reservations(config, redis, registry))
    caching = answer_cache(config, redis, clock.now_micros, registry)
    guard = Guard(store)
    parts = assemble(
        config,
        await stack.enter_async_context(_providers(config, models)),
        journal,
        prices,
        clock.now_micros,
        registry=registry,
        instance=socket.gethostname(),
        guard=guard,
        caching=caching,
        settled=settled,
        audit=audit,
        more_keys=True,
        tracing=await stack.enter_async_context(tracing(config, socket.gethostname())),
    )
    await journal.start()
    stack.push_async_callback(_stop, journal)
    audit.open()
    stack.push_async_callback(audit.close)
    stack.push_async_callback(budgets.close)
    if ledger is not None:
        stack.push_async_callback(ledger.close)
        source = event_source(socket.gethostname())
        compared = Reconciliation(budgets, settled, ledger, source=source, registry=registry)
        await stack.enter_async_context(meanwhile(compared.run()))
    await stack.enter_async_context(guarding(guard, store, budgets, ledger, clock.now_micros))
    administration = await stack.enter_async_context(
        administering(parts, kafka_servers, budgets=budgets, prices=prices, cache=caching)
    )
    return create_app(parts, administration), parts.metrics


async def _stop(journal: Publisher) -> None:
    owed = await journal.stop(_FLUSH_S)
    _log.info("gateway stopped", events_left_in_spool=owed)


class _Ledger(Ledger, SpentBefore, Protocol):
    """What has landed, for comparing with it and for knowing what was spent before."""


@asynccontextmanager
async def _providers(config: Config, models: Models | None) -> AsyncIterator[Serving]:
    """Yield the providers of the configuration; the simulated ones among them run as long."""
    given = config.provider or (ProviderSettings(name=SIMULATED, kind="simulated"),)
    async with AsyncExitStack() as stack:
        providers = []
        for settings in given:
            if settings.kind == "simulated":
                simulated = models or SimulatedModels(settings.profiles or PROFILES)
                address = await stack.enter_async_context(serving(SimulatedProvider(simulated)))
                names = settings.models or tuple(simulated.models)
                settings = replace(settings, base_url=address, models=names)  # noqa: PLW2901 - the same, placed
            providers.append(Provider(settings))
        found = Serving(providers)
        try:
            yield found
        finally:
            await found.close()


class _Server(uvicorn.Server):
    """Uvicorn, except that it says when it is ready, and that a signal does not kill it when it is done."""

    def __init__(self, settings: uvicorn.Config, *, address: str) -> None:
        super().__init__(settings)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
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


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return server_context(config.tls_certificate, config.tls_key)


def _settings(app: ASGIApp, connection: type[Connection], tls: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_DRAIN_S,
        ssl_context_factory=None if tls is None else lambda *_: tls,
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
    scheme = "https" if config.tls_certificate else "http"
    return f"{scheme}://{host}:{listener.getsockname()[1]}"
