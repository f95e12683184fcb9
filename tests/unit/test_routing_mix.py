"""A mix is exact at every moment, and shares of a window hold."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.routing.definition import Limit
from spendstream.routing.diversity import Spread
from spendstream.routing.mix import Mix

MINUTE = 60 * 10**6
shares = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 100), min_size=1).filter(
    lambda each: any(each.values())
)


@given(shares=shares, turns=st.integers(1, 400))
def test_after_any_number_of_turns_each_is_less_than_one_turn_off_its_share(shares, turns):
    mix, had, total = Mix(shares), dict.fromkeys(shares, 0), sum(shares.values())
    for turn in range(1, turns + 1):
        had[mix.turn()] += 1
        for name, share in shares.items():
            assert abs(had[name] - Fraction(share * turn, total)) < 1


def test_thirty_fifty_twenty_is_met_exactly_and_smoothly():
    mix = Mix({"a": 30, "b": 50, "c": 20})
    turns = "".join(mix.turn() for _ in range(100))
    assert [turns.count(name) for name in "abc"] == [30, 50, 20]
    assert turns[:10] == turns[10:20], "the order repeats as soon as it can"
    assert "bbb" not in turns


def test_half_and_half_alternates():
    mix = Mix({"a": 50, "b": 50})
    assert "".join(mix.turn() for _ in range(6)) == "ababab"


def test_a_mix_in_which_nobody_has_a_share_is_refused():
    with pytest.raises(ValueError, match="positive share"):
        Mix({"a": 0})


def _spend(spread, wanted, now):
    """Give a call to the first wanted provider that is admitted."""
    admitted = spread.admitted(wanted, now)
    chosen = next(provider for provider in wanted if provider in admitted)
    spread.count(chosen, now)
    return chosen


@given(share=st.integers(5_000, 10_000), calls=st.integers(1, 300))
def test_no_provider_gets_more_than_its_limit_rounded_up(share, calls):
    spread = Spread(Limit(share=share, window=MINUTE))
    had = {"one": 0, "two": 0}
    for number in range(1, calls + 1):
        had[_spend(spread, ["one", "two"], number)] += 1
        assert max(had.values()) <= -(-number * share // 10_000)


def test_the_window_slides():
    spread = Spread(Limit(share=6_000, window=MINUTE))
    first = [_spend(spread, ["one", "two"], 0) for _ in range(10)]
    assert first.count("one") == 6
    assert _spend(spread, ["one", "two"], MINUTE + 1) == "one", "what is a window old is forgotten"


def test_a_limit_that_nobody_can_keep_spreads_calls_evenly():
    spread = Spread(Limit(share=1_000, window=MINUTE))
    had = [_spend(spread, ["one", "two"], 0) for _ in range(100)]
    assert had.count("one") == 50


def test_the_only_provider_gets_all_calls():
    spread = Spread(Limit(share=1_000, window=MINUTE))
    assert [_spend(spread, ["one"], 0) for _ in range(5)] == ["one"] * 5
