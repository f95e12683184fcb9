"""What a pod's share costs: exact, never less than requested, billed by event time."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation import GIB, NANO, OPENCOST, ResourceRates, pod_cost
from spendstream.money import PICO

HOUR = 3600 * 10**6

amounts = st.integers(0, 2**53)
durations = st.integers(0, 31 * 24 * HOUR)


def cost(
    *,
    cpu: tuple[int, int] = (0, 0),
    memory: tuple[int, int] = (0, 0),
    duration: int = HOUR,
    rates: ResourceRates = OPENCOST,
) -> int:
    return pod_cost(
        cpu_request=cpu[0],
        cpu_usage=cpu[1],
        memory_request=memory[0],
        memory_usage=memory[1],
        duration=duration,
        rates=rates,
    )


def test_a_core_hour_and_a_gib_hour_cost_opencosts_default_prices() -> None:
    assert cost(cpu=(NANO, 0)) == 31_611_000_000
    assert cost(memory=(GIB, 0)) == 4_237_000_000
    assert cost(cpu=(2 * NANO, 0), memory=(4 * GIB, 0)) == (2 * 31_611 + 4 * 4_237) * PICO // 10**6


def test_what_is_requested_is_paid_for_though_it_idles_and_usage_above_it_too() -> None:
    assert cost(cpu=(NANO, NANO // 10)) == cost(cpu=(NANO, 0))
    assert cost(cpu=(NANO, 3 * NANO)) == cost(cpu=(3 * NANO, 0))
    assert cost(memory=(GIB, 2 * GIB)) == cost(memory=(2 * GIB, 0))


def test_cpu_above_its_request_does_not_hide_memory_below_its_own() -> None:
    both = cost(cpu=(NANO, 2 * NANO), memory=(2 * GIB, GIB))
    assert both == cost(cpu=(2 * NANO, 0)) + cost(memory=(2 * GIB, 0))


def test_a_ten_second_pod_is_billed_ten_seconds() -> None:
    assert cost(cpu=(36 * NANO, 0), duration=10 * 10**6) == 3_161_100_000
    assert cost(cpu=(36 * NANO, 0), duration=0) == 0


def test_half_a_picodollar_rounds_to_even_once_for_both_resources_together() -> None:
    rates = ResourceRates(core_hour=1, gib_hour=1)
    assert cost(cpu=(NANO // 2, 0), rates=rates) == 0
    assert cost(cpu=(3 * NANO // 2, 0), rates=rates) == 2
    assert cost(cpu=(NANO // 2, 0), memory=(GIB // 2, 0), rates=rates) == 1


@pytest.mark.parametrize("name", ["cpu_request", "cpu_usage", "memory_request", "memory_usage", "duration"])
def test_a_negative_amount_is_an_error_and_no_discount(name: str) -> None:
    given_amounts = {"cpu_request": 1, "cpu_usage": 1, "memory_request": 1, "memory_usage": 1, "duration": 1}
    with pytest.raises(ValueError, match="must not be negative"):
        pod_cost(**(given_amounts | {name: -1}))


@given(cpu=st.tuples(amounts, amounts), memory=st.tuples(amounts, amounts), duration=durations)
def test_cost_is_the_decimal_result_to_half_a_picodollar(
    cpu: tuple[int, int], memory: tuple[int, int], duration: int
) -> None:
    with localcontext(prec=120):
        dollars = (
            Decimal(max(cpu)) / 10**9 * Decimal("0.031611")
            + Decimal(max(memory)) / 2**30 * Decimal("0.004237")
        ) * Decimal(duration)
        assert abs(dollars * PICO / HOUR - cost(cpu=cpu, memory=memory, duration=duration)) <= Decimal("0.5")


@given(cpu=st.tuples(amounts, amounts), parts=st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_cutting_an_interval_moves_cost_by_less_than_a_picodollar_a_cut(
    cpu: tuple[int, int], parts: list[int]
) -> None:
    whole = cost(cpu=cpu, duration=sum(parts))
    assert abs(whole - sum(cost(cpu=cpu, duration=part) for part in parts)) <= len(parts)
