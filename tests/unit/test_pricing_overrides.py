"""The user's price file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from spendstream.clock import to_micros
from spendstream.config import Config
from spendstream.errors import ConfigError
from spendstream.money import parse_usd
from spendstream.pricing import PriceBook, book_from
from spendstream.pricing.overrides import read_overrides

AT = to_micros(datetime(2026, 5, 1, tzinfo=UTC))


@pytest.fixture
def price_file(tmp_path: Path) -> Path:
    return tmp_path / "prices.toml"


def read(path: Path, text: str) -> PriceBook:
    path.write_text(text, encoding="utf-8")
    return read_overrides(path)


def mistakes(path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(path, text)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_beats_the_shipped_prices_from_its_day_on_and_leaves_the_rest(price_file):
    price_file.write_text(
        """
        [[price]]
        provider = "openai"
        model = "gpt-4o"
        effective_from = 2026-01-01
        input_per_million = "2.00"
        output_per_million = "8.00"
        cache_read_per_million = "1.00"
        source = "our contract"
        """,
        encoding="utf-8",
    )
    book = book_from(Config(price_file=price_file))
    new_year = to_micros(datetime(2026, 1, 1, tzinfo=UTC))
    before, after = (book.rates("openai", "gpt-4o", at) for at in (new_year - 1, new_year))
    assert before.input == parse_usd("2.50")
    assert (after.input, after.cache_read, after.cache_write) == tuple(map(parse_usd, (2, 1, 2)))
    assert after.source == "our contract"
    assert book.rates("openai", "gpt-4", AT).output == parse_usd(60)


@pytest.mark.parametrize("written", ['"0.1"', "0.1", '"1e-1"'])
def test_money_stays_exact_however_it_is_written(price_file, written):
    book = read(
        price_file, f'[[price]]\nmodel = "m"\ninput_per_million = {written}\noutput_per_million = 3\n'
    )
    rates = book.rates("whoever", "m", AT)
    assert (rates.input, rates.output) == (100_000_000_000, 3_000_000_000_000)
    assert rates.cost(3, 0) == 300_000
    assert rates.source == "prices.toml"


def test_a_moment_with_an_offset_is_that_moment(price_file):
    book = read(
        price_file,
        """
        [[price]]
        model = "m"
        effective_from = 2026-05-01T02:00:00+02:00
        input_per_million = "1"
        output_per_million = "1"
        """,
    )
    assert book.find("", "m", AT - 1) is None
    assert book.find("", "m", AT) is not None


def test_all_mistakes_are_told_together_with_their_places(price_file):
    found = mistakes(
        price_file,
        """
        title = "prices"
        [[price]]
        provider = 7
        modle = "m"
        input_per_million = "cheap"
        output_per_million = "-1"
        [[price]]
        model = "fine"
        effective_from = "2026-01-01"
        input_per_million = true
        output_per_million = "0.0000000000001"
        [[price]]
        model = ""
        effective_from = 2026-01-01T00:00:00
        input_per_million = "1"
        output_per_million = inf
        """,
    )
    fine = "is not a whole number of picodollars (at most 12 decimals)"
    assert found == [
        "title: expected nothing but [[price]] entries",
        "price 1: modle: no such field; did you mean model?",
        "price 1: model is missing",
        "price 1: provider: expected text, found 7",
        "price 1: input_per_million: 'cheap' is no amount of dollars: write it like 0.03",
        "price 1: output_per_million: must not be negative, found -1",
        'price 2 (fine): input_per_million: expected dollars like "2.50", found True',
        f"price 2 (fine): output_per_million: '0.0000000000001' dollars {fine}",
        "price 2 (fine): effective_from: expected a date like 2026-01-01, without quotes, found '2026-01-01'",
        "price 3 (): model: must not be empty",
        f"price 3 (): output_per_million: Decimal('Infinity') dollars {fine}",
        "price 3 (): effective_from: 2026-01-01T00:00:00 lacks its offset from UTC, such as a final Z",
    ]


def test_two_prices_from_the_same_moment_are_a_mistake(price_file):
    entry = '[[price]]\nprovider = "{}"\nmodel = "m"\ninput_per_million = "1"\noutput_per_million = "1"\n'
    assert mistakes(price_file, entry.format("A") + entry.format("a") + entry.format("b")) == [
        "2 entries price a/m from the same moment: keep one"
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[price]\nmodel = 'm'", "price: write it with two brackets, [[price]]"),
        ("price = [1]", "price 1: expected a [[price]] table, found 1"),
    ],
)
def test_a_file_of_another_shape_is_refused(price_file, text, mistake):
    assert mistakes(price_file, text) == [mistake]


def test_a_file_that_is_no_toml_or_not_there_is_one_clear_error(price_file):
    with pytest.raises(ConfigError, match="cannot read the price file: No such file"):
        read_overrides(price_file)
    with pytest.raises(ConfigError, match="not valid TOML"):
        read(price_file, "[[price")
    price_file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_overrides(price_file)


def test_an_empty_file_is_an_empty_book(price_file):
    assert read(price_file, "").find("openai", "gpt-4", AT) is None


@pytest.mark.parametrize(
    ("model", "more", "found"),
    [
        ("claude-x", "", "6"),
        ("anthropic.Claude-x-v1:0", 'cache_write_per_million = "3.75"', "6"),
        ("claude-x", 'cache_write_1h_per_million = "5"', "5"),
        ("claude-x", 'cache_write_1h_per_million = "0"', "0"),
        ("other", 'cache_write_per_million = "3.75"', "3.75"),
    ],
)
def test_a_cache_write_for_an_hour_costs_twice_the_input_of_claude_unless_it_is_said(
    price_file, model, more, found
):
    book = read(
        price_file,
        f'[[price]]\nmodel = "{model}"\ninput_per_million = 3\noutput_per_million = 15\n{more}\n',
    )
    assert book.rates("", model, AT).cost(10**6, 0, 0, 10**6, 10**6) == parse_usd(found)
