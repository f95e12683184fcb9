"""Events on the wire: the way there and back, and no record pays for what is wrong with its neighbour."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.codec import MAX_EVENT_BYTES, NODES, PODS, TOKENS, EventCodec, joined
from spendstream.errors import MalformedEvent
from spendstream.events import NodeUsage, PodUsage, TokenUsage
from tests.fixtures.samples import samples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
COUNT = st.integers(0, 2**53)
PICO = st.none() | st.integers(0, 2**63 - 1)
TIME = st.integers(0, 4_102_444_799_999_999)
calls = st.builds(
    TokenUsage,
    id=st.uuids(), event_time=TIME, source=TEXT, team=TEXT, model=TEXT, input_tokens=COUNT, cost=PICO,
    time_to_first_token=st.none() | COUNT, cache_similarity=st.none() | st.floats(0, 1), error_type=TEXT,
)  # fmt: skip
HOUR = 3600 * 10**6


pods = samples(
    PodUsage,
    id=st.uuids(), source=TEXT, cluster=TEXT, namespace=TEXT, pod=TEXT,
    labels=st.dictionaries(TEXT, TEXT), cost=PICO, cpu_cost=PICO, oom_kills=COUNT, revision=TEXT,
)  # fmt: skip
nodes = samples(
    NodeUsage,
    id=st.uuids(), source=TEXT, cluster=TEXT, node=TEXT, cpu_capacity=COUNT, gpu_capacity=COUNT,
    asset=st.sampled_from(["node", "volume", "load-balancer", "control-plane"]),
    labels=st.dictionaries(TEXT, TEXT), hourly_price=PICO, memory_cost=PICO, cost=PICO,
)  # fmt: skip


def call(row: int = 0, **fields: object) -> TokenUsage:
    return TokenUsage(id=uuid.UUID(int=row), event_time=row, source="test", model="m", **fields)


def wire(**fields: object) -> bytes:
    return json.dumps(json.loads(TOKENS.encode(call())) | fields).encode()


@given(calls)
def test_a_call_is_read_as_it_was_written(event: TokenUsage) -> None:
    assert TOKENS.decode(TOKENS.encode(event)) == event
    assert b"\n" not in TOKENS.encode(event)


@given(pods)
def test_a_container_s_interval_is_read_as_it_was_written(event: PodUsage) -> None:
    assert PODS.decode(PODS.encode(event)) == event


@given(nodes)
def test_what_a_node_costs_is_read_as_it_was_written(event: NodeUsage) -> None:
    assert NODES.decode(NODES.encode(event)) == event


@pytest.mark.parametrize("codec", [PODS, NODES])
@pytest.mark.parametrize(
    ("start", "end", "what"),
    [
        (HOUR - 1, HOUR + 1, "crosses a full hour"),
        (0, 2 * HOUR, "crosses a full hour"),
        (HOUR, HOUR, "is empty"),
        (HOUR, HOUR - 1, "ends before it begins"),
    ],
)
def test_an_interval_that_is_not_within_one_hour_is_refused_with_its_bounds_and_what_to_do(
    codec: EventCodec[PodUsage] | EventCodec[NodeUsage], start: int, end: int, what: str
) -> None:
    event = {"v": 1, "id": str(uuid.UUID(int=1)), "source": "s", "cluster": "c", "namespace": "n", "pod": "p"}
    value = json.dumps(event | {"node": "n", "event_time": start, "end_time": end}).encode()
    with pytest.raises(
        MalformedEvent, match=f"from 1970-01-01T0.* to 1970-01-01T0.*{what}.*cut at full hours"
    ):
        codec.decode(value)


def test_an_interval_of_a_whole_hour_is_one_sample() -> None:
    PodUsage(
        id=uuid.UUID(int=1),
        event_time=HOUR,
        end_time=2 * HOUR,
        source="s",
        cluster="c",
        namespace="n",
        pod="p",
    )


@given(calls)
def test_the_headers_are_those_of_a_cloud_event(event: TokenUsage) -> None:
    headers = dict(TOKENS.headers(event))
    assert headers["ce_specversion"] == b"1.0"
    assert uuid.UUID(headers["ce_id"].decode()) == event.id
    assert headers["ce_source"].decode() == event.source


GOOD = TOKENS.encode(call(7))
adversarial = st.one_of(
    st.none(),
    st.just(b""),
    st.just(b"\n"),
    st.just(GOOD),
    st.just(GOOD + b"\n" + GOOD),  # two events in one record
    st.just(GOOD + b"\n{}\n\n" + GOOD[:20] + b"\n" + GOOD),
    st.just(GOOD[:20]),
    st.just(GOOD[20:]),
    st.just(GOOD.replace(b",", b",\n")),  # one event over several lines
    st.just(b" " + GOOD + b"\r\n"),
    st.just(b"null"),
    st.just(b"\xff"),
    st.binary(max_size=20),
)


def alone(value: bytes | None) -> tuple[TokenUsage | None, str | None]:
    """Return the event in one line, or why there is none."""
    try:
        return TOKENS.decode(value), None
    except MalformedEvent as error:
        return None, str(error)


def holds(value: bytes | None) -> list[tuple[TokenUsage | None, str | None]]:
    """Return what a record holds: one event, whatever its layout, or else one in each of its lines."""
    whole = alone(value)
    lines = [line for line in (value or b"").split(b"\n") if line.strip()]
    if whole[0] or not any(GOOD in line or line == b"{}" for line in lines):
        return [whole]
    return list(map(alone, lines))


@given(st.lists(adversarial, max_size=12))
def test_a_block_reads_each_line_as_if_it_were_alone(values: list[bytes | None]) -> None:
    events, lines, rejected = TOKENS.decode_block(values)
    expected = [holds(value) for value in values]
    assert list(lines or [1] * len(values)) == list(map(len, expected))
    assert list(events) == [event for record in expected for event, _ in record]
    assert [(each.index, each.line, each.reason) for each in rejected] == [
        (index, line, reason)
        for index, record in enumerate(expected)
        for line, (_, reason) in enumerate(record)
        if reason is not None
    ]
    for each in rejected:
        assert TOKENS.lines(values[each.index])[each.line] == each.value


@given(st.lists(calls, min_size=1, max_size=20), st.integers(1, 5))
def test_good_events_keep_their_order_whether_they_share_records_or_not(
    events: list[TokenUsage], few: int
) -> None:
    singly = [TOKENS.encode(event) for event in events]
    together = [joined(singly[first : first + few]) for first in range(0, len(events), few)]
    assert TOKENS.decode_block(singly) == (events, None, ())
    decoded = TOKENS.decode_block(together)
    assert (decoded.events, decoded.rejected) == (events, ())
    assert sum(decoded.lines or [1] * len(together)) == len(events)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty record"),
        (b"[]", "Expected `object`"),
        (wire(input_tokens=-1), "Expected `int` >= 0 - at `$.input_tokens`"),
        (wire(input_tokens="7"), "Expected `int`, got `str` - at `$.input_tokens`"),
        (wire(cost=0.5), "Expected `int | null`"),
        (wire(id="me"), "Invalid UUID - at `$.id`"),
        (wire(model="x" * 513), "length <= 512 - at `$.model`"),
        (wire(v=2), "schema version 2: this release reads up to 1; upgrade, then replay"),
        (wire(v="2"), "Expected `int`"),
        (b" " * (MAX_EVENT_BYTES + 1), "at most 1048576 are accepted"),
    ],
)
def test_the_reason_says_what_was_expected_and_where(value: bytes | None, reason: str) -> None:
    with pytest.raises(MalformedEvent) as caught:
        TOKENS.decode(value)
    assert reason in str(caught.value)


def test_fields_that_a_later_release_added_are_ignored() -> None:
    assert TOKENS.decode(wire(colour="blue")) == call()
