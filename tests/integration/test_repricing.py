"""`spendstream reprice`: events without a price get one, once, and rows and windows agree."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from spendstream.codec import TOKENS
from spendstream.events import TokenUsage
from spendstream.ids import derived_id
from spendstream.queries import RECONCILE, miscounted
from spendstream.topics import PRICES, USAGE_TOKENS
from tests.fixtures.stack import Pipeline

SECOND = 1_000_000
START = 1_704_110_400 * SECOND  # 2024-01-01 12:00:00 UTC
IN_FILE = """
[[price]]
model = "homemade"
effective_from = 2024-01-01
input_per_million = "2.00"
output_per_million = "4.00"
"""
MODELS = ("homemade", "stranger")
LATER = {
    "model": "stranger",
    "effective_from": "2025-01-01",
    "input_per_million": "9",
    "output_per_million": "9",
}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("repricing")]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline that has landed calls of two models that no price covers, over two days."""
    fresh = Pipeline(tmp_path_factory.mktemp("repricing"))
    try:
        fresh.up("worker")
        calls = [call(row, "homemade" if row % 10 else "stranger") for row in range(200)]
        fresh.send(USAGE_TOKENS.name, [(each.team.encode(), TOKENS.encode(each)) for each in calls])
        fresh.wait_drained()
        yield fresh
    finally:
        fresh.close()


def call(row: int, model: str) -> TokenUsage:
    time = START + row * 900 * SECOND
    return TokenUsage(
        id=derived_id(time, b"reprice", row),
        event_time=time,
        source="test",
        team=f"team {row % 3}",
        model=model,
        input_tokens=1000,
        output_tokens=row,
        avoided_by_cache=3,
        time_to_first_token=row,
    )


def books(pipeline: Pipeline) -> list[tuple[object, ...]]:
    """Return (model, events, unpriced, cost, input tokens) of the rows, and of the windows of each size."""
    rows = pipeline.rows(
        "SELECT model, count(), countIf(cost IS NULL), sum(cost), sum(input_tokens) "
        "FROM token_usage GROUP BY model"
    )
    windows = pipeline.rows(
        "SELECT model, sum(events), sum(unpriced), sum(cost), sum(input_tokens) "
        "FROM cost_window GROUP BY model, window_seconds"
    )
    return sorted((*said, Decimal(cost or 0), tokens) for *said, cost, tokens in [*rows, *windows])


def test_without_a_price_nothing_is_sent(pipeline: Pipeline) -> None:
    said = pipeline.run("reprice")
    assert "0 events sent with their costs, $0.00; 200 stay unpriced" in said
    assert "homemade" in said


def test_a_price_of_the_admin_api_counts_beneath_the_file_s_for_its_own_time(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    entries = [{"model": model, "input_per_million": "1", "output_per_million": "0"} for model in MODELS]
    written = msgspec.json.encode({"prices": [*entries, LATER]})
    pipeline.send(PRICES.name, [(b"contract", written)])
    assert "200 events would be sent with their costs, $0.20" in pipeline.run("reprice", "--dry-run")
    prices = tmp_path / "prices.toml"
    prices.write_text(IN_FILE, encoding="utf-8")
    pipeline.environment["SPENDSTREAM_PRICE_FILE"] = str(prices)
    try:
        both = sum(Decimal(1000 * 2 + row * 4) if row % 10 else 1000 for row in range(200)) / 10**6
        said = pipeline.run("reprice", "--dry-run")
        assert f"200 events would be sent with their costs, ${both:.2f}; 0 stay unpriced" in said
    finally:
        del pipeline.environment["SPENDSTREAM_PRICE_FILE"]
        pipeline.send(PRICES.name, [(b"contract", None)])
    assert "200 stay unpriced" in pipeline.run("reprice", "--dry-run"), "what was deleted counts no more"


def test_a_price_prices_what_it_covers_once(pipeline: Pipeline, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(IN_FILE, encoding="utf-8")
    pipeline.environment["SPENDSTREAM_PRICE_FILE"] = str(prices)
    before = books(pipeline)
    cost = sum(Decimal(1000 * 2 + row * 4) for row in range(200) if row % 10) / 10**6
    would = pipeline.run("reprice", "--dry-run")
    assert f"180 events would be sent with their costs, ${cost:.2f}; 20 stay unpriced" in would
    pipeline.wait_drained()
    assert books(pipeline) == before

    for _ in range(2):  # the second comes before the first has landed, or finds nothing
        assert "events sent with their costs" in pipeline.run("reprice")
    pipeline.wait_drained()
    assert "0 events sent with their costs, $0.00; 20 stay unpriced" in pipeline.run("reprice")
    assert books(pipeline) == [
        *[("homemade", 180, 0, cost, 180_000)] * 4,
        *[("stranger", 20, 20, Decimal(0), 20_000)] * 4,
    ]
    assert not miscounted(pipeline.rows(RECONCILE))


def test_originals_that_come_again_after_a_restart_change_nothing(pipeline: Pipeline) -> None:
    before = pipeline.rows("SELECT * FROM token_usage ORDER BY event_id")
    again = [call(row, "homemade" if row % 10 else "stranger") for row in range(200)]
    pipeline.restart("worker")
    pipeline.send(USAGE_TOKENS.name, [(each.team.encode(), TOKENS.encode(each)) for each in again])
    pipeline.wait_drained()
    assert pipeline.rows("SELECT * FROM token_usage ORDER BY event_id") == before
    assert pipeline.value("SELECT count() FROM token_usage WHERE time_to_first_token_us IS NOT NULL") == 200
    assert not miscounted(pipeline.rows(RECONCILE))
