"""What else a cluster pays for: its nodes, control plane and load balancers, and what has no price."""

from hypothesis import given
from hypothesis import strategies as st

from spendstream.events import NodeUsage, PodUsage
from spendstream.money import parse_usd
from spendstream.workloads import Attribution
from spendstream.workloads.account import Account
from spendstream.workloads.nodes import LoadBalancer
from spendstream.workloads.samples import Samples
from spendstream.workloads.tenure import Billed
from tests.fixtures.accounts import account, closed
from tests.fixtures.manifests import (
    HOUR,
    MINUTE,
    NOON,
    PRICES,
    SECOND,
    container,
    life,
    node,
    pod,
)


def test_a_change_of_the_node_begins_a_new_sample_of_it_and_of_its_pods():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    opened.tell_node(
        node(**{"node.kubernetes.io/instance-type": "x"}),
        NOON + 7 * SECOND,
    )
    found = closed(opened, NOON + 30 * SECOND)
    assert [event.cost is None for event in found if isinstance(event, PodUsage)] == [False, True]
    nodes = [event for event in found if isinstance(event, NodeUsage) and event.event_time >= NOON]
    assert [event.instance_type for event in nodes] == ["m5.2xlarge", "x"]


@given(st.lists(st.integers(1, 1200), max_size=8))
def test_the_pods_of_a_node_that_is_full_pay_for_all_of_it_wherever_samples_are_cut(steps):
    opened, found, now = account(Billed.nothing(NOON)), [], NOON
    for number in range(8):
        whole = [container(cpu="1", memory="4Gi")]
        opened.tell_pod(pod(f"web-{number}", states={"main": life(NOON)}, containers=whole), NOON)
    for step in steps:
        now = min(now + step * SECOND, NOON + HOUR)
        found += closed(opened, now)
    found += closed(opened, NOON + HOUR)
    of_pods = [event for event in found if isinstance(event, PodUsage)]
    of_nodes = [event for event in found if isinstance(event, NodeUsage)]
    assert sum(event.cost for event in of_nodes) == parse_usd("0.384")
    for name in ("cpu_cost", "memory_cost"):
        paid = sum(getattr(event, name) for event in of_nodes)
        assert abs(sum(getattr(event, name) for event in of_pods) - paid) <= 8  # each pod rounds once


def test_samples_of_two_clusters_never_share_an_id():
    def ids(cluster):
        samples = Samples(cluster=cluster, source="test", region="", prices=PRICES)
        opened = Account(samples, Billed.nothing(NOON), attribution=Attribution(), control_plane="eks")
        return {event.id for event in closed(opened, NOON + HOUR)}

    assert ids("one") == ids("one")
    assert not ids("one") & ids("two")


def test_what_has_no_price_has_no_cost():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}, spec={"nodeName": "unknown"}), NOON)
    (event,) = [event for event in closed(opened, NOON + 30 * SECOND) if isinstance(event, PodUsage)]
    assert event.cost is None


def test_the_control_plane_and_load_balancers_are_paid_for():
    opened = account(Billed.nothing(NOON), control_plane="eks")
    found = closed(opened, NOON + HOUR)
    (plane,) = [event for event in found if isinstance(event, NodeUsage) and event.asset == "control-plane"]
    assert (plane.instance_type, plane.cost) == ("eks", 10**11)


def balancer(created):
    return LoadBalancer(name="shop/web", kind="network", uid="uid-lb", created=created)


def balanced(opened, until):
    found = [one for one in closed(opened, until) if isinstance(one, NodeUsage)]
    return [(one.event_time, one.end_time) for one in found if one.asset == "load-balancer"]


def test_a_service_that_is_given_a_load_balancer_pays_from_then_on_and_not_from_its_own_beginning():
    opened = account(Billed.nothing(NOON))
    assert balanced(opened, NOON + 5 * MINUTE) == []
    opened.balancers.tell("uid-lb", NOON + MINUTE, balancer(NOON + MINUTE), NOON + 5 * MINUTE + 10 * SECOND)
    assert balanced(opened, NOON + 6 * MINUTE) == [(NOON + 5 * MINUTE, NOON + 6 * MINUTE)]


def test_a_service_that_lost_its_load_balancer_and_is_given_it_again_pays_for_both_times():
    opened = account(Billed.nothing(NOON))
    opened.balancers.tell("uid-lb", NOON, balancer(NOON), NOON)
    opened.balancers.gone("uid-lb", NOON + 10 * SECOND)
    opened.balancers.tell("uid-lb", NOON, balancer(NOON), NOON + 20 * SECOND)
    assert balanced(opened, NOON + 30 * SECOND) == [
        (NOON, NOON + 10 * SECOND),
        (NOON + 20 * SECOND, NOON + 30 * SECOND),
    ]
    opened.balancers.gone("uid-lb", NOON + MINUTE)
    assert balanced(opened, NOON + 2 * MINUTE) == [(NOON + 30 * SECOND, NOON + MINUTE)]
    for hours in (1, 2, 3):
        assert balanced(opened, NOON + hours * HOUR) == []
    opened.balancers.tell("uid-lb", NOON, balancer(NOON), NOON + 3 * HOUR + 10 * SECOND)
    assert balanced(opened, NOON + 3 * HOUR + MINUTE) == [(NOON + 3 * HOUR, NOON + 3 * HOUR + MINUTE)]
    assert len(opened.balancers) == 1
