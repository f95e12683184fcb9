"""Rates and the layers of a price book."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from spendstream.errors import UnknownPrice
from spendstream.money import round_half_even
from spendstream.pricing import PriceBook, Rates, simulation_book
from spendstream.pricing.book import DAY, MILLION, table

AT = 1_770_000_000_000_000
prices = st.integers(0, 10**15)
counts = st.integers(0, 10**9)


@st.composite
def any_rates(draw: st.DrawFn) -> Rates:
    return Rates(
        input=draw(prices),
        output=draw(prices),
        cache_read=draw(prices),
        cache_write=draw(prices),
        cache_write_1h=draw(st.none() | prices),
        source="t",
    )


@st.composite
def usage(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    read, write, an_hour = draw(counts), draw(counts), draw(counts)
    return read + write + an_hour + draw(counts), draw(counts), read, write + an_hour, an_hour


def flat(price: int, **more: object) -> Rates:
    return Rates(input=price, output=price, cache_read=price, cache_write=price, **more)  # type: ignore[arg-type]


class TestCost:
    @given(any_rates(), usage())
    def test_is_the_exact_sum_rounded_once_half_to_even(self, rates, used):
        tokens, output, read, write, an_hour = used
        dear = rates.cache_write if rates.cache_write_1h is None else rates.cache_write_1h
        exact = Fraction(
            (tokens - read - write) * rates.input
            + output * rates.output
            + read * rates.cache_read
            + (write - an_hour) * rates.cache_write
            + an_hour * dear,
            MILLION,
        )
        cost = rates.cost(*used)
        assert type(cost) is int
        assert cost == round_half_even(exact)

    @given(any_rates(), usage(), usage())
    def test_of_two_calls_adds_up_to_that_of_both_within_one_rounding(self, rates, one, other):
        both = rates.cost(*(a + b for a, b in zip(one, other, strict=True)))
        assert abs(rates.cost(*one) + rates.cost(*other) - both) <= 1

    @given(st.integers(0, 10**9), usage(), usage())
    def test_adds_up_exactly_when_a_token_costs_whole_picodollars(self, per_token, one, other):
        rates = flat(per_token * MILLION)
        both = rates.cost(*(a + b for a, b in zip(one, other, strict=True)))
        assert rates.cost(*one) + rates.cost(*other) == both

    @pytest.mark.parametrize(("price", "cost"), [(500_000, 0), (1_500_000, 2), (2_500_000, 2), (500_001, 1)])
    def test_half_a_picodollar_goes_to_the_even_side(self, price, cost):
        assert flat(price).cost(1, 0) == cost

    def test_does_not_charge_cached_input_twice(self):
        rates = Rates(input=4 * MILLION, output=0, cache_read=MILLION, cache_write=5 * MILLION)
        assert rates.cost(100, 0, 80, 10) == 10 * 4 + 80 * 1 + 10 * 5

    @given(any_rates(), usage(), st.booleans())
    def test_is_never_more_than_the_most_that_was_told(self, rates, used, an_hour):
        tokens, output, *parts = used
        dear = replace(rates, cache_read=0)
        parts = parts if an_hour else [*parts[:2], 0]
        assert dear.cost(tokens, output, *parts) <= dear.most(tokens, output, an_hour=an_hour)

    @pytest.mark.parametrize(
        "used",
        [
            (10, 0, 11, 0),
            (10, 0, 6, 5),
            (-1, 0, 0, 0),
            (1, -1, 0, 0),
            (1, 0, -1, 0),
            (9, 0, 0, 5, 6),
            (9, 0, 0, 5, -1),
        ],
    )
    def test_refuses_more_cached_tokens_than_input_and_negative_counts(self, used):
        with pytest.raises(ValueError, match="cache tokens are included in input tokens"):
            flat(1).cost(*used)


class TestHours:
    HOUR = DAY // 24

    @pytest.mark.parametrize(
        ("hours", "inside", "outside"),
        [((9, 17), (9, 12, 16), (8, 17, 23)), ((22, 6), (22, 23, 0, 5), (6, 12, 21)), ((3, 3), (), (3, 4))],
    )
    def test_rates_hold_from_the_first_hour_until_before_the_second(self, hours, inside, outside):
        rates = flat(1, hours=(hours[0] * self.HOUR, hours[1] * self.HOUR))
        midnight = AT - AT % DAY
        assert all(rates.in_force(midnight + hour * self.HOUR) for hour in inside)
        assert not any(rates.in_force(midnight + hour * self.HOUR) for hour in outside)


class TestPriceBook:
    def test_the_rates_in_force_are_the_latest_ones_that_have_begun(self):
        entries = [("p", "m", flat(price, effective_from=price)) for price in (300, 100, 200)]
        book = PriceBook(table(entries))
        found = [book.find("p", "m", at) for at in (99, 100, 199, 200, 10**15)]
        assert [rates and rates.input for rates in found] == [None, 100, 100, 200, 300]

    def test_a_call_without_provider_is_priced_when_all_sellers_agree(self):
        book = PriceBook(
            table([("a", "m", flat(1, source="one")), ("b", "m", flat(1, source="two")), ("a", "n", flat(1))])
        )
        assert book.rates("", "m", AT).input == 1
        assert book.rates("", "n", AT).input == 1

    def test_a_call_without_provider_is_unpriced_when_sellers_differ(self):
        book = PriceBook(table([("a", "m", flat(1)), ("b", "m", flat(2))]))
        assert book.find("", "m", AT) is None
        with pytest.raises(UnknownPrice, match="or name the provider"):
            book.rates("", "m", AT)

    def test_an_entry_without_provider_serves_the_sellers_that_have_none_of_their_own(self):
        book = PriceBook(table([("", "m", flat(1)), ("a", "m", flat(2))]))
        assert [book.rates(name, "m", AT).input for name in ("", "a", "other")] == [1, 2, 1]

    def test_an_upper_layer_wins_from_the_day_it_begins(self):
        upper = PriceBook(table([("a", "m", flat(2, effective_from=AT))]))
        book = upper.over(PriceBook(table([("a", "m", flat(1)), ("a", "below", flat(3))])))
        assert book.rates("a", "m", AT - 1).input == 1
        assert book.rates("a", "m", AT).input == 2
        assert book.rates("a", "below", AT).input == 3

    def test_names_are_found_in_any_case(self):
        assert PriceBook(table([("Acme", "Big-1", flat(7))])).rates("aCME", " big-1", AT).input == 7

    def test_an_unknown_model_is_an_error_that_says_what_to_do(self):
        with pytest.raises(UnknownPrice) as caught:
            simulation_book().rates("openai", "gpt-99", AT)
        message = str(caught.value)
        assert "'gpt-99'" in message
        assert "'openai'" in message
        assert "2026-02-02T02:40:00+00:00" in message
        assert "price_file" in message

    def test_names_from_callers_do_not_pile_up(self):
        book = simulation_book()
        for number in range(10_000):
            book.find("", f"made-up-{number}", AT)
        assert book._schedules.cache_info().currsize <= 4096


class TestSimulation:
    @pytest.mark.parametrize(
        ("provider", "model", "cost"),
        [
            ("openai", "gpt-4", 90_000_000_000),
            ("openai", "gpt-3.5-turbo", 3_000_000_000),
            ("anthropic", "claude-haiku", 1_500_000_000),
        ],
    )
    def test_a_thousand_tokens_each_way_cost_what_the_simulation_says(self, provider, model, cost):
        for seller in (provider, "simulated", ""):
            assert simulation_book().rates(seller, model, AT).cost(1000, 1000) == cost
