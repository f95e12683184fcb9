"""Prices of clusters: dated, by region and purchase option, own before shipped, and never made up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from spendstream.allocation import GIB, Rate
from spendstream.clock import to_micros
from spendstream.cluster_prices import ClusterPrice, ClusterPrices, cluster_prices, prices_in, shipped_prices
from spendstream.errors import ConfigError, UnknownPrice
from spendstream.money import parse_usd


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


IN_2026 = at("2026-06-01")


def node(price: int, **fields: object) -> ClusterPrice:
    return ClusterPrice(kind="node", type="m5.large", price=price, **fields)


class TestFinding:
    def test_the_newest_price_in_force_holds(self) -> None:
        prices = ClusterPrices([node(1), node(3, effective_from=30), node(2, effective_from=20)])
        found = [
            prices.price("node", "m5.large", "anywhere", moment).price for moment in (0, 19, 20, 29, 30, 99)
        ]
        assert found == [1, 1, 2, 2, 3, 3]

    def test_a_price_of_the_region_beats_one_for_all_regions_though_that_is_newer(self) -> None:
        prices = ClusterPrices([node(1, region="here"), node(2, effective_from=5)])
        assert prices.price("node", "m5.large", "here", 9).price == 1
        assert prices.price("node", "m5.large", "there", 9).price == 2

    def test_a_price_that_is_not_in_force_yet_leaves_the_word_to_the_layer_below(self) -> None:
        prices = ClusterPrices([node(1, effective_from=10)]).over(ClusterPrices([node(2)]))
        assert [prices.price("node", "m5.large", "", moment).price for moment in (9, 10)] == [2, 1]

    def test_spot_is_never_taken_for_on_demand_nor_the_other_way_round(self) -> None:
        prices = ClusterPrices([node(1, purchase_option="spot")])
        assert prices.find("node", "m5.large", "", 0) is None
        assert prices.find("node", "m5.large", "", 0, "reserved") is None

    def test_a_missing_price_is_an_error_that_names_type_region_and_time(self) -> None:
        with pytest.raises(UnknownPrice, match=r"node 'm9.huge' \(spot\) in region 'mars' at 2026-06-01T00"):
            shipped_prices().price("node", "m9.huge", "mars", IN_2026, "spot")

    def test_changes_are_the_moments_inside_an_interval_at_which_a_price_begins(self) -> None:
        prices = ClusterPrices([node(1), node(2, effective_from=20), node(3, effective_from=30, region="r")])
        assert prices.changes("node", "m5.large", "r", (10, 40)) == [20, 30]
        assert prices.changes("node", "m5.large", "s", (10, 40)) == [20]
        assert prices.changes("node", "m5.large", "r", (20, 30)) == []


class TestShipped:
    @pytest.mark.parametrize(
        ("of", "region", "purchase_option", "dollars"),
        [
            ("m5.2xlarge", "us-east-1", "on-demand", "0.384"),
            ("m5.2xlarge", "us-east-1", "spot", "0.188"),
            ("g4dn.xlarge", "us-east-1", "on-demand", "0.526"),
            ("n2-standard-4", "us-central1", "spot", "0.0470"),
            ("Standard_D4s_v5", "eastus", "on-demand", "0.192"),
        ],
    )
    def test_nodes_have_their_list_price(
        self, of: str, region: str, purchase_option: str, dollars: str
    ) -> None:
        price = shipped_prices().price("node", of, region, IN_2026, purchase_option)
        assert price.price == parse_usd(dollars)
        assert price.source.startswith("https://")

    def test_a_gpu_that_is_sold_apart_and_a_control_plane_have_prices(self) -> None:
        prices = shipped_prices()
        assert prices.price("gpu", "nvidia-tesla-t4", "us-central1", IN_2026).price == parse_usd("0.35")
        assert prices.price("control-plane", "eks", "eu-west-1", IN_2026).rate == Rate(price=10**11, per=1)

    def test_storage_is_by_the_month_and_traffic_by_the_gib(self) -> None:
        prices = shipped_prices()
        volume = prices.price("volume", "gp3", "us-east-1", IN_2026)
        assert volume.rate == Rate(price=parse_usd("0.08"), per=730 * GIB)
        assert prices.price("network", "zone", "us-east-1", IN_2026).rate == Rate(price=0, per=GIB)
        assert prices.find("volume", "floppy", "us-east-1", IN_2026) is None

    def test_nothing_is_said_of_the_time_before_they_were_looked_up(self) -> None:
        assert shipped_prices().find("node", "m5.2xlarge", "us-east-1", at("2025-12-31")) is None


class TestFiles:
    def test_own_prices_beat_the_shipped_ones(self, tmp_path: Path) -> None:
        path = tmp_path / "own.yaml"
        path.write_text(
            "prices:\n"
            "  - {kind: node, type: m5.2xlarge, region: us-east-1, price: 0.30, source: contract 4711}\n"
            "  - {kind: node, type: m5.2xlarge, purchase_option: reserved, price: '0.24'}\n"
        )
        prices = cluster_prices(path)
        own = prices.price("node", "m5.2xlarge", "us-east-1", IN_2026)
        assert (own.price, own.source) == (parse_usd("0.30"), "contract 4711")
        assert prices.price("node", "m5.2xlarge", "us-east-1", IN_2026, "reserved").price == parse_usd("0.24")
        assert prices.price("node", "m5.2xlarge", "us-east-1", IN_2026, "spot").price == parse_usd("0.188")
        assert cluster_prices().price("node", "m5.2xlarge", "us-east-1", IN_2026).price == parse_usd("0.384")

    def test_a_date_is_midnight_and_a_time_has_its_offset(self) -> None:
        prices = prices_in(
            "prices:\n"
            "  - {kind: node, type: a, price: 1, effective_from: 2026-02-01}\n"
            "  - {kind: node, type: a, price: 2, effective_from: 2026-02-01T12:00:00+02:00}\n",
            "f.yaml",
        )
        found = [
            prices.find("node", "a", "", at(text)) for text in ("2026-01-31", "2026-02-01", "2026-02-02")
        ]
        assert [price and price.price for price in found] == [None, 10**12, 2 * 10**12]
        assert prices.changes("node", "a", "", (at("2026-02-01"), at("2026-02-02"))) == [
            at("2026-02-01T10:00")
        ]

    def test_all_mistakes_are_told_together_each_with_its_place(self) -> None:
        with pytest.raises(ConfigError) as caught:
            prices_in(
                "prices:\n"
                "  - {kind: nod, type: x, price: 0.1}\n"
                "  - {kind: node, type: x, price: -1, efective_from: 2026-01-01}\n"
                "  - {kind: node, type: x, price: 0.1, effective_from: '2026'}\n"
                "  - {kind: node, price: yes}\n",
                "f.yaml",
            )
        told = str(caught.value)
        assert len(told.splitlines()) == 6
        for part in (
            "1: kind: ",
            "2: price: must not be negative, found -1",
            "2: efective_from: no such setting; did you mean effective_from?",
            "3: effective_from: expected a date like 2026-01-01, without quotes, found '2026'",
            "4: type: is missing",
            "4: price: expected dollars like 0.384, found True",
        ):
            assert f"f.yaml: {part}" in told

    @pytest.mark.parametrize("text", ["", "[]", "prices: {}", "prices: []\nmore: 1", "a: {"])
    def test_what_is_no_list_of_prices_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"^f\.yaml: "):
            prices_in(text, "f.yaml")

    def test_two_prices_from_the_same_moment_are_a_mistake(self) -> None:
        entry = "  - {kind: node, type: a, region: r, price: 1}\n"
        with pytest.raises(
            ConfigError, match=r"2 entries price node a in r \(on-demand\) from the same moment"
        ):
            prices_in(f"prices:\n{entry}{entry}", "f.yaml")

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.yaml: cannot read the cluster prices"):
            cluster_prices(tmp_path / "none.yaml")
