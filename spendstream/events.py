"""The events that flow through Kafka: frozen values, one schema, versioned.

Names follow OpenTelemetry's GenAI and k8s conventions where those have one. Times are integer microseconds
since 1970 UTC, durations are integer microseconds, money is integer picodollars (see `spendstream.money`).
As in OpenTelemetry, cache-read and cache-write tokens are *included* in `input_tokens`, and reasoning tokens
in `output_tokens`: they say what kind of token it was, and are never added a second time.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from spendstream.clock import from_micros

__all__ = [
    "HOUR_MICROS",
    "SCHEMA_VERSION",
    "Asset",
    "CacheOutcome",
    "Event",
    "NodeUsage",
    "Operation",
    "PodUsage",
    "PurchaseOption",
    "TokenUsage",
    "UsageSource",
]

SCHEMA_VERSION = 1
"""The newest schema this code reads and writes. Older ones keep decoding; newer ones are dead letters."""

Text = Annotated[str, Meta(max_length=512)]
Micros = Annotated[int, Meta(ge=0, lt=4_102_444_800_000_000)]  # until the year 2100
Count = Annotated[int, Meta(ge=0, le=2**53)]
Pico = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # up to 9.2 million dollars for one event

Operation = Literal["chat", "text_completion", "embeddings"]
UsageSource = Literal["provider", "estimated", "cached", "interrupted"]
CacheOutcome = Literal["none", "exact", "semantic"]
PurchaseOption = Literal["on-demand", "spot", "reserved", "unknown"]
Asset = Literal["node", "volume", "load-balancer", "control-plane"]

HOUR_MICROS = 3600 * 10**6
"""Microseconds in an hour: no sample of a cluster crosses a full one."""


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="v", tag=SCHEMA_VERSION):
    """What every event has: who made it, when it happened, and whose spend it is.

    Fields at their default are left out on the wire; the schema version `v` never is.
    """

    id: UUID
    event_time: Micros
    source: Text
    org: Text = ""
    team: Text = ""
    project: Text = ""
    environment: Text = ""
    service: Text = ""
    domain: Text = ""


class TokenUsage(Event, frozen=True, kw_only=True):
    """One call of a language model: its tokens, its cost, and how it went.

    `cost` is what was paid and `list_cost` what the same tokens cost at list price; both are None while no
    price covers the model, and the event counts as unpriced. Cache tokens are part of the input; those of
    `cache_write_1h_tokens`, which are kept for an hour, are part of `cache_write_tokens`. A *repricing* is
    the same event once more, now with its cost, under an id of its own (`spendstream.ids.repricing_id`);
    `reprices` is the original's id.
    """

    user: Text = ""
    key_id: Text = ""
    provider: Text = ""
    model: Text
    request_model: Text = ""
    operation: Operation = "chat"
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    cache_write_1h_tokens: Count = 0
    reasoning_tokens: Count = 0
    list_cost: Pico | None = None
    cost: Pico | None = None
    avoided_by_cache: Pico = 0
    avoided_by_routing: Pico = 0
    avoided_by_compression: Pico = 0
    duration: Count = 0
    time_to_first_token: Count | None = None
    status: Annotated[int, Meta(ge=0, le=999)] = 200
    error_type: Text = ""
    retries: Annotated[int, Meta(ge=0, le=65_535)] = 0
    usage_source: UsageSource = "provider"
    cache_outcome: CacheOutcome = "none"
    cache_similarity: Annotated[float, Meta(ge=0, le=1)] | None = None
    route: Text = ""
    route_reason: Text = ""
    reprices: UUID | None = None


class PodUsage(Event, frozen=True, kw_only=True):
    """What one container requested and used from `event_time` until `end_time`, within one hour (UTC).

    CPU is in nanocores and GPU in thousandths of a device, as average over the interval; memory and storage
    are in bytes; network is in bytes in the interval. `memory_peak` is the highest of the interval; 0 says
    that it is not known, and a limit of 0 that there is none. `revision` names what was deployed (the hash of
    the pod template, or the controller's revision); `scaled_on` lists the resources by whose usage an
    autoscaler sets the number of replicas, such as "cpu,memory". `node_hourly_price` is what the whole node
    costs in an hour. `cost` is the sum of the costs by resource, each of which is None while no price covers
    it; so is `cost` while that is so of a resource of which there is an amount.
    """

    end_time: Micros
    cluster: Text
    region: Text = ""
    node: Text = ""
    instance_type: Text = ""
    purchase_option: PurchaseOption = "unknown"
    node_hourly_price: Pico | None = None
    namespace: Text
    workload: Text = ""
    workload_kind: Text = ""
    revision: Text = ""
    pod: Text
    pod_uid: Text = ""
    container: Text = ""
    labels: dict[str, str] = field(default_factory=dict)
    scaled_on: Text = ""
    cpu_request: Count = 0
    cpu_limit: Count = 0
    cpu_usage: Count = 0
    memory_request: Count = 0
    memory_limit: Count = 0
    memory_usage: Count = 0
    memory_peak: Count = 0
    gpu_request: Count = 0
    gpu_usage: Count = 0
    storage_request: Count = 0
    network_received: Count = 0
    network_sent: Count = 0
    oom_kills: Count = 0
    restarts: Count = 0
    cpu_cost: Pico | None = None
    memory_cost: Pico | None = None
    gpu_cost: Pico | None = None
    storage_cost: Pico | None = None
    network_cost: Pico | None = None
    cost: Pico | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an interval that is empty or crosses a full hour."""
        _check_interval(self.event_time, self.end_time)


class NodeUsage(Event, frozen=True, kw_only=True):
    """What a node, or another thing that a cluster pays for, cost from `event_time` until `end_time`.

    The interval lies within one hour (UTC). `node` is the asset's name. Units are those of PodUsage; usage is
    that of the whole node, 0 where it is not known. `cost` is the sum of the costs by resource; a load
    balancer and a control plane have no resources, and only `cost`. Costs are None while no price covers it.
    """

    end_time: Micros
    cluster: Text
    region: Text = ""
    asset: Asset = "node"
    node: Text
    instance_type: Text = ""
    purchase_option: PurchaseOption = "unknown"
    hourly_price: Pico | None = None
    labels: dict[str, str] = field(default_factory=dict)
    cpu_capacity: Count = 0
    memory_capacity: Count = 0
    gpu_capacity: Count = 0
    storage_capacity: Count = 0
    cpu_usage: Count = 0
    memory_usage: Count = 0
    gpu_usage: Count = 0
    cpu_cost: Pico | None = None
    memory_cost: Pico | None = None
    gpu_cost: Pico | None = None
    storage_cost: Pico | None = None
    cost: Pico | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an interval that is empty or crosses a full hour."""
        _check_interval(self.event_time, self.end_time)


def _check_interval(start: int, end: int) -> None:
    if not 0 < end - start <= HOUR_MICROS - start % HOUR_MICROS:
        what = "is empty or ends before it begins" if end <= start else "crosses a full hour (UTC)"
        raise ValueError(
            f"the interval from {_iso(start)} to {_iso(end)} {what}: "
            "a sample begins before it ends, and is cut at full hours"
        )


def _iso(micros: int) -> str:
    return from_micros(micros).isoformat()
