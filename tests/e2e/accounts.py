"""Recordings of made-up usage, and an account of them by plain arithmetic that shares no code with ours."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from producers import recordings
from producers.streams import POD_STREAM, TOKEN_STREAM
from spendstream.events import HOUR_MICROS, PodUsage, TokenUsage
from spendstream.ids import derived_id
from tests.fixtures.stack import Pipeline

START = 1_740_787_200  # 2025-03-01T00:00:00Z
SPAN = 6 * 3600
_TEAMS = ("search", "ads", "support", "research", "")
_MODELS = ("gpt-4", "gpt-3.5-turbo", "claude-haiku")
_SIZES = (60, 3600, 86_400)
_COUNTS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip
_AVOIDED = ("avoided_by_cache", "avoided_by_routing", "avoided_by_compression")

Row = tuple[Any, ...]


def write_tokens(path: Path, org: str, count: int, *, seed: int = 0) -> None:
    """Write `count` calls of several teams over six hours; some late, unpriced, failed, or there twice."""
    rnd = random.Random(f"{org}/{seed}")
    recordings.write(path, TOKEN_STREAM, _with_repeats(rnd, _tokens(rnd, org, count, seed)))


def write_pods(path: Path, org: str, count: int, *, seed: int = 0) -> None:
    """Write `count` intervals of containers in several clusters."""
    rnd = random.Random(f"{org}/{seed}")
    recordings.write(path, POD_STREAM, _with_repeats(rnd, _pods(rnd, org, count, seed)))


def events(*paths: Path) -> list[dict[str, Any]]:
    """Return the distinct events of recordings."""
    lines = (json.loads(line) for path in paths for line in path.read_text().splitlines())
    return list({event["id"]: event for event in lines}.values())


def expected_windows(*paths: Path) -> Counter[Row]:
    """Return every window of recordings: size, start, dimensions, and what it adds up to, in dollars."""
    windows: dict[Row, list[int]] = defaultdict(lambda: [0] * 15)
    for event in events(*paths):
        measures = _measures(event)
        for size in _SIZES:
            start = event["event_time"] // 10**6 // size * size
            window = windows[size, start, *_dimensions(event)]
            for place, amount in enumerate(measures):
                window[place] += amount
    return Counter((*key, *map(_exact, enumerate(sums))) for key, sums in windows.items())


def stored_windows(pipeline: Pipeline, org: str) -> Counter[Row]:
    """Return every window that ClickHouse shows for an org, in the same terms."""
    rows = pipeline.rows(
        "SELECT window_seconds, toUnixTimestamp(window_start), kind, team, project, provider, model, "
        "cluster, namespace, events, unpriced, errors, cache_hits, cost, list_cost, "
        f"{', '.join(_AVOIDED)}, {', '.join(_COUNTS)} FROM cost_window WHERE org = '{org}'"
    )
    return Counter((*row[:9], *map(_as_exact, enumerate(row[9:]))) for row in rows)


def expected_total(*paths: Path) -> Row:
    """Return how many events recordings have, the unpriced ones, cost in dollars, and tokens in and out."""
    all_events = events(*paths)
    return (
        len(all_events),
        sum("cost" not in event for event in all_events),
        Decimal(sum(event.get("cost", 0) for event in all_events)).scaleb(-12),
        sum(event.get("input_tokens", 0) for event in all_events),
        sum(event.get("output_tokens", 0) for event in all_events),
    )


def stored_total(pipeline: Pipeline, org: str) -> Row:
    """Return the same of the rows that ClickHouse shows for an org."""
    tokens = "sum(input_tokens), sum(output_tokens)"
    [found] = [
        row
        for table, sums in (("token_usage", tokens), ("pod_usage", "0, 0"))
        for row in pipeline.rows(
            f"SELECT count(), countIf(cost IS NULL), ifNull(sum(cost), 0), {sums} "
            f"FROM {table} WHERE org = '{org}'"
        )
        if row[0]
    ]
    return (*found[:2], Decimal(found[2]), *found[3:])


def check(pipeline: Pipeline, org: str, *paths: Path) -> None:
    """Compare an org's rows, and its windows of every size, with the account of its recordings, exactly."""
    assert stored_total(pipeline, org) == expected_total(*paths)
    stored, expected = stored_windows(pipeline, org), expected_windows(*paths)
    assert stored - expected == Counter()
    assert expected - stored == Counter()


