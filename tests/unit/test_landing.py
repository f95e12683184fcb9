"""What becomes of a block in hand while the workers share out their partitions anew."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from stream_processors.app import land
from stream_processors.metrics import WorkerMetrics

PLACE = TP("usage.tokens", 3)
SOON = 5.0


class Rig:
    """An app, its sources and an event, as far as `land` looks at them; `done` tells what was done."""

    def __init__(self, *, highwater: int = 0, error: Exception | None = None) -> None:
        self.done: list[str] = []
        self.crashed = asyncio.Event()
        self.registry = CollectorRegistry()
        self._metrics = WorkerMetrics(self.registry)
        self._error = error
        self._app: Any = SimpleNamespace(
            consumer_generation_id=2,
            consumer=SimpleNamespace(highwater=lambda _: highwater),
            crash=self._crash,
        )

    async def process(self, topic: str, partition: int, generation: int, block: object) -> None:
        assert (topic, partition, generation, block) == (*PLACE, 2, "block")
        if self._error is not None:
            raise self._error
        self.done.append("landed")

    async def land(self, *, generation: int = 2) -> None:
        message = SimpleNamespace(
            topic=PLACE.topic, partition=PLACE.partition, tp=PLACE, offset=9, generation_id=generation
        )
        event = SimpleNamespace(message=message, value="block", ack=lambda: self.done.append("acknowledged"))
        sources: Any = self
        await asyncio.wait_for(land(self._app, sources, self._metrics, event), SOON)

    def lag(self) -> float | None:
        return self.registry.get_sample_value(
            "spendstream_worker_lag", {"topic": PLACE.topic, "partition": str(PLACE.partition)}
        )

    async def _crash(self, error: Exception) -> None:
        self.done.append(f"crashed: {error}")
        self.crashed.set()


async def test_a_block_is_acknowledged_once_it_has_landed() -> None:
    rig = Rig(highwater=25)
    await rig.land()
    assert rig.done == ["landed", "acknowledged"]
    assert rig.lag() == 15


async def test_a_block_of_an_earlier_assignment_is_left_to_whom_it_belongs_now() -> None:
    for generation in (1, 3):  # a group that begins anew counts from the beginning
        rig = Rig()
        await rig.land(generation=generation)
        assert rig.done == []


async def test_a_partition_that_is_lost_while_its_block_lands_is_no_error() -> None:
    rig = Rig(highwater=0)  # what the consumer answers then
    await rig.land()
    assert rig.done == ["landed", "acknowledged"]
    assert rig.lag() == 0


async def test_what_goes_wrong_ends_the_worker_and_acknowledges_nothing() -> None:
    rig = Rig(error=RuntimeError("a gap"))
    landing = asyncio.create_task(rig.land())
    await asyncio.wait_for(rig.crashed.wait(), SOON)
    assert rig.done == ["crashed: a gap"]
    landing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await landing
