"""The real traces add up to what ten independent lines say; skipped where the files are not there.

PUBLIC_DATA, or a folder shared/data beside the repository, holds azure-llm-2023, mooncake, bitbrains.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from producers import formats
from spendstream.events import PodUsage, TokenUsage
from spendstream.pricing import simulation_book
from tests.fixtures.traces import trace


def imported(path: Path) -> list[TokenUsage | PodUsage]:
    return list(formats.open_events(path, None, {}, simulation_book).events)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "count"),
    [("AzureLLMInferenceTrace_conv.csv.gz", 19_366), ("AzureLLMInferenceTrace_code.csv.gz", 8_819)],
)
def test_azure_adds_up(name: str, count: int) -> None:
    path = trace(f"azure-llm-2023/{name}")
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    events = imported(path)
    assert len(events) == len(rows) == count
    assert sum(e.input_tokens for e in events) == sum(int(row["ContextTokens"]) for row in rows)
    assert sum(e.output_tokens for e in events) == sum(int(row["GeneratedTokens"]) for row in rows)
    dollars = sum(
        Decimal(row["ContextTokens"]) * Decimal("0.03") / 1000
        + Decimal(row["GeneratedTokens"]) * Decimal("0.06") / 1000
        for row in rows
    )
    assert Decimal(sum(e.cost for e in events)).scaleb(-12) == dollars
    assert len({e.id for e in events}) == count


def test_mooncake_adds_up() -> None:
    path = trace("mooncake/conversation_trace.jsonl.gz")
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    known: set[int] = set()
    cached = 0
    for row in rows:
        hits = [block in known for block in row["hash_ids"]]
        leading = hits.index(False) if False in hits else len(hits)
        cached += min(512 * leading, row["input_length"])
        known |= set(row["hash_ids"])
    events = imported(path)
    assert len(events) == len(rows) == 12_031
    assert sum(e.input_tokens for e in events) == sum(row["input_length"] for row in rows)
    assert sum(e.output_tokens for e in events) == sum(row["output_length"] for row in rows)
    assert sum(e.cache_read_tokens for e in events) == cached > 0
    assert events[-1].event_time - events[0].event_time == rows[-1]["timestamp"] * 1000


@pytest.mark.slow
def test_bitbrains_adds_up() -> None:
    path = trace("bitbrains/rnd-2013-08-sample.csv.gz")
    samples = defaultdict(list)
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            samples[row["vm"]].append(row)
    dollars, seconds = Decimal(0), 0
    for rows in samples.values():
        times = [int(row["timestamp_s"]) for row in rows]
        for row, start, following in zip(rows, times, [*times[1:], 2**40], strict=True):
            length = min(300, following - start)
            share = Decimal(row["cpu_usage_mhz"]) / (Decimal(row["cpu_capacity_mhz"]) or 1)
            cores = int(row["cpu_cores"]) * max(Decimal(1), share)
            kib = max(int(row["memory_capacity_kb"]), int(row["memory_usage_kb"]))
            hourly = cores * Decimal("0.031611") + Decimal(kib) / 2**20 * Decimal("0.004237")
            dollars += hourly * length / 3600
            seconds += length
    events = imported(path)
    assert sum(map(len, samples.values())) == 361_969
    assert len(events) > 361_969  # those that cross a full hour are two
    assert sum(e.end_time - e.event_time for e in events) == seconds * 10**6
    # each of them is rounded to a picodollar, and usage to a nanocore, once
    assert abs(Decimal(sum(e.cost for e in events)).scaleb(-12) - dollars) < Decimal("1e-6")
    assert [e.event_time for e in events] == sorted(e.event_time for e in events)