def landed(pipeline: Pipeline, org: str) -> int:
    """Return how many rows of an org are there."""
    return sum(
        pipeline.value(f"SELECT uniqExact(event_id) FROM {table} WHERE org = '{org}'")
        for table in ("token_usage_raw", "pod_usage_raw")
    )


def _exact(measure: tuple[int, int]) -> int | Decimal:
    place, amount = measure
    return Decimal(amount).scaleb(-12) if _is_money(place) else amount


def _as_exact(measure: tuple[int, Any]) -> int | Decimal:
    place, amount = measure
    return Decimal(amount) if _is_money(place) else amount


def _is_money(place: int) -> bool:
    return 4 <= place < 9


def _measures(event: dict[str, Any]) -> list[int]:
    pod = "pod" in event
    return [
        1,
        "cost" not in event,
        event.get("status", 200) >= 400,
        event.get("cache_outcome", "none") != "none",
        event.get("cost", 0),
        event.get("cost" if pod else "list_cost", 0),
        *(event.get(name, 0) for name in (*_AVOIDED, *_COUNTS)),
    ]


def _dimensions(event: dict[str, Any]) -> Row:
    kind = "pods" if "pod" in event else "tokens"
    names = ("team", "project", "provider", "model", "cluster", "namespace")
    return (kind, *(event.get(name, "") for name in names))


def _with_repeats(rnd: random.Random, usage: Iterator[Any]) -> Iterator[Any]:
    """Yield events, each twentieth of them a second time, some of these much later."""
    kept: list[Any] = []
    for event in usage:
        yield event
        if rnd.random() < 0.05:
            kept.append(event)
        if kept and rnd.random() < 0.05:
            yield kept.pop(rnd.randrange(len(kept)))


def _time(rnd: random.Random, row: int, count: int) -> int:
    late = rnd.randrange(3 * 86_400) if rnd.random() < 0.01 else rnd.randrange(30)
    return (START + SPAN * row // count - late) * 10**6 + rnd.randrange(10**6)


def _tokens(rnd: random.Random, org: str, count: int, seed: int) -> Iterator[TokenUsage]:
    for row in range(count):
        time = _time(rnd, row, count)
        cost = None if rnd.random() < 0.03 else rnd.choice([rnd.randrange(10**9), rnd.randrange(10**18)])
        yield TokenUsage(
            id=derived_id(time, f"{org}/{seed}".encode(), row),
            event_time=time,
            source="made-up",
            org=org,
            team=rnd.choice(_TEAMS),
            project=rnd.choice(["", "web"]),
            provider="simulated",
            model=rnd.choice(_MODELS),
            input_tokens=rnd.randrange(100_000),
            output_tokens=rnd.randrange(5_000),
            cache_read_tokens=rnd.randrange(100),
            cache_write_tokens=rnd.randrange(100),
            cache_write_1h_tokens=rnd.randrange(100),
            reasoning_tokens=rnd.randrange(100),
            cost=cost,
            list_cost=cost,
            avoided_by_cache=rnd.randrange(10**9),
            avoided_by_routing=rnd.randrange(10**9),
            avoided_by_compression=rnd.randrange(10**9),
            status=rnd.choice([200, 200, 200, 429, 500]),
            cache_outcome=rnd.choice(["none", "none", "exact", "semantic"]),
        )


def _pods(rnd: random.Random, org: str, count: int, seed: int) -> Iterator[PodUsage]:
    for row in range(count):
        time = _time(rnd, row, count)
        yield PodUsage(
            id=derived_id(time, f"{org}/{seed}".encode(), row),
            event_time=time,
            end_time=min(time + 300 * 10**6, time - time % HOUR_MICROS + HOUR_MICROS),
            source="made-up",
            org=org,
            team=rnd.choice(_TEAMS),
            cluster=f"cluster-{rnd.randrange(6)}",
            namespace=rnd.choice(["default", "batch"]),
            pod=f"pod-{rnd.randrange(50)}",
            labels={"app": rnd.choice(["a", "b"])},
            cpu_usage=rnd.randrange(10**9),
            cost=None if rnd.random() < 0.03 else rnd.randrange(10**15),
        )
