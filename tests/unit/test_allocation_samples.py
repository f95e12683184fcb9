"""What a container's share and a node cost: exact, never less than requested, billed by event time."""

from __future__ import annotations

import uuid
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation import (
    DEVICE,
    GIB,
    NANO,
    OPENCOST,
    Rate,
    Rates,
    accrued,
    cut,
    node_rates,
    priced_asset,
    priced_container,
    rates_of,
)
from spendstream.events import NodeUsage, PodUsage
from spendstream.money import PICO, parse_usd, plain_usd

SECOND = 10**6
HOUR = 3600 * SECOND
NOON = 472_224 * HOUR

amounts = st.integers(0, 2**53)
moments = st.integers(0, HOUR)
prices = st.integers(0, 10**15)


def pod(**fields: Any) -> PodUsage:
    made = {"event_time": NOON, "end_time": NOON + HOUR, "cluster": "c", "namespace": "n", "pod": "p"}
    return PodUsage(id=uuid.UUID(int=1), source="test", **(made | fields))


def node(**fields: Any) -> NodeUsage:
    made = {"event_time": NOON, "end_time": NOON + HOUR, "cluster": "c", "node": "node-1"}
    return NodeUsage(id=uuid.UUID(int=2), source="test", **(made | fields))


def cost(rates: Rates = OPENCOST, **fields: Any) -> int | None:
    return priced_container(pod(**fields), rates).cost


