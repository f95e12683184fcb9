"""What a pod holds of its node: init containers in order, sidecars, overhead, and resizes in place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation import InitContainer, Request, effective_request, remainder, resized

amounts = st.integers(0, 1000)
requests = st.builds(Request, cpu=amounts, memory=amounts, gpu=amounts)
inits = st.lists(st.builds(InitContainer, request=requests, is_sidecar=st.booleans()), max_size=5)


def cpu(amount: int) -> Request:
    return Request(cpu=amount)


def init(amount: int, *, is_sidecar: bool = False) -> InitContainer:
    return InitContainer(request=cpu(amount), is_sidecar=is_sidecar)


def test_containers_add_up() -> None:
    both = effective_request([Request(cpu=1, memory=2, gpu=3), Request(cpu=10, memory=20)])
    assert both == Request(cpu=11, memory=22, gpu=3)


def test_an_init_container_that_needs_more_than_all_containers_holds_it_for_the_pod_s_life() -> None:
    assert effective_request([cpu(2), cpu(3)], [init(4), init(9)]) == cpu(9)
    assert effective_request([cpu(2), cpu(3)], [init(4)]) == cpu(5)


def test_a_native_sidecar_is_held_beside_the_containers_and_the_inits_that_follow_it() -> None:
    assert effective_request([cpu(2)], [init(1, is_sidecar=True)]) == cpu(3)
    assert effective_request([cpu(2)], [init(1, is_sidecar=True), init(9)]) == cpu(10)
    assert effective_request([cpu(2)], [init(9), init(1, is_sidecar=True)]) == cpu(9)
    assert effective_request([cpu(2)], [init(4, is_sidecar=True), init(5, is_sidecar=True)]) == cpu(11)


def test_resources_are_looked_at_one_by_one() -> None:
    first = InitContainer(request=Request(cpu=9, memory=1))
    assert effective_request([Request(cpu=1, memory=9)], [first]) == Request(cpu=9, memory=9)


def test_overhead_comes_on_top() -> None:
    assert effective_request([cpu(2)], [init(5)], overhead=Request(cpu=1, memory=7)) == Request(
        cpu=6, memory=7
    )


def test_a_request_of_the_pod_as_a_whole_holds_for_the_resources_it_names() -> None:
    held = effective_request([Request(cpu=2, memory=3)], of_pod=cpu(8), overhead=cpu(1))
    assert held == Request(cpu=9, memory=3)


def test_what_init_containers_and_overhead_hold_beyond_the_containers_is_the_remainder() -> None:
    effective = effective_request([cpu(2), cpu(3)], [init(9)], overhead=Request(cpu=1, memory=4))
    assert remainder(effective, [cpu(2), cpu(3)]) == Request(cpu=5, memory=4)


@given(st.lists(requests, max_size=4), inits, requests)
def test_containers_and_remainder_are_the_effective_request(
    containers: list[Request], init_containers: list[InitContainer], overhead: Request
) -> None:
    effective = effective_request(containers, init_containers, overhead=overhead)
    running = [*containers, *(each.request for each in init_containers if each.is_sidecar)]
    total = remainder(effective, running)
    for request in running:
        total = total.plus(request)
    assert total == effective


class TestResizing:
    def test_growth_is_held_from_when_it_is_wanted_and_shrinking_until_it_is_done(self) -> None:
        assert resized(cpu(4), allocated=cpu(2), actual=cpu(2)) == cpu(4)
        assert resized(cpu(1), allocated=cpu(2), actual=cpu(3)) == cpu(3)

    def test_what_the_node_says_is_infeasible_is_not_held(self) -> None:
        assert resized(cpu(4), allocated=cpu(2), actual=cpu(1), infeasible=True) == cpu(2)

    def test_without_a_status_the_spec_holds(self) -> None:
        assert resized(cpu(4), allocated=None, actual=None) == cpu(4)
        assert resized(cpu(4), allocated=None, actual=None, infeasible=True) == cpu(4)
