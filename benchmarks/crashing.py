"""One round of crashes: a replay runs while parts are killed by a plan, each started again at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from benchmarks.children import BenchmarkError, Child
from benchmarks.recovery import Kill, Look, Recovery
from benchmarks.stack import Stack
from sinks.clickhouse.tables import Tables
from spendstream.adapters.delivery import Delivery, Record
from spendstream.adapters.kafka import TopicPartition, committed_offsets, end_offsets
from spendstream.config import Secret
from spendstream.errors import BrokerUnavailable, TransientError
from spendstream.topics import DEAD_LETTERS, USAGE_TOKENS, WORKER_GROUP

__all__ = ["PARTS", "Crash", "Crashed", "Letters", "crash", "plan"]

PARTS = ("worker-1", "worker-2", "sink", "clickhouse", "broker")
"""What is killed."""

_SINK_GROUP = "spendstream-sink"
_POLL_S = 0.02
_STUCK_S = 120.0
_MOST_RESTARTS = 20
_LETTERS = 20  # before each kill
_SEND_S = 3.0
_TOGETHER = 0.25  # the share of kills that take two parts at once

_LANDED = """
SELECT toUInt32(extract(src, '/([0-9]+)@')), max(src_off), count() FROM token_usage_raw GROUP BY 1
"""


class Crash(Struct, frozen=True):
    """Kill `parts` as soon as `rows` rows have landed."""

    rows: int
    parts: Sequence[str]


def plan(seed: str, events: int, kills: int) -> list[Crash]:
    """Return when to kill whom, in order: at random, and the same for the same seed."""
    rnd = random.Random(seed)  # noqa: S311  # no secret
    shares = sorted(rnd.uniform(0.01, 0.95) for _ in range(kills))
    return [
        Crash(round(share * events), rnd.sample(PARTS, 2 if rnd.random() < _TOGETHER else 1))
        for share in shares
    ]


class Letters:
    """Records that are no events, sent beside the replay. Each is different, and must become a dead letter.

    `sent` are acknowledged; `perhaps` are those whose broker went away before it said so.
    """

    def __init__(self, servers: str) -> None:
        self.sent: set[str] = set()
        self.perhaps: set[str] = set()
        self._servers = servers

    async def send(self) -> None:
        """Send some more."""
        first = len(self.sent) + len(self.perhaps)
        numbers = range(first, first + _LETTERS)
        values = [f"no event, number {number}" for number in numbers]
        records: list[Record] = [
            (USAGE_TOKENS.name, b"%d" % number, value.encode(), [])
            for number, value in zip(numbers, values, strict=True)
        ]
        try:
            async with asyncio.timeout(_SEND_S), Delivery.connected(self._servers, ack_timeout=_SEND_S) as to:
                await to.deliver(records)
            self.sent.update(values)
        except (BrokerUnavailable, TimeoutError):
            self.perhaps.update(values)


class _Crashing:
    def __init__(self, stack: Stack, letters: Letters, told: Callable[[int], None]) -> None:
        self._stack = stack
        self._letters = letters
        self._told = told
        self._tables = Tables(Secret(stack.clickhouse))
        self.recoveries: list[Recovery] = []
        self.restarts: Counter[str] = Counter()

    async def run(self, replay: Child, crashes: Sequence[Crash]) -> None:
        remaining = list(crashes)
        moved, rows = time.monotonic(), -1
        try:
            while True:
                look = await self._look()
                if look.rows > rows:
                    moved, rows = look.at, look.rows
                    self._told(rows)
                for recovery in self.recoveries:
                    recovery.see(look)
                self._revive()
                if remaining and look.rows >= remaining[0].rows:
                    if await self._kill(remaining[0].parts):
                        remaining.pop(0)
                        moved = time.monotonic()
                elif not remaining and await self._over(replay):
                    return
                if look.at - moved > _STUCK_S:
                    raise self._stuck(rows)
                await asyncio.sleep(_POLL_S)
        finally:
            await self._tables.close()

    def _stuck(self, rows: int) -> BenchmarkError:
        waiting = sum(not recovery.over for recovery in self.recoveries)
        words = [self._stack.children[name].said().strip().splitlines()[-2:] for name in PARTS]
        last = "\n".join(
            f"{name}: {line}" for name, lines in zip(PARTS, words, strict=True) for line in lines
        )
        return BenchmarkError(
            f"nothing has moved for {_STUCK_S:.0f} s: {rows:,} rows, {waiting} kills unrecovered\n{last}"
        )

    async def _kill(self, parts: Sequence[str]) -> bool:
        """Kill parts and start them again; return False while nobody can tell how far things are."""
        if (await self._look()).committed is None:
            return False
        await self._letters.send()
        try:
            ends, look = await self._ends(), await self._look()
        except BrokerUnavailable:
            return False
        if look.committed is None:
            return False
        for name in parts:
            self._stack.children[name].kill()
        for name in parts:
            self._stack.children[name].launch()
        start = Look(at=time.monotonic(), rows=look.rows, landed=look.landed, committed=look.committed)
        self.recoveries += [Recovery(name, start, ends) for name in parts]
        return True

    def _revive(self) -> None:
        """Start again what has ended by itself, as a supervisor does."""
        for name in PARTS:
            child = self._stack.children[name]
            if child.ended is not None:
                self.restarts[name] += 1
                if self.restarts[name] > _MOST_RESTARTS:
                    raise child.failure("keeps ending by itself")
                child.launch()

    async def _over(self, replay: Child) -> bool:
        if replay.ended is None or not all(recovery.over for recovery in self.recoveries):
            return False
        if replay.ended:
            raise replay.failure(f"ended with exit code {replay.ended}")
        try:
            ends, look = await self._ends(), await self._look()
            stored = await self._stored()
        except TransientError:
            return False
        done = look.committed or {}
        return stored >= self._letters.sent and all(done.get(place, 0) >= end for place, end in ends.items())

    async def _look(self) -> Look:
        committed: Mapping[TopicPartition, int] | None = None
        landed: Mapping[TopicPartition, int] | None = None
        rows = -1
        try:
            answer = await self._tables.rows(_LANDED)
            landed = {TopicPartition(USAGE_TOKENS.name, partition): last for partition, last, _ in answer}
            rows = sum(count for *_, count in answer)
            committed = {
                **await committed_offsets(self._stack.servers, WORKER_GROUP),
                **await committed_offsets(self._stack.servers, _SINK_GROUP),
            }
        except TransientError:
            pass  # what is None says so
        return Look(at=time.monotonic(), rows=rows, landed=landed, committed=committed)

    async def _ends(self) -> dict[TopicPartition, int]:
        return {
            TopicPartition(topic.name, partition): end
            for topic in (USAGE_TOKENS, DEAD_LETTERS)
            for partition, end in (await end_offsets(self._stack.servers, topic.name)).items()
        }

    async def _stored(self) -> set[str]:
        answer = await self._tables.rows("SELECT DISTINCT value FROM dead_letter")
        return {value for (value,) in answer}


class Crashed(Struct, frozen=True, kw_only=True):
    """A round: its kills, how often a part ended by itself, and in `stuck` why it was given up, if so."""

    kills: Sequence[Kill]
    ended_by_themselves: Mapping[str, int]
    stuck: str


async def crash(
    stack: Stack, replay: Child, crashes: Sequence[Crash], letters: Letters, told: Callable[[int], None]
) -> Crashed:
    """Crash the parts of `stack` while `replay` sends, until all has landed; `told` hears how many rows have.

    The round is given up when the replay fails, a part keeps ending, or nothing moves for two minutes.
    """
    crashing = _Crashing(stack, letters, told)
    stuck = ""
    try:
        await crashing.run(replay, crashes)
    except BenchmarkError as error:
        stuck = str(error)
    return Crashed(
        kills=[recovery.kill for recovery in crashing.recoveries],
        ended_by_themselves=dict(crashing.restarts),
        stuck=stuck,
    )