class TestContainers:
    def test_a_core_hour_and_a_gib_hour_cost_opencosts_default_prices(self) -> None:
        assert cost(cpu_request=NANO) == 31_611_000_000
        assert cost(memory_request=GIB) == 4_237_000_000
        assert cost(gpu_request=DEVICE) == 950_000_000_000
        assert cost(cpu_request=2 * NANO, memory_request=4 * GIB) == (2 * 31_611 + 4 * 4_237) * PICO // 10**6

    def test_what_is_requested_is_paid_for_though_it_idles_and_usage_above_it_too(self) -> None:
        assert cost(cpu_request=NANO, cpu_usage=NANO // 10) == cost(cpu_request=NANO)
        assert cost(cpu_request=NANO, cpu_usage=3 * NANO) == cost(cpu_request=3 * NANO)
        assert cost(memory_request=GIB, memory_usage=2 * GIB) == cost(memory_request=2 * GIB)
        assert cost(gpu_request=250, gpu_usage=500) == cost(gpu_request=500)

    def test_cpu_above_its_request_does_not_hide_memory_below_its_own(self) -> None:
        both = priced_container(
            pod(cpu_request=NANO, cpu_usage=2 * NANO, memory_request=2 * GIB, memory_usage=GIB), OPENCOST
        )
        assert (both.cpu_cost, both.memory_cost) == (cost(cpu_request=2 * NANO), cost(memory_request=2 * GIB))

    def test_a_ten_second_pod_is_billed_ten_seconds(self) -> None:
        assert cost(cpu_request=36 * NANO, end_time=NOON + 10 * SECOND) == 3_161_100_000

    def test_a_quarter_of_a_gpu_costs_a_quarter(self) -> None:
        assert cost(gpu_request=250) == 237_500_000_000

    def test_a_resource_without_a_rate_has_no_cost_and_so_has_the_sample(self) -> None:
        event = priced_container(pod(cpu_request=NANO, gpu_request=1), Rates(cpu=OPENCOST.cpu))
        assert (event.cpu_cost, event.gpu_cost, event.cost) == (31_611_000_000, None, None)

    def test_a_resource_of_which_there_is_nothing_needs_no_rate(self) -> None:
        event = priced_container(pod(), Rates())
        assert (event.cpu_cost, event.network_cost, event.cost) == (0, 0, 0)

    def test_traffic_costs_what_was_sent_however_long_it_took(self) -> None:
        rates = Rates(network=Rate(price=parse_usd("0.01"), per=GIB))
        assert cost(rates, network_sent=3 * GIB, network_received=GIB, end_time=NOON + 1) == 3 * PICO // 100

    def test_a_share_of_a_volume_takes_the_place_of_the_rate_of_storage(self) -> None:
        event = pod(storage_request=730 * GIB)
        assert priced_container(event, OPENCOST).storage_cost == parse_usd("0.04")
        assert priced_container(event, OPENCOST, storage_cost=7).cost == 7

    def test_half_a_picodollar_rounds_to_even(self) -> None:
        rates = Rates(cpu=Rate(price=1, per=NANO))
        assert cost(rates, cpu_request=NANO // 2) == 0
        assert cost(rates, cpu_request=3 * NANO // 2) == 2

    @given(amounts, moments, moments)
    def test_cost_is_the_decimal_result_to_a_picodollar(self, amount: int, one: int, other: int) -> None:
        start, end = sorted((one, other))
        with localcontext(prec=120):
            exact = Decimal(amount) / NANO * OPENCOST.cpu.price * (end - start) / HOUR
            assert abs(exact - accrued(OPENCOST.cpu, amount, start, end)) <= 1


class TestCutting:
    def test_an_interval_is_cut_at_full_hours(self) -> None:
        assert list(cut(NOON - SECOND, NOON + 2 * HOUR + SECOND)) == [
            (NOON - SECOND, NOON),
            (NOON, NOON + HOUR),
            (NOON + HOUR, NOON + 2 * HOUR),
            (NOON + 2 * HOUR, NOON + 2 * HOUR + SECOND),
        ]

    def test_and_where_the_price_changes(self) -> None:
        pieces = cut(NOON, NOON + HOUR, NOON + 5, NOON + 5, NOON - 1, NOON + HOUR)
        assert list(pieces) == [(NOON, NOON + 5), (NOON + 5, NOON + HOUR)]

    def test_an_empty_interval_has_no_pieces(self) -> None:
        assert list(cut(NOON, NOON)) == []

    @given(st.integers(0, 10**13), st.integers(0, 10 * HOUR), st.lists(st.integers(0, 10**13)))
    def test_pieces_cover_the_interval_and_are_valid_samples(
        self, start: int, length: int, changes: list[int]
    ) -> None:
        pieces = list(cut(start, start + length, *changes))
        assert sum(end - begin for begin, end in pieces) == length
        assert all(one[1] == two[0] for one, two in pairwise(pieces))
        for begin, end in pieces:
            pod(event_time=begin, end_time=end)

    @given(amounts, prices, st.integers(1, 2**53), st.lists(moments))
    def test_an_hour_costs_the_same_wherever_it_is_cut(
        self, amount: int, price: int, per: int, cuts: list[int]
    ) -> None:
        rate = Rate(price=price, per=per)
        pieces = list(cut(NOON, NOON + HOUR, *(NOON + at for at in cuts)))
        costs = [accrued(rate, amount, *piece) for piece in pieces]
        assert sum(costs) == accrued(rate, amount, NOON, NOON + HOUR)
        assert min(costs) >= 0


M5_2XLARGE = {"cpu_capacity": 8 * NANO, "memory_capacity": 32 * GIB, "hourly_price": parse_usd("0.384")}


class TestNodes:
    def test_a_price_is_split_as_opencost_splits_it(self) -> None:
        event = priced_asset(node(**M5_2XLARGE))
        assert round(Decimal(event.cpu_cost) / PICO / 8, 7) == Decimal("0.0312471")
        assert round(Decimal(event.memory_cost) / PICO / 32, 8) == Decimal("0.00418822")
        assert event.cost == parse_usd("0.384")

    def test_a_gpu_node_s_price_is_split_in_the_ratio_of_the_default_prices(self) -> None:
        event = priced_asset(
            node(cpu_capacity=4 * NANO, memory_capacity=16 * GIB, gpu_capacity=DEVICE, hourly_price=PICO)
        )
        parts = (event.cpu_cost, event.memory_cost, event.gpu_cost)
        assert sum(parts) == PICO
        whole = Decimal("0.126444") + Decimal("0.067792") + Decimal("0.95")
        for part, at_default in zip(parts, ("0.126444", "0.067792", "0.95"), strict=True):
            assert abs(Decimal(part) - Decimal(at_default) / whole * PICO) < 1

    def test_a_node_at_opencosts_prices_has_opencosts_rates(self) -> None:
        price = parse_usd("0.031611") * 2 + parse_usd("0.004237") * 8
        assert priced_asset(
            node(cpu_capacity=2 * NANO, memory_capacity=8 * GIB, hourly_price=price)
        ).cpu_cost == (parse_usd("0.031611") * 2)

    def test_without_a_price_or_a_capacity_there_is_no_cost(self) -> None:
        unpriced = node(**(M5_2XLARGE | {"hourly_price": None}))
        assert priced_asset(unpriced) == unpriced
        assert rates_of(unpriced) == Rates()
        assert priced_asset(node(hourly_price=PICO)).cost is None

    def test_a_volume_costs_storage_and_a_control_plane_only_costs(self) -> None:
        volume = priced_asset(node(asset="volume", hourly_price=PICO, end_time=NOON + HOUR // 2))
        assert (volume.storage_cost, volume.cost) == (PICO // 2, PICO // 2)
        plane = priced_asset(node(asset="control-plane", hourly_price=PICO))
        assert (plane.cpu_cost, plane.storage_cost, plane.cost) == (None, None, PICO)

    @given(prices, amounts, amounts, amounts, st.lists(moments))
    def test_the_pieces_of_an_hour_cost_its_price_exactly(
        self, price: int, cpu: int, memory: int, gpu: int, cuts: list[int]
    ) -> None:
        pieces = cut(NOON, NOON + HOUR, *(NOON + at for at in cuts))
        events = [
            priced_asset(
                node(
                    event_time=start, end_time=end, hourly_price=price,
                    cpu_capacity=cpu, memory_capacity=memory, gpu_capacity=gpu,
                )
            )
            for start, end in pieces
        ]  # fmt: skip
        if not cpu + memory + gpu:
            assert {event.cost for event in events} == {None}
            return
        assert sum(event.cost for event in events) == price
        assert all(event.cost == event.cpu_cost + event.memory_cost + event.gpu_cost for event in events)

    @given(prices, st.integers(1, 2**53), st.integers(1, 2**53), st.integers(0, HOUR - 1))
    def test_containers_that_fill_a_node_cost_what_it_does(
        self, price: int, cpu: int, memory: int, start: int
    ) -> None:
        when = {"event_time": NOON + start, "end_time": NOON + HOUR}
        whole = priced_asset(node(hourly_price=price, cpu_capacity=cpu, memory_capacity=memory, **when))
        filling = priced_container(
            pod(cpu_request=cpu, memory_usage=memory, **when), node_rates(price, cpu=cpu, memory=memory)
        )
        assert (filling.cpu_cost, filling.memory_cost) == (whole.cpu_cost, whole.memory_cost)


def test_the_worked_example_of_the_documentation_holds() -> None:
    page = Path("docs/allocation.md").read_text(encoding="utf-8").replace("\N{MINUS SIGN}", "-")
    machine = priced_asset(node(**M5_2XLARGE))
    web = {
        "cpu_request": 2 * NANO,
        "cpu_usage": NANO // 2,
        "memory_request": 8 * GIB,
        "memory_usage": 10 * GIB,
    }
    job = {"cpu_request": 4 * NANO, "memory_request": GIB}
    cache = {"cpu_request": NANO, "cpu_usage": NANO // 2, "memory_request": 24 * GIB, "memory_usage": 4 * GIB}
    ten_past = NOON + 600 * SECOND
    containers = [
        priced_container(event, rates_of(machine))
        for event in (
            pod(**web),
            pod(event_time=ten_past, end_time=ten_past + 10 * SECOND, **job),
            pod(**cache),
        )
    ]
    for event in (machine, *containers):
        parts = (event.cpu_cost, event.memory_cost, event.cost)
        assert f"| {' | '.join(map(plain_usd, parts))} |" in page
    idle = machine.cpu_cost - sum(event.cpu_cost for event in containers)
    overcommit = machine.memory_cost - sum(event.memory_cost for event in containers)
    assert f"| idle | {plain_usd(idle)} | 0 |" in page
    assert f"| overcommit | 0 | {plain_usd(overcommit)} |" in page


@pytest.mark.parametrize("kind", [pod, node])
def test_a_sample_that_crosses_a_full_hour_cannot_be_made(kind: Any) -> None:
    with pytest.raises(ValueError, match="crosses a full hour"):
        kind(event_time=NOON - 1, end_time=NOON + 1)
