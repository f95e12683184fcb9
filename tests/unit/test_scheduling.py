"""Bin packing, consolidation, spot and off hours: nothing is overfilled, and savings are real."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from spendstream.clock import to_micros
from spendstream.money import PICO, parse_usd
from spendstream.scheduling import (
    LEAST_CHEAPER_SPOT_TYPES,
    DisruptionBudget,
    Node,
    Offer,
    Pod,
    Resources,
    WorkingHours,
    consolidate,
    least_price,
    obstacle,
    off_hours,
    overhead,
    pack,
    price,
    risk,
    total,
)

CORE = 10**9
GIB = 1 << 30


def offer(  # noqa: PLR0913
    name: str = "m5.2xlarge",
    usd: str = "0.384",
    *,
    cores: int = 8,
    gib: int = 32,
    gpus: int = 0,
    spot: bool = False,
    interruptions: int = 0,
    most_pods: int = 58,
    **labels: str,
) -> Offer:
    return Offer(
        instance_type=name,
        purchase_option="spot" if spot else "on-demand",
        capacity=Resources(cpu=cores * CORE, memory=gib * GIB, gpu=1000 * gpus),
        hourly_price=parse_usd(usd),
        most_pods=most_pods,
        labels=labels,
        interruptions=interruptions,
    )


def pod(name: str, cores: float = 1, gib: float = 1, gpu: float = 0, **more: object) -> Pod:
    requests = Resources(cpu=round(cores * CORE), memory=round(gib * GIB), gpu=round(gpu * 1000))
    return Pod(name=name, requests=requests, **more)  # type: ignore[arg-type]


def pods(number: int, cores: float = 1, gib: float = 1, **more: object) -> list[Pod]:
    return [pod(f"p{each:03}", cores, gib, **more) for each in range(number)]


def node(name: str, kind: Offer, *there: Pod) -> Node:
    return Node(name=name, offer=kind, pods=there)


LARGE = offer()
LARGE_SPOT = offer(usd="0.188", spot=True)
SMALL = offer("m5.large", "0.096", cores=2, gib=8, most_pods=29)
GPU = offer("g4dn.xlarge", "0.526", cores=4, gib=16, gpus=1)
OFFERS = (LARGE, LARGE_SPOT, SMALL, GPU)
AGENT = pod("agent", 0.1, 0.25)


@st.composite
def some_pods(draw: st.DrawFn) -> list[Pod]:
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 9000),
                st.integers(0, 34_000),
                st.sampled_from([0, 0, 0, 500, 1000]),
                st.booleans(),
            ),
            max_size=14,
        )
    )
    return [
        Pod(
            name=f"p{number}",
            workload=f"w{number % 3}",
            requests=Resources(cpu=milli * 10**6, memory=mib << 20, gpu=gpu),
            tolerates_spot=spot,
            restart_cost=PICO * number,
        )
        for number, (milli, mib, gpu, spot) in enumerate(drawn)
    ]


def assert_nothing_is_overfilled(nodes: Sequence[Node], daemons: Sequence[Pod] = ()) -> None:
    for each in nodes:
        taken, count = overhead(daemons, each.offer)
        assert (total(each.pods) + taken).within(each.offer.capacity)
        assert len(each.pods) + count <= each.offer.most_pods
        assert not [why for one in each.pods if (why := obstacle(one, each.offer))]


class TestPacking:
    @given(
        some_pods(),
        st.lists(st.sampled_from(OFFERS), unique_by=lambda each: each.name),
        st.sampled_from([[], [AGENT]]),
    )
    def test_every_pod_is_on_one_node_that_has_room_for_it_or_is_told_why_on_none(
        self, waiting: list[Pod], offers: list[Offer], daemons: list[Pod]
    ) -> None:
        packing = pack(waiting, offers, daemons=daemons)
        placed = [one.name for each in packing.nodes for one in each.pods]
        left = [each.pod.name for each in packing.unplaced]
        assert sorted(placed + left) == sorted(one.name for one in waiting)
        assert_nothing_is_overfilled(packing.nodes, daemons)
        assert all(each.reason for each in packing.unplaced)

    @given(some_pods(), st.randoms(use_true_random=False))
    def test_the_order_in_which_pods_come_changes_nothing(self, waiting: list[Pod], random: object) -> None:
        shuffled = list(waiting)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert pack(shuffled, OFFERS, daemons=[AGENT]) == pack(waiting, OFFERS, daemons=[AGENT])

    @given(some_pods())
    def test_no_packing_beats_the_bound(self, waiting: list[Pod]) -> None:
        packing = pack(waiting, OFFERS, daemons=[AGENT])
        placed = [one for each in packing.nodes for one in each.pods]
        assert least_price(placed, OFFERS, daemons=[AGENT]) <= packing.hourly_price == price(packing.nodes)

    @given(some_pods(), some_pods())
    def test_nodes_that_run_keep_their_pods_and_are_filled_first(
        self, there: list[Pod], coming: list[Pod]
    ) -> None:
        before = pack(there, OFFERS).nodes
        after = pack([replace(one, name=f"n{one.name}") for one in coming], OFFERS, nodes=before).nodes
        for old, new in zip(before, after, strict=False):
            assert (old.name, old.offer, old.pods) == (new.name, new.offer, new.pods[: len(old.pods)])
        assert_nothing_is_overfilled(after)
        assert len({each.name for each in after}) == len(after)

    def test_a_cluster_of_equal_pods_is_packed_within_a_node_of_the_bound(self) -> None:
        waiting = pods(100, 0.9, 2)
        packing = pack(waiting, [LARGE], daemons=[AGENT])
        assert packing.hourly_price - least_price(waiting, [LARGE], daemons=[AGENT]) < 2 * LARGE.hourly_price

    def test_the_bound_of_pods_that_can_share_no_node_is_the_sum_of_theirs(self) -> None:
        plain, devices = pods(40, 0.9, 2), [pod(f"g{number}", 0.5, 1, 1) for number in range(3)]
        apart = least_price(plain, OFFERS) + least_price(devices, OFFERS)
        assert least_price([*plain, *devices], OFFERS) == apart
        assert least_price(devices, OFFERS) == 3 * GPU.hourly_price

    def test_daemons_take_their_part_of_every_node_that_they_select(self) -> None:
        agent = replace(AGENT, requests=Resources(cpu=CORE), node_selector={"disk": "ssd"})
        waiting = pods(8)
        assert len(pack(waiting, [LARGE], daemons=[agent]).nodes) == 1
        assert len(pack(waiting, [offer(disk="ssd")], daemons=[agent]).nodes) == 2

    def test_a_node_takes_no_more_pods_than_it_may(self) -> None:
        packing = pack(pods(11, 0.01, 0.01), [offer(most_pods=5)], daemons=[AGENT])
        assert sorted(len(each.pods) for each in packing.nodes) == [3, 4, 4]

    def test_who_does_not_tolerate_spot_stays_on_demand(self) -> None:
        waiting = [*pods(4), *(pod(f"s{number}", tolerates_spot=True) for number in range(12))]
        packing = pack(waiting, [LARGE, LARGE_SPOT])
        options = [each.offer.purchase_option for each in packing.nodes]
        assert sorted(options) == ["on-demand", "spot"]
        [spot] = [each for each in packing.nodes if each.offer.purchase_option == "spot"]
        assert all(one.tolerates_spot for one in spot.pods)

    def test_gpu_nodes_are_kept_for_those_that_need_one_and_shared_in_fractions(self) -> None:
        thirds = [pod(f"g{number}", 0.5, 1, 0.3) for number in range(4)]
        packing = pack([*thirds, pod("plain")], OFFERS)
        assert sorted(len(each.pods) for each in packing.nodes if each.offer is GPU) == [1, 3]
        assert "plain" not in {one.name for each in packing.nodes if each.offer is GPU for one in each.pods}

    @pytest.mark.parametrize(
        ("waiting", "offers", "reason"),
        [
            (pod("p", 12), [LARGE, SMALL], "12.00 cores of 8.00 that m5.2xlarge on-demand has left at most"),
            (pod("p", 1, 64), [LARGE], "64.00 GiB of 32.00"),
            (pod("p"), [LARGE_SPOT], "does not tolerate spot"),
            (pod("p"), [GPU], "kept for those that do"),
            (pod("p", node_selector={"zone": "b"}), [LARGE], "node selector wants zone=b"),
            (pod("p"), [], "there is no node"),
            (pod("p"), [offer(most_pods=0)], "no node has room for one more pod"),
        ],
    )
    def test_the_reason_says_what_is_missing(self, waiting: Pod, offers: list[Offer], reason: str) -> None:
        [unplaced] = pack([waiting], offers).unplaced
        assert reason in unplaced.reason

    def test_the_type_that_is_cheapest_for_what_it_takes_is_opened(self) -> None:
        assert [each.offer for each in pack(pods(1), [LARGE, SMALL]).nodes] == [SMALL]
        dear = offer("m5.large", "0.2", cores=2, gib=8)
        assert [each.offer for each in pack(pods(8), [LARGE, dear]).nodes] == [LARGE]

    def test_two_pods_of_one_name_are_refused(self) -> None:
        with pytest.raises(ValueError, match="same name"):
            pack([pod("p"), pod("p")], OFFERS)


class TestSpot:
    def test_interruptions_are_priced_by_what_they_undo(self) -> None:
        often = offer(usd="0.188", spot=True, interruptions=7300)  # one in a thousand hours
        assert risk([pod("p", restart_cost=5 * PICO), pod("q", restart_cost=PICO)], often) == 6 * PICO // 1000
        assert risk([pod("p", restart_cost=PICO)], LARGE) == 0

    def test_what_would_lose_more_than_spot_saves_stays_on_demand(self) -> None:
        often = offer(usd="0.188", spot=True, interruptions=7300)
        cheap = pod("p", tolerates_spot=True, restart_cost=parse_usd("100"))
        dear = pod("p", tolerates_spot=True, restart_cost=parse_usd("200"))
        assert [each.offer for each in pack([cheap], [LARGE, often]).nodes] == [often]
        assert [each.offer for each in pack([dear], [LARGE, often]).nodes] == [LARGE]


class TestConsolidation:
    @given(
        some_pods(),
        st.lists(st.sampled_from(OFFERS), unique_by=lambda each: each.name),
        st.sampled_from([0, 1, 2]),
    )
    def test_the_saving_is_the_price_before_less_the_price_after_and_no_pod_is_lost(
        self, waiting: list[Pod], offers: list[Offer], evictable: int
    ) -> None:
        spread = [
            replace(each, name=f"{each.name}-{one.name}", pods=(one,))
            for each in pack(waiting, OFFERS, daemons=[AGENT]).nodes
            for one in each.pods
        ]
        budgets = [DisruptionBudget(workload="w1", evictable=evictable)]
        plan = consolidate(spread, offers, daemons=[AGENT], budgets=budgets)
        assert plan.saving == price(spread) - price(plan.nodes) >= 0
        assert all(step.saving > 0 for step in plan.steps)
        assert sorted(one.name for each in plan.nodes for one in each.pods) == sorted(
            one.name for each in spread for one in each.pods
        )
        assert_nothing_is_overfilled(plan.nodes, [AGENT])
        assert plan.stays.keys() == {each.name for each in plan.nodes}
        assert all(plan.stays.values())
        if not evictable:
            guarded = {each.name for each in spread if any(one.workload == "w1" for one in each.pods)}
            assert guarded <= {each.name for each in plan.nodes}
        assert consolidate(spread, offers, daemons=[AGENT], budgets=budgets) == plan
        assert not consolidate(plan.nodes, offers, daemons=[AGENT], budgets=budgets).steps

    def test_a_node_goes_whose_pods_fit_elsewhere_and_the_moves_say_where(self) -> None:
        nodes = [node("a", LARGE, *pods(5)), node("b", LARGE, pod("last", 2))]
        [step] = consolidate(nodes).steps
        assert (step.action, step.nodes, step.moves) == ("delete", ("b",), {"last": "a"})
        assert step.saving == LARGE.hourly_price

    def test_a_node_that_is_too_large_is_replaced_by_a_cheaper_one(self) -> None:
        plan = consolidate([node("a", LARGE, pod("p"))], OFFERS)
        [step] = plan.steps
        assert (step.action, step.nodes) == ("replace", ("a",))
        assert [each.offer for each in plan.nodes] == [SMALL]
        assert plan.saving == LARGE.hourly_price - SMALL.hourly_price

    def test_several_nodes_make_room_for_one(self) -> None:
        larger = offer("m5.4xlarge", "0.7", cores=16, gib=64)
        full = [node(name, LARGE, *(pod(f"{name}{each}") for each in range(7))) for name in "ab"]
        [step] = consolidate(full, [larger]).steps
        assert (step.action, set(step.nodes)) == ("replace", {"a", "b"})
        assert step.saving == 2 * LARGE.hourly_price - larger.hourly_price

    def test_a_disruption_budget_tells_in_how_many_rounds_pods_go(self) -> None:
        nodes = [
            node("a", LARGE, *pods(3, workload="web")),
            node("b", LARGE, *(pod(f"x{n}") for n in range(4))),
        ]
        [step] = consolidate(nodes, budgets=[DisruptionBudget(workload="web", evictable=2)]).steps
        assert (step.nodes, step.rounds) == (("a",), 2)

    @pytest.mark.parametrize(
        ("stubborn", "reason"),
        [
            (pod("p", movable=False), "p must not be moved"),
            (pod("p", workload="db"), "the disruption budget of db lets none of its pods go"),
            (pod("p", 4), "p fits on no other: it requests 4.00 cores of 2.00"),
        ],
    )
    def test_a_node_that_stays_says_why(self, stubborn: Pod, reason: str) -> None:
        nodes = [node("a", LARGE, *pods(6, workload="fixed")), node("b", LARGE, stubborn)]
        budgets = [DisruptionBudget(workload=name, evictable=0) for name in ("db", "fixed")]
        plan = consolidate(nodes, budgets=budgets)
        assert not plan.steps
        assert reason in plan.stays["b"]

    @pytest.mark.parametrize("types", [LEAST_CHEAPER_SPOT_TYPES - 1, LEAST_CHEAPER_SPOT_TYPES])
    def test_spot_follows_spot_only_with_many_cheaper_types(self, types: int) -> None:
        cheaper = [offer(f"type-{number}", "0.15", spot=True) for number in range(types)]
        plan = consolidate([node("a", LARGE_SPOT, pod("p", tolerates_spot=True))], cheaper)
        assert len(plan.steps) == (types == LEAST_CHEAPER_SPOT_TYPES)

    def test_on_demand_gives_way_to_spot_where_all_pods_tolerate_it(self) -> None:
        tolerant = node("a", LARGE, *pods(7, tolerates_spot=True))
        assert consolidate([tolerant], [LARGE_SPOT]).saving == LARGE.hourly_price - LARGE_SPOT.hourly_price
        assert not consolidate([node("a", LARGE, *pods(7))], [LARGE_SPOT]).steps


class TestOffHours:
    HOURS = WorkingHours(days=frozenset(range(5)), start=8 * 60, end=18 * 60, zone="Europe/Berlin")

    def test_nodes_go_for_the_night_and_the_week_saves_the_hours_off(self) -> None:
        nodes = [
            node("a", LARGE, *pods(7, workload="dev")),
            node("b", LARGE, pod("db", 4, workload="db")),
            node("c", LARGE, pod("x", 4, workload="shop"), pod("y", 4, workload="dev")),
        ]
        found = off_hours(nodes, {"dev"}, self.HOURS)
        assert found.saving_per_hour == 2 * LARGE.hourly_price
        assert len(found.sleeping) == 8
        assert found.saving_per_week == found.saving_per_hour * (168 - 50)

    @pytest.mark.parametrize(
        ("moment", "works"),
        [
            ("2026-03-27T06:59:59+00:00", False),  # before summer time: 07:59 in Berlin
            ("2026-03-27T07:00:00+00:00", True),
            ("2026-03-30T06:00:00+00:00", True),  # summer time: 08:00
            ("2026-03-30T16:00:00+00:00", False),
            ("2026-03-28T10:00:00+00:00", False),  # a Saturday
        ],
    )
    def test_hours_are_those_of_the_place(self, moment: str, *, works: bool) -> None:
        assert self.HOURS.cover(to_micros(datetime.fromisoformat(moment))) is works

    @pytest.mark.parametrize("wrong", [{"start": 600, "end": 600}, {"end": 1441}, {"days": frozenset({7})}])
    def test_hours_that_are_none_are_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="expected days"):
            WorkingHours(**wrong)  # type: ignore[arg-type]
