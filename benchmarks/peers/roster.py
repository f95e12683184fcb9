"""Who is measured: each peer is a process that reads the topic, and counts what it has done on /metrics.

To add one, write a module like `benchmarks.peers.bare_client` and one entry here. A peer whose packages do
not go with ours names an environment of its own, with a requirements file beside this module.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["OURS", "PEERS", "STOCK", "Peer"]


class Peer(Struct, frozen=True, kw_only=True):
    """How to run a peer: `arguments` are Python's, and "{events}" in them is how many events to read.

    `counter` is the metric that says how many events are done. `most_events` bounds the work of a slow peer;
    figures are per event. `lands` says that the events are rows in ClickHouse when they are counted,
    `windows` that their windows are as well. `environment` names an environment of its own. A record of the
    topic that it reads holds up to `events_per_record` events.
    """

    name: str
    title: str
    arguments: Sequence[str]
    ready: str = r"metrics on (\S+)"
    counter: str = "benchmark_events"
    most_events: int | None = None
    environment: str = ""
    events_per_record: int = 1
    lands: bool = False
    windows: bool = False


OURS = Peer(
    name="spendstream",
    title="spendstream worker: exact windows, landed, effectively once",
    arguments=("-m", "spendstream", "worker"),
    counter="spendstream_worker_sent_total",
    lands=True,
    windows=True,
)
STOCK = Peer(
    name="faust",
    title="stock Faust agent: one Table of minutes, rows landed",
    arguments=("-m", "benchmarks.peers.stock_faust", "--events", "{events}", "--land"),
    most_events=20_000,
    lands=True,
)
STOCK_UNLANDED = Peer(
    name="faust-unlanded",
    title="stock Faust agent: one Table of minutes, nothing landed",
    arguments=("-m", "benchmarks.peers.stock_faust", "--events", "{events}"),
    most_events=20_000,
)
BARE = Peer(
    name="aiokafka",
    title="aiokafka + msgspec: the client's limit, nothing done",
    arguments=("-m", "benchmarks.peers.bare_client"),
)

QUIX = Peer(
    name="quixstreams",
    title="Quix Streams: one window of minutes, nothing landed",
    arguments=("-m", "benchmarks.peers.quix_streams"),
    environment="quixstreams",
)
BYTEWAX = Peer(
    name="bytewax",
    title="bytewax: one window of minutes, in memory, nothing landed",
    arguments=("-m", "bytewax.run", "benchmarks.peers.bytewax_flow:create_flow()"),
    environment="bytewax",
)

SHARED = replace(
    OURS,
    name="spendstream-shared",
    title="spendstream worker: the same, from records that hold many events",
    events_per_record=500,
)

PEERS = (OURS, STOCK, STOCK_UNLANDED, QUIX, BYTEWAX, BARE, SHARED)
