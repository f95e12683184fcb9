"""The Faust application: one agent for each usage topic, each a thin loop around the sources."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from pathlib import Path
from typing import Any

import faust
import structlog
from faust.types import TP, AppT

from spendstream.topics import WORKER_GROUP
from stream_processors.assignor import WatchfulAssignor
from stream_processors.block_transport import BlockTransport
from stream_processors.lanes import Lanes
from stream_processors.metrics import WorkerMetrics
from stream_processors.sources import TOPICS, Sources

__all__ = ["create_app"]

_log = structlog.get_logger(__name__)

_BLOCKS_AHEAD = 2  # blocks, not events, wait in an agent's queue
_FETCH_BYTES = 2 << 20  # of compressed records: some ten thousand events
_OBJECTS_BETWEEN_COLLECTIONS = 100_000  # about what a large block is made of


class _BlockSchema(faust.Schema):  # type: ignore[type-arg]  # not generic at run time
    """Hands a block on as it is."""

    def loads_key(self, app: AppT, message: Any, **_: Any) -> None:  # noqa: ARG002  # Faust's signature
        return None

    def loads_value(self, app: AppT, message: Any, **_: Any) -> Any:  # noqa: ARG002  # Faust's signature
        return message.value


def create_app(
    servers: str, sources: Sources, lanes: Lanes, metrics: WorkerMetrics, datadir: Path
) -> faust.App:
    """Return the application that reads all usage topics from Kafka at `servers`.

    Concurrency stays 1: a second worker on one partition would commit past a block in flight. Partitions
    wait for ClickHouse side by side all the same, each in its lane.
    """
    app = faust.App(
        WORKER_GROUP,
        broker=";".join(f"aiokafka://{server.strip()}" for server in servers.split(",")),
        store="memory://",
        datadir=str(datadir),  # Faust makes one, though nothing is kept there
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=_FETCH_BYTES,
        stream_buffer_maxsize=_BLOCKS_AHEAD,
        stream_wait_empty=False,
        broker_commit_interval=0.25,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=0.5,  # how soon a member hears that the group shares out anew
        worker_redirect_stdouts=False,
        PartitionAssignor=WatchfulAssignor,
    )
    BlockTransport.install(app)
    for topic in TOPICS:
        _add_agent(app, topic, sources, lanes, metrics)

    @app.on_partitions_revoked.connect  # type: ignore[arg-type]  # Faust's signal does not name its arguments
    async def forget(_: AppT, revoked: set[TP], **__: Any) -> None:
        for tp in revoked:
            metrics.revoked(tp.topic, tp.partition)

    @app.on_partitions_assigned.connect
    async def count(*_: object, **__: object) -> None:
        metrics.assigned()

    @app.task  # type: ignore[untyped-decorator]
    async def spare_the_collector() -> None:
        """Look for garbage in cycles less often: blocks have none, and looking took a third of the time."""
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)

    return app


def _add_agent(app: faust.App, topic: str, sources: Sources, lanes: Lanes, metrics: WorkerMetrics) -> None:
    async def take_blocks(stream: faust.Stream[Any]) -> None:
        async for event in stream.noack().events():
            lane = (topic, event.message.partition)
            await lanes.put(lane, event.value.size, partial(land, app, sources, metrics, event))

    app.agent(app.topic(topic, schema=_BlockSchema()), name=f"land.{topic}", concurrency=1)(
        take_blocks  # type: ignore[arg-type]  # noack() is missing from the type that agents are declared with
    )


async def land(app: AppT, sources: Sources, metrics: WorkerMetrics, event: Any) -> None:
    """Land an event's block and acknowledge it; crash the app when that cannot be done.

    A block of an earlier assignment is left alone: it is delivered again, to whom its partition belongs now.
    """
    message = event.message
    if message.generation_id != app.consumer_generation_id:
        return
    try:
        with metrics.in_hand():
            await sources.process(message.topic, message.partition, message.generation_id, event.value)
        event.ack()
        behind = app.consumer.highwater(message.tp) - message.offset - 1
        metrics.lag(message.topic, message.partition, max(behind, 0))
    except Exception as error:  # noqa: BLE001  # the edge of the process: going on would lose the block
        _log.exception("cannot go on", topic=message.topic, partition=message.partition)
        await app.crash(error)
        await asyncio.Event().wait()  # until the crash has stopped the worker
