"""A batch of events in columns: what lands and what is added up are the same Arrow arrays.

A pass over all events for each field, in C, is several times faster than one over all fields for each event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import compress
from typing import Any

import pyarrow as pa

from spendstream.events import NodeUsage, PodUsage, TokenUsage
from spendstream.windows import Entry

__all__ = ["MONEY", "Batch"]

MONEY = pa.decimal128(38, 0)
"""Picodollars: 128 bits, so that sums do not wrap around."""

_MICROS = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_LABELS = pa.map_(pa.string(), pa.string())

_Convert = Callable[[list[Any]], pa.Array]


class Batch:
    """Entries of one type of event, in order of positions; columns are made when they are first read."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and list(self.entries) == list(other.entries)

    __hash__ = None  # type: ignore[assignment]  # a batch is compared in tests, and never a key

    @cached_property
    def events(self) -> list[Any]:
        """The events."""
        return [entry.event for entry in self.entries]

    @cached_property
    def positions(self) -> pa.Array:
        """The position of each event in its source, as uint64."""
        return pa.array([entry.position for entry in self.entries], pa.uint64())

    @cached_property
    def columns(self) -> Mapping[str, pa.Array]:
        """Each field of the events as an array, by its name; empty for an empty batch."""
        events = self.events
        if not events:
            return {}
        return {name: convert(read(events)) for name, (read, convert) in _LAYOUTS[type(events[0])].items()}

    def parted(self) -> tuple[Batch, Batch]:
        """Return the batch without its repricings, and these, which are rare."""
        reprices = self.columns.get("reprices")
        if reprices is None or reprices.null_count == len(reprices):
            return self, Batch(())
        events, repricings = reprices.is_null().to_pylist(), reprices.is_valid().to_pylist()
        return Batch([*compress(self.entries, events)]), Batch([*compress(self.entries, repricings)])


def _plain(kind: pa.DataType) -> _Convert:
    return lambda values: pa.array(values, kind)


def _money(values: list[int | None]) -> pa.Array:
    return pa.array(values, pa.int64()).cast(MONEY)


def _uuids(values: list[Any]) -> pa.Array:
    joined = pa.py_buffer(b"".join([value.int.to_bytes(16) for value in values]))
    return pa.Array.from_buffers(pa.binary(16), len(values), [None, joined])


def _optional_uuids(values: list[Any]) -> pa.Array:
    if values.count(None) == len(values):
        return pa.nulls(len(values), pa.binary(16))
    return pa.array([value and value.bytes for value in values], pa.binary(16))


def _maps(values: list[dict[str, str]]) -> pa.Array:
    return pa.array([list(value.items()) for value in values], _LABELS)


_TIME, _STRING, _UINT16, _UINT64, _FLOAT = map(
    _plain, (_MICROS, _TEXT, pa.uint16(), pa.uint64(), pa.float64())
)


def _fields(convert: _Convert, *names: str) -> dict[str, _Convert]:
    return dict.fromkeys(names, convert)


_COMMON = {
    **_fields(_uuids, "id"),
    **_fields(_TIME, "event_time"),
    **_fields(_STRING, "source", "org", "team", "project", "environment", "service", "domain"),
    **_fields(_money, "cost"),
}
_FIELDS: Mapping[type, Mapping[str, _Convert]] = {
    TokenUsage: {
        **_COMMON,
        **_fields(_STRING, "user", "key_id", "provider", "model", "request_model", "operation"),
        **_fields(_UINT64, "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
        **_fields(_UINT64, "cache_write_1h_tokens", "reasoning_tokens", "duration", "time_to_first_token"),
        **_fields(_money, "list_cost", "avoided_by_cache", "avoided_by_routing", "avoided_by_compression"),
        **_fields(_UINT16, "status", "retries"),
        **_fields(_STRING, "error_type", "usage_source", "cache_outcome", "route", "route_reason"),
        **_fields(_FLOAT, "cache_similarity"),
        **_fields(_optional_uuids, "reprices"),
    },
    PodUsage: {
        **_COMMON,
        **_fields(_TIME, "end_time"),
        **_fields(_STRING, "cluster", "region", "node", "instance_type", "purchase_option", "namespace"),
        **_fields(_STRING, "workload", "workload_kind", "revision", "pod", "pod_uid", "container"),
        **_fields(_STRING, "scaled_on"),
        **_fields(_money, "node_hourly_price"),
        **_fields(_maps, "labels"),
        **_fields(_UINT64, "cpu_request", "cpu_limit", "cpu_usage"),
        **_fields(_UINT64, "memory_request", "memory_limit", "memory_usage", "memory_peak"),
        **_fields(_UINT64, "gpu_request", "gpu_usage", "storage_request", "network_received", "network_sent"),
        **_fields(_UINT64, "oom_kills", "restarts"),
        **_fields(_money, "cpu_cost", "memory_cost", "gpu_cost", "storage_cost", "network_cost"),
    },
    NodeUsage: {
        **_COMMON,
        **_fields(_TIME, "end_time"),
        **_fields(_STRING, "cluster", "region", "asset", "node", "instance_type", "purchase_option"),
        **_fields(_money, "hourly_price"),
        **_fields(_maps, "labels"),
        **_fields(_UINT64, "cpu_capacity", "memory_capacity", "gpu_capacity", "storage_capacity"),
        **_fields(_UINT64, "cpu_usage", "memory_usage", "gpu_usage"),
        **_fields(_money, "cpu_cost", "memory_cost", "gpu_cost", "storage_cost"),
    },
}


def _reader(name: str) -> Callable[[list[Any]], list[Any]]:
    """Return a function that reads one field of all events: written out, it is twice as fast as `map`."""
    read: Callable[[list[Any]], list[Any]] = eval(f"lambda events: [event.{name} for event in events]")  # noqa: S307  # ours
    return read


_LAYOUTS = {
    kind: {name: (_reader(name), convert) for name, convert in fields.items()}
    for kind, fields in _FIELDS.items()
}
