"""What stands between a client and a provider costs: kinds of requests, measured through it and directly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from msgspec import Struct

from benchmarks.children import Child, tree_resident_mib
from benchmarks.loading import Load, Loaded, load
from benchmarks.peers.environments import ROOT
from benchmarks.peers.proxies import Door

__all__ = [
    "CHAT", "CONNECTIONS", "HIT", "KINDS", "MOST_S", "SHORT", "Figures", "Kind", "Measured", "Measuring",
    "ask", "upstream",
]  # fmt: skip

CONNECTIONS = 16
MOST_S = 10.0
"""A slow gateway is measured with as many requests as it answers in this time."""
_ALONE = 0.1  # as many as of those at many connections
_WARM = 0.05
_LEAST = 100
_PATIENCE_S = 600.0
_BLOCK = 10**7  # numbers of prompts that one measurement may take


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of request, of answers with `chunks` tokens; `share` of the requests asked for are measured."""

    name: str
    title: str
    chunks: int = 40
    stream: bool = False
    same: bool = False
    share: float = 1.0


CHAT = Kind(name="chat", title="chat, every prompt new")
HIT = Kind(name="hit", title="chat, the same prompt again: exact cache", same=True)
SHORT = Kind(name="stream-20", title="streamed in 20 chunks", chunks=20, stream=True, share=0.1)
LONG = Kind(name="stream-200", title="streamed in 200 chunks", chunks=200, stream=True, share=0.02)
KINDS = (CHAT, HIT, SHORT, LONG)


class Figures(Struct, frozen=True, kw_only=True):
    """One kind of request through one gateway; times in microseconds, memory in MiB.

    `added` is over asking the provider directly, at one connection (`alone`) and at many. The percentages are
    shares of a core that the load and the provider used meanwhile: near 100, they are what was measured.
    """

    kind: str
    requests: int
    requests_per_second: float
    cpu_us: float
    p50_us: float
    p99_us: float
    added_alone_p50_us: float
    added_alone_p99_us: float
    added_p50_us: float
    added_p99_us: float
    mib_before: int
    mib_after: int
    load_percent: float
    provider_percent: float


class Measured(Struct, frozen=True, kw_only=True):
    """One gateway, by kind of request.

    `cpu_us_per_chunk` is the difference of long and short streams, for each chunk; as Python's own figures it
    is CPU time, user and system.
    """

    name: str
    version: str
    kinds: Mapping[str, Figures]
    cpu_us_per_chunk: float


class _Pair(Struct, frozen=True):
    """What was measured at one connection, and at many."""

    alone: Loaded
    many: Loaded


class Measuring:
    """Measures gateways in front of one provider, against asking it directly."""

    def __init__(self, provider: Child, requests: int) -> None:
        self._provider = provider
        self._requests = requests
        self._blocks = count(1)
        self._answered = 0
        door = Door(pid=provider.pid, url=f"{provider.address}/v1/chat/completions")
        self._direct = {kind.name: self._both(door, kind) for kind in KINDS if not kind.same}

    @property
    def direct(self) -> Mapping[str, Loaded]:
        """What asking the provider directly takes at many connections, by kind."""
        return {name: pair.many for name, pair in self._direct.items()}

    def through(self, name: str, version: str, door: Door, kinds: Sequence[Kind]) -> Measured:
        """Measure these kinds of requests through a gateway. Raises BenchmarkError if it loses count."""
        self._answered = 0
        figures = {kind.name: self._figures(door, kind) for kind in kinds}
        door.check(self._answered)
        more = figures[LONG.name].cpu_us - figures[SHORT.name].cpu_us
        return Measured(
            name=name,
            version=version,
            kinds=figures,
            cpu_us_per_chunk=round(more / (LONG.chunks - SHORT.chunks), 1),
        )

    def _figures(self, door: Door, kind: Kind) -> Figures:
        self._load(door, kind, CONNECTIONS, _WARM)
        before = tree_resident_mib(door.pid)
        found, direct = self._both(door, kind), self._direct[CHAT.name if kind.same else kind.name]
        many = found.many
        return Figures(
            kind=kind.name,
            requests=many.requests,
            requests_per_second=many.requests_per_second,
            cpu_us=many.cpu_us["gateway"],
            p50_us=many.p50_us,
            p99_us=many.p99_us,
            added_alone_p50_us=round(found.alone.p50_us - direct.alone.p50_us, 1),
            added_alone_p99_us=round(found.alone.p99_us - direct.alone.p99_us, 1),
            added_p50_us=round(many.p50_us - direct.many.p50_us, 1),
            added_p99_us=round(many.p99_us - direct.many.p99_us, 1),
            mib_before=round(before),
            mib_after=round(tree_resident_mib(door.pid)),
            load_percent=many.client_percent,
            provider_percent=round(many.cpu_us["provider"] * many.requests_per_second / 1e4, 1),
        )

    def _both(self, door: Door, kind: Kind) -> _Pair:
        many = self._load(door, kind, CONNECTIONS, 1)
        return _Pair(self._load(door, kind, 1, _ALONE), many)

    def _load(self, door: Door, kind: Kind, connections: int, share: float) -> Loaded:
        requests = max(round(self._requests * kind.share * share), _LEAST)
        pids = {"gateway": door.pid, "provider": self._provider.pid}
        first = next(self._blocks) * _BLOCK
        found = ask(door, kind, requests, first=first, connections=connections, seconds=MOST_S, pids=pids)
        self._answered += found.requests
        return found


def ask(
    door: Door,
    kind: Kind,
    requests: int,
    *,
    first: int,
    connections: int = CONNECTIONS,
    seconds: float = _PATIENCE_S,
    pids: Mapping[str, int] | None = None,
) -> Loaded:
    """Put a load of one kind on a gateway. Prompts are numbered from `first` on, unless all are the same."""
    return load(
        Load(
            url=door.url,
            headers=door.headers,
            model=door.model,
            stream=kind.stream,
            chunks=kind.chunks,
            connections=connections,
            requests=requests,
            seconds=seconds,
            first=0 if kind.same else first,
            same=kind.same,
            pids=pids or {},
        )
    )


@contextmanager
def upstream(folder: Path) -> Iterator[Child]:
    """Give the provider that answers at once."""
    arguments = ["-m", "benchmarks.peers.upstream"]
    env = {"PYTHONPATH": str(ROOT)}
    with Child("upstream", arguments, ready=r"upstream ready on (\S+)", folder=folder, env=env) as child:
        yield child
