"""Shared cost: distributed to the picodollar, whatever the policy; idle and overcommit stay apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from spendstream.allocation import AllocationMeasures, Efficiency, Sharing, Slice, distributed, efficiency_of
from spendstream.allocation.reading import slices_by, slices_of


def slice_of(line: str, name: str, cost: int, cluster: str = "c") -> Slice:
    measures = AllocationMeasures(cpu_cost=cost)
    return Slice(cluster=cluster, line=line, name=(name,), measures=measures)


def shares(slices: list[Slice], sharing: Sharing) -> dict[str, int]:
    return {each.name[0]: each.shared_cost for each in distributed(slices, sharing)}


BILL = [
    slice_of("workload", "web", 300),
    slice_of("workload", "batch", 100),
    slice_of("shared", "kube-system", 35),
    slice_of("shared", "", 5),
]


class TestPolicies:
    def test_proportional_to_what_each_was_allocated(self) -> None:
        assert shares(BILL, Sharing()) == {"web": 30, "batch": 10}

    def test_even(self) -> None:
        assert shares(BILL, Sharing(policy="even")) == {"web": 20, "batch": 20}

    def test_fixed_weights_also_for_those_who_had_no_cost(self) -> None:
        sharing = Sharing(policy="fixed", weights={"web": 1, "night": 3})
        assert shares(BILL, sharing) == {"web": 10, "batch": 0, "night": 30}

    def test_a_name_with_a_slash_has_its_weight_with_and_without_a_cost_of_its_own(self) -> None:
        bill = [*BILL, slice_of("workload", "data/etl", 100)]
        sharing = Sharing(policy="fixed", weights={"data/etl": 1, "data/night": 3})
        assert shares(bill, sharing) == {"web": 0, "batch": 0, "data/etl": 10, "data/night": 30}

    def test_a_name_of_two_parts_has_its_weight_with_and_without_a_cost_of_its_own(self) -> None:
        bill = [replace(each, name=("shop", *each.name)) for each in BILL]
        found = distributed(bill, Sharing(policy="fixed", weights={"shop/web": 1, "lab/night": 3}))
        assert {each.name: each.shared_cost for each in found} == {
            ("shop", "web"): 10,
            ("shop", "batch"): 0,
            ("lab", "night"): 30,
        }

    @pytest.mark.parametrize("name", ["shop", "data/etl/night"])
    def test_a_weight_of_a_name_with_other_parts_is_refused(self, name: str) -> None:
        bill = [replace(each, name=("shop", *each.name)) for each in BILL]
        with pytest.raises(ValueError, match=f"the weight of '{name}': expected a name of 2 parts"):
            distributed(bill, Sharing(policy="fixed", weights={name: 1}))

    def test_a_weight_that_could_be_of_two_names_is_refused(self) -> None:
        workload, _, shared, _ = BILL
        bill = [*(replace(workload, name=name) for name in (("a/b", "c"), ("a", "b/c"))), shared]
        with pytest.raises(ValueError, match="the weight of 'a/b/c' could be of"):
            distributed(bill, Sharing(policy="fixed", weights={"a/b/c": 1}))

    def test_what_does_not_divide_goes_to_those_who_lost_most(self) -> None:
        bill = [slice_of("workload", name, 1) for name in "abc"] + [slice_of("shared", "s", 10)]
        assert shares(bill, Sharing()) == {"a": 4, "b": 3, "c": 3}

    def test_idle_and_overcommit_have_no_part_in_it(self) -> None:
        bill = [*BILL, slice_of("idle", "", 1000), slice_of("overcommit", "", -50)]
        found = distributed(bill, Sharing())
        assert {each.cost for each in found if each.line in ("idle", "overcommit")} == {1000, -50}
        assert {each.name[0]: each.shared_cost for each in found if each.line == "workload"} == {
            "web": 30,
            "batch": 10,
        }

    def test_a_cluster_pays_its_own(self) -> None:
        bill = [*BILL, slice_of("workload", "far", 900, "d"), slice_of("shared", "kube-system", 7, "d")]
        assert shares(bill, Sharing()) == {"web": 30, "batch": 10, "far": 7}

    @pytest.mark.parametrize("sharing", [Sharing(), Sharing(policy="even"), Sharing(policy="fixed")])
    def test_where_nobody_is_to_pay_shared_cost_stays_as_it_is(self, sharing: Sharing) -> None:
        bill = [slice_of("shared", "kube-system", 35), slice_of("idle", "", 3)]
        assert distributed(bill, sharing) == bill


names = st.text("ab/", max_size=3)
slices = st.builds(
    slice_of,
    st.sampled_from(["workload", "idle", "shared"]),
    names,
    st.integers(0, 10**15),
    st.sampled_from("cd"),
)
sharings = st.builds(
    Sharing,
    policy=st.sampled_from(["even", "proportional", "fixed"]),
    weights=st.dictionaries(names, st.integers(0, 9)),
)


@given(st.lists(slices), sharings)
def test_the_bill_stays_what_it_was(bill: list[Slice], sharing: Sharing) -> None:
    found = distributed(bill, sharing)
    for cluster in "cd":
        assert sum(each.cost for each in found if each.cluster == cluster) == sum(
            each.cost for each in bill if each.cluster == cluster
        )
    assert all(each.shared_cost >= 0 for each in found)


class TestEfficiency:
    def test_it_is_used_of_requested_weighted_by_cost_with_the_gpu_in_it(self) -> None:
        measures = AllocationMeasures(
            cpu_cost=100, memory_cost=100, gpu_cost=800,
            cpu_requested=10, cpu_used=5, memory_requested=10, memory_used=15, gpu_requested=4, gpu_used=1,
        )  # fmt: skip
        found = efficiency_of(measures)
        assert found == Efficiency(cpu=0.5, memory=1.5, gpu=0.25, total=0.4)

    def test_what_is_used_without_a_request_is_efficient(self) -> None:
        assert efficiency_of(AllocationMeasures(cpu_used=3, cpu_cost=1)) == Efficiency(
            cpu=1.0, memory=None, gpu=None, total=1.0
        )

    def test_nothing_has_no_efficiency(self) -> None:
        assert efficiency_of(AllocationMeasures()) == Efficiency(cpu=None, memory=None, gpu=None, total=None)


class TestReading:
    def test_slices_are_asked_for_by_names_that_there_are_and_by_no_others(self) -> None:
        with pytest.raises(ValueError, match="found \\['team; DROP TABLE'\\]"):
            slices_by(["team; DROP TABLE"], since=0, until=1, sharing=Sharing())
        with pytest.raises(ValueError, match="found none"):
            slices_by([], since=0, until=1, sharing=Sharing())

    def test_an_answer_is_read_with_its_names(self) -> None:
        row = ("c", "idle", "web", "app", *range(len(AllocationMeasures._fields)))
        [found] = slices_of([row])
        assert (found.cluster, found.line, found.name) == ("c", "idle", ("web", "app"))
        assert found.measures == tuple(range(len(AllocationMeasures._fields)))
