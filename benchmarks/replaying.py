"""A recording on disk, and a process that replays it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.progress import Progress

from benchmarks.children import Child
from benchmarks.stack import Stack
from producers import recordings
from producers.streams import TOKEN_STREAM
from spendstream.events import TokenUsage

__all__ = ["record", "replaying"]


def record(path: Path, usage: Iterable[TokenUsage], events: int, bars: Progress) -> int:
    """Write a recording of `events` events; return what they cost, in picodollars."""
    cost = 0
    bar = bars.add_task("recording", total=events)

    def counted() -> Iterator[TokenUsage]:
        nonlocal cost
        for event in usage:
            cost += event.cost or 0
            bars.advance(bar)
            yield event

    recordings.write(path, TOKEN_STREAM, counted())
    return cost


def replaying(path: Path, stack: Stack, *options: str) -> Child:
    """Return a process that replays a recording into `stack`, and then ends."""
    arguments = ["-m", "spendstream", "replay", str(path), "--json", *options]
    return Child("replay", arguments, ready="()", folder=stack.folder, env=stack.environment)
