"""Adding up the days of callers, again and again."""

from __future__ import annotations

import asyncio

from sinks.clickhouse.callers import add_up_days
from sinks.clickhouse.tables import Tables
from sinks.metrics import SinkMetrics
from spendstream.clock import now_micros

__all__ = ["CallerDays"]

_PERIOD_S = 60


class CallerDays:
    """Keeps the days of callers right. Several may: they write the same, and the newest wins."""

    NAME = "caller-days"

    def __init__(self, tables: Tables, metrics: SinkMetrics) -> None:
        self._tables = tables
        self._metrics = metrics.of(self.NAME)

    async def run(self) -> None:
        """Look once a minute, until cancelled."""
        while True:
            with self._metrics.flushing():
                made = await self._metrics.patiently("add up", self._add_up)
            if made:
                self._metrics.sent(made)
            await asyncio.sleep(_PERIOD_S)

    async def _add_up(self) -> int:
        return await add_up_days(self._tables, now_micros())
