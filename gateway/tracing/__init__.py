"""Traces of calls, for an OpenTelemetry collector: an optional part, not loaded if it is not used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from spendstream.config import Config
from spendstream.errors import ConfigError

if TYPE_CHECKING:
    from gateway.tracing.spans import Tracing

__all__ = ["tracing"]


@asynccontextmanager
async def tracing(config: Config, instance: str) -> AsyncIterator[Tracing | None]:
    """Yield what traces the calls of a gateway that is called `instance`, or None without `otlp_endpoint`.

    What is left to send goes out at the end. Raises ConfigError if the packages are not there.
    """
    if not config.otlp_endpoint:
        yield None
        return
    try:
        from gateway.tracing.spans import Tracing  # noqa: PLC0415 - an optional part
    except ImportError as error:
        raise ConfigError(
            f"otlp_endpoint: traces need packages that are not there ({error.name}): "
            "pip install 'spendstream[tracing]'"
        ) from error
    found = Tracing(config.otlp_endpoint, instance)
    try:
        yield found
    finally:
        await asyncio.to_thread(found.close)
