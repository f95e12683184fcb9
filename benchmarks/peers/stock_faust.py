"""Faust as its documentation shows it: a Record for each event, a tumbling Table, the default transport.

It does less than we do, which is to its advantage: one window size where we keep three, and counts that a
crash makes wrong. Rows land in batches, through the same Arrow insert as ours.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import faust

from benchmarks.peers.counting import Count
from sinks.clickhouse.store import ClickHouseStore
from spendstream.batches import Batch
from spendstream.config import Secret
from spendstream.events import TokenUsage
from spendstream.store import Source
from spendstream.topics import USAGE_TOKENS
from spendstream.windows import Entry, Measures

_BATCH = 5000
_SOURCE = Source("tokens", USAGE_TOKENS.name, 0, "benchmark")


class Usage(faust.Record, serializer="json", coerce=True, coercions={UUID: UUID}):
    """One call of a model, with the fields of `spendstream.events.TokenUsage`."""

    id: UUID
    event_time: int
    source: str
    model: str
    org: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    service: str = ""
    user: str = ""
    key_id: str = ""
    provider: str = ""
    request_model: str = ""
    operation: str = "chat"
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    list_cost: int | None = None
    cost: int | None = None
    avoided_by_cache: int = 0
    avoided_by_routing: int = 0
    avoided_by_compression: int = 0
    duration: int = 0
    time_to_first_token: int | None = None
    status: int = 200
    error_type: str = ""
    retries: int = 0
    usage_source: str = "provider"
    cache_outcome: str = "none"
    cache_similarity: float | None = None
    route: str = ""
    route_reason: str = ""
    reprices: UUID | None = None


_SUMS = [name for name in Measures._fields if name in TokenUsage.__struct_fields__]


def add(sums: dict[str, int], usage: Usage) -> dict[str, int]:
    """Return the sums of a window with one more event in it."""
    added = {name: sums.get(name, 0) + (getattr(usage, name) or 0) for name in _SUMS}
    added["events"] = sums.get("events", 0) + 1
    added["unpriced"] = sums.get("unpriced", 0) + (usage.cost is None)
    added["errors"] = sums.get("errors", 0) + (usage.status >= 400)  # noqa: PLR2004  # HTTP's first error
    hit = usage.cache_outcome != "none"
    added["cache_hits"] = sums.get("cache_hits", 0) + hit
    added["cache_hit_tokens"] = sums.get("cache_hit_tokens", 0) + hit * (
        usage.input_tokens + usage.output_tokens
    )
    return added


def row(usage: Usage) -> TokenUsage:
    """Return what is landed of an event."""
    return TokenUsage(**{name: getattr(usage, name) for name in TokenUsage.__struct_fields__})


def create_app(servers: str, store: ClickHouseStore | None, events: int, count: Count) -> faust.App:
    """Return the application; it counts `events` events, and lands them if there is a `store`."""
    name = f"benchmark-{os.getpid()}"  # its own group and changelog: every run starts anew
    app = faust.App(name, broker=f"kafka://{servers}", web_enabled=False, datadir="faust-data")
    app.conf.consumer_auto_offset_reset = "earliest"
    table = app.Table("usage-by-minute", default=dict, partitions=USAGE_TOKENS.partitions).tumbling(
        60, expires=timedelta(hours=1)
    )
    rows: list[Any] = []

    async def land(store: ClickHouseStore, batch: Sequence[Any]) -> None:
        await store.land_events(_SOURCE, Batch(batch))
        count.events += len(batch)

    @app.agent(app.topic(USAGE_TOKENS.name, value_type=Usage))
    async def meter(stream: faust.StreamT[Any]) -> None:
        async for event in stream.events():
            usage: Any = event.value
            key = f"{usage.team}|{usage.model}"
            table[key] = add(table[key].value(event), usage)
            if store is None:
                count.events += 1
                continue
            rows.append(Entry(event.message.offset, row(usage), int(event.message.timestamp * 1000)))
            if len(rows) == _BATCH or count.events + len(rows) == events:
                await land(store, rows)
                rows.clear()

    @app.task  # type: ignore[untyped-decorator]
    async def announce() -> None:
        count.serve()

    return app


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--land", action="store_true")
    options = parser.parse_args()
    store = ClickHouseStore(Secret(os.environ["SPENDSTREAM_CLICKHOUSE"])) if options.land else None
    app = create_app(os.environ["SPENDSTREAM_KAFKA"], store, options.events, Count())
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
