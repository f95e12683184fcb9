"""Money is exact: no float, no rounding that was not asked for, and parts add up to the whole."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.money import PICO, dollars, format_usd, parse_usd, round_half_even, split

amounts = st.integers(-(10**38) + 1, 10**38 - 1)
weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


@given(amounts)
def test_picodollars_survive_the_way_to_dollars_and_back(pico: int) -> None:
    assert parse_usd(dollars(pico)) == pico
    assert parse_usd(str(dollars(pico))) == pico
    assert dollars(pico).as_tuple().exponent == -12


@given(amounts, weights)
def test_parts_add_up_to_the_whole_and_none_is_off_by_a_picodollar(total: int, weights: list[int]) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    if any(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(Fraction(total * weight, sum(weights)) - part) < 1
            assert weight or part == 0


@given(st.integers(0, 10**20), weights)
def test_more_weight_is_never_less_money(total: int, weights: list[int]) -> None:
    parts = split(total, weights)
    ranked = sorted(zip(weights, parts, strict=True))
    assert [part for _, part in ranked] == sorted(parts) or max(parts) - min(parts) <= 1


@given(st.integers(-(10**6), 10**6), st.integers(1, 30))
def test_without_any_weight_the_split_is_even(total: int, people: int) -> None:
    parts = split(total, [0] * people)
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def test_what_is_left_over_goes_to_who_lost_most_and_then_to_who_came_first() -> None:
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(5, [1, 2, 1]) == [1, 3, 1]
    assert split(-1, [1, 1]) == [0, -1]


@pytest.mark.parametrize("bad", [[], [1, -1]])
def test_a_split_among_nobody_or_by_negative_weights_is_refused(bad: list[int]) -> None:
    with pytest.raises(ValueError, match="weights must be non-negative"):
        split(1, bad)


@pytest.mark.parametrize(
    "text", ["free", "", "nan", "inf", "0.0000000000001", "1e-13", "1e-999999999", f"1.{'0' * 70}1"]
)
def test_what_is_no_whole_number_of_picodollars_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="dollars"):
        parse_usd(text)


@pytest.mark.parametrize("text", ["1e26", "-1e26", "1e999990", "1e999999999", 10**26])
def test_an_amount_beyond_what_can_be_kept_is_refused_at_once(text: str | int) -> None:
    with pytest.raises(ValueError, match="at most 26 digits before the point"):
        parse_usd(text)


def test_amounts_are_read_as_people_write_them() -> None:
    assert parse_usd("0.03") == 3 * PICO // 100
    assert parse_usd(3) == 3 * PICO
    assert parse_usd(f"1.{'0' * 70}") == PICO
    assert parse_usd(Decimal("-1e-12")) == -1


def test_amounts_are_shown_as_people_read_them() -> None:
    assert format_usd(1_234_500_000_000_000) == "$1,234.50"
    assert format_usd(-PICO // 2) == "-$0.50"
    assert format_usd(-1) == "$0.00"
    assert format_usd(3 * 10**8, decimals=6) == "$0.000300"
    assert format_usd(5 * 10**9) == "$0.00"
    assert format_usd(15 * 10**9) == "$0.02"


@given(st.fractions())
def test_rounding_goes_to_the_nearest_and_from_the_middle_to_the_even_one(amount: Fraction) -> None:
    rounded = round_half_even(amount)
    distance = abs(amount - rounded)
    assert distance < Fraction(1, 2) or (distance == Fraction(1, 2) and rounded % 2 == 0)
