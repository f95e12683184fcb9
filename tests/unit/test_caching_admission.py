"""Which answers are kept, and for how long."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.caching.admission import (
    Admission,
    Policy,
    RecentMedian,
    Value,
    is_complete,
    reusability,
    stability,
    stateful,
    ttl,
)
from spendstream.caching.sightings import Sightings

_parts = st.floats(0, 1)
_values = st.builds(Value, cost=_parts, reusability=_parts, stability=_parts)
_POLICY = Policy()


def _digest(number):
    return hashlib.sha256(str(number).encode()).digest()


def test_the_value_is_weighed_as_stated():
    assert Value(cost=1, reusability=0, stability=0).total == pytest.approx(0.4)
    assert Value(cost=0, reusability=1, stability=0).total == pytest.approx(0.4)
    assert Value(cost=0, reusability=0, stability=1).total == pytest.approx(0.2)


@given(_values)
def test_a_time_to_live_keeps_its_bounds(value):
    assert _POLICY.least_ttl <= ttl(_POLICY, value) <= _POLICY.most_ttl


@given(_values, _parts)
def test_more_reuse_never_shortens_the_time_to_live(value, more):
    other = Value(cost=value.cost, reusability=max(value.reusability, more), stability=value.stability)
    assert ttl(_POLICY, other) >= ttl(_POLICY, value)


def test_an_answer_that_is_tied_to_now_lives_for_the_least_time():
    assert ttl(_POLICY, Value(cost=1, reusability=1, stability=0)) == _POLICY.least_ttl


def test_a_cheap_answer_is_kept_only_when_it_is_asked_again():
    admission = Admission(_POLICY)
    for _ in range(20):
        admission.ttl(1_000_000, 0.0, 0.5, 100)
    assert admission.ttl(1_000, 0.0, 0.5, 100) == 0
    assert admission.ttl(1_000, reusability(1, 0), 0.5, 100) > 0


def test_a_dear_answer_is_kept_at_first_sight():
    admission = Admission(_POLICY)
    admission.ttl(1_000, 0.0, 0.5, 100)
    assert admission.ttl(100_000, 0.0, 0.5, 100) > 0


def test_an_answer_without_a_price_is_no_free_answer():
    admission = Admission(_POLICY)
    for _ in range(20):
        admission.ttl(1_000_000, 0.0, 1.0, 100)
    assert admission.ttl(None, 0.0, 1.0, 100) > admission.ttl(0, 0.0, 1.0, 100) == 0


def test_a_huge_answer_is_not_kept():
    assert Admission(_POLICY).ttl(10**12, 1.0, 1.0, _POLICY.most_bytes + 1) == 0


@given(st.lists(st.integers(0, 100), min_size=1, max_size=40))
def test_the_median_is_that_of_the_last_values(values):
    median = RecentMedian(5)
    for value in values:
        median.add(value)
    last = sorted(values[-5:])
    assert median.value == last[len(last) // 2]


@given(st.integers(0, 40), st.integers(0, 400))
def test_each_sighting_makes_reuse_likelier(seen, kin):
    assert 0 <= reusability(seen, kin) <= reusability(seen + 1, kin) <= 1
    assert reusability(seen, kin) <= reusability(seen, kin + 1)


@pytest.mark.parametrize(
    ("body", "text", "expected"),
    [
        ({"temperature": 0}, "What is a watermark?", 1.0),
        ({"seed": 7}, "What is a watermark?", 1.0),
        ({}, "What is a watermark?", 0.5),
        ({"temperature": 0, "tools": [{}]}, "x", 0.5),
        ({"tools": [{}]}, "x", 0.25),
        ({"temperature": 0}, "What is the LATEST version?", 0.0),
        ({"temperature": 0}, "Weather today?", 0.0),
        ({"temperature": 0}, "Who knows?", 1.0),  # the word now is in it
    ],
)
def test_stability_is_less_with_chance_tools_and_time(body, text, expected):
    assert stability(body, text) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "function"}, {"type": "file_search"}]},
        {"conversation": "conv_1"},
        {"container": "c"},
        {"web_search_options": {"search_context_size": "low"}},
    ],
)
def test_what_the_provider_looks_up_or_remembers_is_not_cached(body):
    assert stateful(body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": [{"type": "function"}, {"name": "f", "input_schema": {}}]},
        {"background": False},
        {"tools": 1},
    ],
)
def test_what_is_in_the_request_alone_may_be_cached(body):
    assert not stateful(body)


@pytest.mark.parametrize(
    ("shape", "status", "reasons", "expected"),
    [
        ("chat", 200, ["stop"], True),
        ("chat", 200, ["stop", "tool_calls"], True),
        ("messages", 200, ["end_turn"], True),
        ("embeddings", 200, [], True),
        ("chat", 200, [], False),
        ("chat", 200, [None], False),
        ("chat", 200, ["stop", "length"], False),
        ("chat", 200, ["content_filter"], False),
        ("messages", 200, ["max_tokens"], False),
        ("messages", 200, ["refusal"], False),
        ("chat", 500, ["stop"], False),
        ("embeddings", 429, [], False),
    ],
)
def test_only_whole_answers_may_be_kept(shape, status, reasons, expected):
    assert is_complete(shape, status, reasons) is expected


@given(st.lists(st.integers(0, 30), max_size=200))
def test_a_digest_is_never_counted_too_low(numbers):
    sightings, seen = Sightings(64), {}
    for number in numbers:
        assert sightings.see(_digest(number)) >= seen.get(number, 0)
        seen[number] = seen.get(number, 0) + 1


def test_what_was_asked_long_ago_fades():
    sightings = Sightings(16)
    for _ in range(50):
        sightings.see(_digest("once popular"))
    for number in range(2_000):
        sightings.see(_digest(number % 4))
    assert sightings.see(_digest("once popular")) < 50


def test_counts_have_a_most():
    sightings = Sightings(1 << 14)
    counts = [sightings.see(_digest("always")) for _ in range(70_000)]
    assert max(counts) <= 65_535


def test_a_width_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match="power of two"):
        Sightings(100)
