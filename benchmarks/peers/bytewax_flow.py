"""bytewax as its documentation shows it: Kafka's operators, an event clock, and a fold over tumbling windows.

Its state is in memory, without recovery. It runs in an environment of its own, under `python -m bytewax.run`,
and imports nothing of ours but the count.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink
from confluent_kafka import OFFSET_BEGINNING

from benchmarks.peers.counting import Count

_SUMS = ("cost", "input_tokens", "output_tokens", "cache_read_tokens")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DISORDER = timedelta(seconds=10)
_BATCH = 1000


def decode(message: KafkaSourceMessage[Any, Any]) -> dict[str, Any]:
    """Return the event in a record."""
    usage: dict[str, Any] = json.loads(message.value)
    return usage


def key(usage: dict[str, Any]) -> str:
    """Return whose window an event belongs to: the team's and the model's."""
    return f"{usage['team']}|{usage['model']}"


def event_time(usage: dict[str, Any]) -> datetime:
    """Return when an event happened."""
    return _EPOCH + timedelta(microseconds=usage["event_time"])


def empty() -> dict[str, int]:
    """Return a window without events."""
    return {"events": 0, **dict.fromkeys(_SUMS, 0)}


def merge(sums: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    """Return two windows added up."""
    return {name: sums[name] + others[name] for name in sums}


def create_flow() -> Dataflow:
    """Return the flow, which counts each event when its window has it, and say that it is ready."""
    count = Count()

    def add(sums: dict[str, int], usage: dict[str, Any]) -> dict[str, int]:
        sums["events"] += 1
        for name in _SUMS:
            sums[name] += usage.get(name, 0)
        count.events += 1
        return sums

    flow = Dataflow("benchmark")
    records = kafka.input(
        "usage",
        flow,
        brokers=os.environ["SPENDSTREAM_KAFKA"].split(","),
        topics=["usage.tokens"],
        starting_offset=OFFSET_BEGINNING,
        batch_size=_BATCH,
    )
    keyed = op.key_on("team and model", op.map("decode", records.oks, decode), key)
    clock = win.EventClock(ts_getter=event_time, wait_for_system_duration=_DISORDER)
    windower = win.TumblingWindower(length=timedelta(minutes=1), align_to=_EPOCH)
    sums = win.fold_window("minute", keyed, clock, windower, empty, add, merge, ordered=False)
    op.output("nowhere", sums.down, TestingSink([]))
    count.serve()
    return flow
