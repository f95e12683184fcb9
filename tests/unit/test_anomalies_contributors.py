"""Parts of a change of cost add up to it, to the picodollar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.anomalies.contributors import OTHERS, Line, contributions, price_volume_mix
from spendstream.anomalies.usual import Usual
from spendstream.windows import Measures

costs = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**18), max_size=6)
lines = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(0, 10**9) | st.fractions(0, 10**9, max_denominator=1000), st.integers(0, 10**18)),
    max_size=6,
).map(lambda found: [Line(name=name, quantity=many, cost=cost) for name, (many, cost) in found.items()])


def test_the_team_that_spent_more_explains_the_change():
    found = contributions(
        "team", expected=300, usual={"search": 1, "chat": 2}, actual={"search": 100, "chat": 700}, total=800
    )
    assert [(each.name, each.expected, each.difference) for each in found] == [
        ("chat", 200, 500),
        ("search", 100, 0),
    ]


def test_what_a_dimension_does_not_tell_apart_is_named():
    found = contributions("key", expected=10, usual={}, actual={"k": 5}, total=20)
    assert {each.name: each.difference for each in found} == {"k": 5, OTHERS: 5}


@given(expected=st.integers(0, 10**18), usual=costs, actual=costs, rest=st.integers(-(10**9), 10**18))
def test_differences_add_up_to_the_change(expected, usual, actual, rest):
    total = sum(actual.values()) + rest
    found = contributions("team", expected=expected, usual=usual, actual=actual, total=total)
    assert sum(each.difference for each in found) == total - expected
    assert sum(each.expected for each in found) == expected
    assert len({each.name for each in found}) == len(found)


@given(before=lines, after=lines)
def test_price_volume_and_mix_add_up_to_the_change(before, after):
    found = price_volume_mix(before, after)
    change = sum(line.cost for line in after) - sum(line.cost for line in before)
    assert found.total == found.price + found.volume + found.mix == change


@given(before=lines, factor=st.integers(1, 9))
def test_more_of_the_same_is_volume_and_only_that(before, factor):
    before = [line for line in before if line.quantity]
    after = [
        Line(name=each.name, quantity=each.quantity * factor, cost=each.cost * factor) for each in before
    ]
    found = price_volume_mix(before, after)
    assert (found.price, found.mix) == (0, 0)


@given(before=lines, factor=st.integers(1, 9))
def test_the_same_for_more_is_price_and_only_that(before, factor):
    before = [line for line in before if line.quantity]
    after = [Line(name=each.name, quantity=each.quantity, cost=each.cost * factor) for each in before]
    found = price_volume_mix(before, after)
    assert (found.volume, found.mix) == (0, 0)


def test_a_move_to_a_dearer_model_is_mix():
    before = [Line(name="cheap", quantity=90, cost=90), Line(name="dear", quantity=10, cost=100)]
    after = [Line(name="cheap", quantity=10, cost=10), Line(name="dear", quantity=90, cost=900)]
    found = price_volume_mix(before, after)
    assert (found.price, found.volume, found.mix) == (0, 0, 720)


def test_a_name_twice_or_less_than_nothing_is_refused():
    line = Line(name="a", quantity=1, cost=1)
    with pytest.raises(ValueError, match="unique names"):
        price_volume_mix([line, line], [])
    with pytest.raises(ValueError, match="at least 0"):
        price_volume_mix([], [Line(name="a", quantity=-1, cost=1)])


def test_the_usual_shares_explain_a_window_and_its_rest():
    usual = Usual()
    parts = {"model": {"a": Measures(cost=300, input_tokens=30), "b": Measures(cost=100, input_tokens=10)}}
    for _ in range(50):
        usual.learn(parts)
    now = {"model": {"a": Measures(cost=1200, input_tokens=60)}}
    whole = Measures(cost=1300, input_tokens=70)
    found = usual.contributors(now, expected=400, total=1300)
    assert {each.name: each.difference for each in found} == {"a": 900, "b": -100, OTHERS: 100}
    drivers = usual.drivers(now, whole, expected=400)
    assert drivers is not None
    assert drivers.total == 900
    assert drivers.price == 600  # 60 tokens of a at 10 each came to 1200


def test_of_very_many_names_the_largest_are_known():
    usual = Usual()
    for _ in range(3):
        usual.learn({"key": {f"k{place:03}": Measures(cost=place) for place in range(200)}})
    assert sorted(usual.means["key"]) == [f"k{place:03}" for place in range(136, 200)]
