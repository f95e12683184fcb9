"""The published prices, compiled to flat rates."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
    Usage,
)
from hypothesis import given
from hypothesis import strategies as st

from spendstream.clock import from_micros, to_micros
from spendstream.config import Config
from spendstream.money import PICO, parse_usd
from spendstream.pricing import PriceBook, book_from, standard_book
from spendstream.pricing.standard import _Published

AT = to_micros(datetime(2025, 11, 3, 18, tzinfo=UTC))


def dollars(text: str) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(text), output_mtok=Decimal(text))


def seller(name: str, price: str | ModelPrice | list[ConditionalPrice], **more: object) -> Provider:
    prices = dollars(price) if isinstance(price, str) else price
    model = ModelInfo(id="m", match=ClauseEquals("m"), prices=prices)
    return Provider(id=name, name="", api_pattern="", models=[model], **more)


def published(prices: ModelPrice | list[ConditionalPrice]) -> PriceBook:
    return PriceBook(_Published([seller("seller", prices)]))


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4", ("30", "60", "30", "30")),
        ("openai", "gpt-4o-2024-08-06", ("2.50", "10", "1.25", "2.50")),
        ("openai", "gpt-4o-mini", ("0.15", "0.60", "0.075", "0.15")),
        ("anthropic", "claude-3-5-haiku-20241022", ("0.80", "4", "0.08", "1")),
        ("anthropic", "claude-3-7-sonnet-latest", ("3", "15", "0.30", "3.75")),
        ("anthropic", "claude-3-opus-20240229", ("15", "75", "1.50", "18.75")),
    ],
)
def test_well_known_models_cost_what_their_makers_publish(provider, model, expected):
    for seller in (provider, ""):
        rates = standard_book().rates(seller, model, AT)
        found = (rates.input, rates.output, rates.cache_read, rates.cache_write)
        assert found == tuple(map(parse_usd, expected))
        assert rates.source.startswith("genai-prices ")


def test_a_price_cut_changes_the_rates_at_midnight_of_its_day():
    cut = to_micros(datetime(2025, 6, 10, tzinfo=UTC))
    found = [standard_book().rates("openai", "o3", at).output for at in (cut - 1, cut)]
    assert found == [parse_usd(40), parse_usd(8)]


_SIMPLE = [
    (provider, model)
    for provider in providers
    for model in provider.models
    if provider.find_model(model.id) is model
]


@given(
    st.sampled_from(_SIMPLE),
    st.integers(0, 2_000_000_000),
    st.tuples(*[st.integers(0, 1000)] * 5),
)
def test_agrees_with_the_data_s_own_calculator_wherever_it_gives_a_price(pair, second, used):
    provider, model = pair
    at = second * 10**6
    rates = standard_book().find(provider.id, model.id, at)
    if rates is None:
        return
    plain, output, read, write, an_hour = used
    if "claude" in model.id and model.get_prices(from_micros(at)).cache_write_1h_mtok is None:
        an_hour = 0  # there the data has one price for all writes, and we have Anthropic's rule
    write += an_hour
    theirs = model.calc_price(
        Usage(
            input_tokens=plain + read + write,
            output_tokens=output,
            cache_read_tokens=read,
            cache_write_tokens=write,
            cache_write_1h_tokens=an_hour,
        ),
        provider,
        genai_request_timestamp=from_micros(at),
    )
    ours = rates.cost(plain + read + write, output, read, write, an_hour)
    assert abs(ours - theirs.total_price * PICO) <= 1


def test_most_models_with_a_token_price_are_compiled():
    priced = [
        (provider.id, model.id)
        for provider, model in _SIMPLE
        if isinstance(model.prices, ModelPrice) and model.prices.input_mtok is not None
    ]
    found = [standard_book().find(*pair, AT) is not None for pair in priced]
    assert sum(found) >= 0.99 * len(found)


def test_of_tiers_the_base_is_taken_and_said():
    tiers = TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(2))])
    rates = published(ModelPrice(input_mtok=tiers, output_mtok=Decimal(3))).rates("seller", "m", AT)
    assert (rates.input, rates.output) == (parse_usd(1), parse_usd(3))
    assert rates.source.endswith("base tier")


def test_a_price_by_time_of_day_holds_at_that_time_only_wherever_its_clock_stands():
    start, end = time.fromisoformat("23:30+01:00"), time.fromisoformat("02:00+01:00")
    night = TimeOfDateConstraint(start_time=start, end_time=end)
    book = published(
        [ConditionalPrice(prices=dollars("2")), ConditionalPrice(constraint=night, prices=dollars("1"))]
    )

    def price(clock: str) -> int:
        moment = datetime.fromisoformat(f"2026-03-01T{clock}+00:00")
        return book.rates("seller", "m", to_micros(moment)).input // PICO

    assert [price(clock) for clock in ("22:29", "22:30", "00:59", "01:00")] == [2, 1, 1, 2]


def test_a_price_without_an_earlier_one_starts_on_its_day():
    since = StartDateConstraint(start_date=date(2026, 1, 1))
    book = published([ConditionalPrice(constraint=since, prices=dollars("1"))])
    begin = to_micros(datetime(2026, 1, 1, tzinfo=UTC))
    assert book.find("seller", "m", begin - 1) is None
    assert book.find("seller", "m", begin) is not None


@pytest.mark.parametrize(
    "price",
    [
        ModelPrice(output_mtok=Decimal(1)),
        ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)),
        ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), output_reasoning_mtok=Decimal(5)),
    ],
)
def test_what_flat_rates_cannot_say_is_unpriced_in_all_its_parts(price):
    assert published(price).find("seller", "m", AT) is None
    later = ConditionalPrice(constraint=StartDateConstraint(date(2030, 1, 1)), prices=price)
    assert published([ConditionalPrice(prices=dollars("1")), later]).find("seller", "m", AT) is None


def test_reasoning_at_the_price_of_output_is_no_obstacle():
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(5), output_reasoning_mtok=Decimal(5))
    assert published(price).rates("seller", "m", AT).output == parse_usd(5)


def test_the_noise_of_a_binary_float_in_the_data_is_rounded_away():
    price = ModelPrice(input_mtok=Decimal("0.18000000000000002"), output_mtok=Decimal(1))
    assert published(price).rates("seller", "m", AT).input == parse_usd("0.18")


def test_a_name_that_several_sell_at_one_price_needs_no_provider():
    assert PriceBook(_Published([seller("a", "1"), seller("b", "1")])).find("", "m", AT) is not None


def test_a_name_that_several_sell_at_different_prices_needs_one():
    book = PriceBook(_Published([seller("dear", "2"), seller("cheap", "1")]))
    assert book.find("", "m", AT) is None
    assert book.rates("cheap", "m", AT).input == parse_usd(1)


def test_a_name_belongs_to_the_maker_that_claims_it_whatever_others_ask():
    maker = seller("maker", "2", model_match=ClauseEquals("m"))
    book = PriceBook(_Published([seller("cheap", "1"), maker]))
    assert book.rates("", "m", AT).input == parse_usd(2)


def test_the_convention_s_names_of_clouds_find_the_cloud_and_not_the_maker():
    source = standard_book().rates("azure.ai.openai", "gpt-4o", AT).source
    assert "azure/" in source


def test_the_shipped_books_stack_so_that_the_simulation_only_prices_its_own():
    book = book_from(Config())
    assert book.rates("openai", "gpt-3.5-turbo", AT).input == parse_usd("0.5")
    assert book.rates("simulated", "gpt-3.5-turbo", AT).input == parse_usd(1)
    assert book.find("acme", "gpt-4", AT) is None


def test_importing_the_package_leaves_the_slow_data_alone():
    code = "import sys, spendstream.pricing; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
