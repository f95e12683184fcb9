"""The account of a cluster: what it bills is each container's life, once, whatever happens in between."""

import tracemalloc
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.codec import PODS
from spendstream.events import NodeUsage, PodUsage
from spendstream.money import parse_usd
from spendstream.workloads import Attribution, Autoscaler, Owned, Reading
from spendstream.workloads.account import Account
from spendstream.workloads.manifests import Metadata, OwnerReference
from spendstream.workloads.nodes import LoadBalancer
from spendstream.workloads.samples import Samples
from spendstream.workloads.tenure import Billed
from tests.fixtures.manifests import (
    GIB,
    HOUR,
    MINUTE,
    NOON,
    PRICES,
    SECOND,
    container,
    iso,
    life,
    node,
    pod,
    volume,
)

LONG_AGO = NOON - 30 * 24 * HOUR


def account(billed=None, **given):
    samples = Samples(cluster="prod", source="test", region="us-east-1", prices=PRICES)
    opened = Account(samples, billed or Billed.nothing(LONG_AGO), attribution=Attribution(), **given)
    opened.tell_node(node(), NOON)
    return opened


def closed(opened, until):
    found = [event for group in opened.close(until) for event in group]
    opened.closed(until)
    return found


def spans(events, container="main"):
    found = [event for event in events if isinstance(event, PodUsage) and event.container == container]
    return sorted((event.event_time, event.end_time) for event in found)


def test_a_ten_second_pod_is_billed_ten_seconds():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON, NOON + 10 * SECOND)}), NOON + 12 * SECOND)
    assert spans(closed(opened, NOON + 30 * SECOND)) == [(NOON, NOON + 10 * SECOND)]
    assert spans(closed(opened, NOON + MINUTE)) == []


@pytest.mark.parametrize("limits", [{"cpu": "1E"}, {"memory": "1E"}])
def test_a_limit_beyond_all_measure_keeps_no_container_from_being_billed(limits):
    opened = account()
    given = container(resources={"requests": {"cpu": "1"}, "limits": limits})
    opened.tell_pod(pod(states={"main": life(NOON)}, containers=[given]), NOON)
    (event,) = [one for one in closed(opened, NOON + 30 * SECOND) if isinstance(one, PodUsage)]
    assert PODS.decode(PODS.encode(event)) == event


def test_samples_are_cut_at_full_hours():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON - MINUTE)}), NOON)
    found = spans(closed(opened, NOON + MINUTE))
    assert found == [(NOON - MINUTE, NOON), (NOON, NOON + MINUTE)]


def test_a_resize_begins_a_new_sample():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    larger = pod(states={"main": life(NOON)}, containers=[container(cpu="2")])
    opened.tell_pod(larger, NOON + 10 * SECOND)
    found = closed(opened, NOON + 30 * SECOND)
    requests = {event.event_time: event.cpu_request for event in found if isinstance(event, PodUsage)}
    assert requests == {NOON: 500_000_000, NOON + 10 * SECOND: 2_000_000_000}


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


def test_usage_is_the_mean_of_what_was_read_and_the_peak_its_highest():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    opened.read("shop", "web-1", "main", Reading(NOON + 10 * SECOND, cpu=1000, memory=100, peak=150))
    opened.read("shop", "web-1", "main", Reading(NOON + 20 * SECOND, cpu=3000, memory=300, peak=300))
    opened.read("shop", "web-1", "main", Reading(NOON + 20 * SECOND, cpu=9000, memory=900, peak=900))
    opened.read("shop", "web-1", "main", Reading(NOON + 40 * SECOND, cpu=5000, memory=500, peak=500))
    (first,) = [event for event in closed(opened, NOON + 30 * SECOND) if isinstance(event, PodUsage)]
    assert (first.cpu_usage, first.memory_usage, first.memory_peak) == (2000, 200, 300)
    (second,) = [event for event in closed(opened, NOON + 60 * SECOND) if isinstance(event, PodUsage)]
    assert second.cpu_usage == 5000


def test_usage_that_is_not_known_any_more_is_not_made_up():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    opened.read("shop", "web-1", "main", Reading(NOON + SECOND, cpu=1000, memory=100))
    closed(opened, NOON + 30 * SECOND)
    (soon,) = [event for event in closed(opened, NOON + MINUTE) if isinstance(event, PodUsage)]
    assert soon.cpu_usage == 1000
    closed(opened, NOON + 10 * MINUTE)
    (late,) = [event for event in closed(opened, NOON + 11 * MINUTE) if isinstance(event, PodUsage)]
    assert (late.cpu_usage, late.memory_usage) == (0, 0)


def test_a_reading_that_came_too_late_for_a_sample_does_not_end_what_is_known_of_it():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    opened.read("shop", "web-1", "main", Reading(NOON + 29 * SECOND, cpu=3_000_000_000, memory=100))
    closed(opened, NOON + 30 * SECOND)
    opened.read("shop", "web-1", "main", Reading(NOON + 61 * SECOND, cpu=1_000_000_000, memory=100))
    for until, cores in ((60, 3), (90, 1)):
        (event,) = [one for one in closed(opened, NOON + until * SECOND) if isinstance(one, PodUsage)]
        assert event.cpu_usage == cores * 10**9


def test_both_runs_of_a_container_that_was_killed_are_billed_and_told():
    status = {
        "name": "main",
        "restartCount": 1,
        "lastState": life(NOON, NOON + 5 * SECOND, "OOMKilled"),
        "state": life(NOON + 8 * SECOND),
    }
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    opened.tell_pod(pod(statuses=[status]), NOON + 9 * SECOND)
    found = closed(opened, NOON + 30 * SECOND)
    assert spans(found) == [(NOON, NOON + 5 * SECOND), (NOON + 8 * SECOND, NOON + 30 * SECOND)]
    mains = [event for event in found if isinstance(event, PodUsage) and event.container == "main"]
    assert [(event.oom_kills, event.restarts) for event in mains] == [(1, 0), (0, 1)]


def test_while_a_container_waits_for_its_restart_the_pod_keeps_its_room():
    status = {
        "name": "main",
        "restartCount": 1,
        "lastState": life(NOON, NOON + 5 * SECOND),
        "state": life(NOON + 8 * SECOND),
    }
    opened = account()
    opened.tell_pod(pod(statuses=[status]), NOON + 9 * SECOND)
    found = closed(opened, NOON + 30 * SECOND)
    (room,) = [event for event in found if isinstance(event, PodUsage) and not event.container]
    assert (room.event_time, room.end_time) == (NOON + 5 * SECOND, NOON + 8 * SECOND)
    assert (room.cpu_request, room.memory_request) == (500_000_000, GIB)


def scheduled(moment):
    return {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(moment)}]}


def test_a_start_that_is_told_late_is_not_billed_beside_the_room_that_was_kept_for_it():
    opened, status = account(), scheduled(NOON)
    opened.tell_pod(pod(status=status), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    opened.tell_pod(pod(states={"main": life(NOON + 10 * SECOND)}, status=status), NOON + 50 * SECOND)
    found += closed(opened, NOON + MINUTE)
    pieces = [(one.event_time, one.end_time, one.container) for one in found if isinstance(one, PodUsage)]
    half = NOON + 30 * SECOND
    assert pieces == [(NOON, half, ""), (half, NOON + MINUTE, "main")]


def test_a_kill_and_a_restart_that_are_told_when_they_are_long_over_are_told_once():
    opened, status = account(), scheduled(NOON)
    opened.tell_pod(pod(status=status), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    killed = {
        "name": "main",
        "restartCount": 1,
        "lastState": life(NOON + SECOND, NOON + 9 * SECOND, "OOMKilled"),
        "state": life(NOON + 20 * SECOND),
    }
    opened.tell_pod(pod(statuses=[killed], status=status), NOON + 50 * SECOND)
    found += closed(opened, NOON + MINUTE)
    found += closed(opened, NOON + 2 * MINUTE)
    samples = [event for event in found if isinstance(event, PodUsage)]
    assert sum(event.oom_kills for event in samples) == sum(event.restarts for event in samples) == 1


def test_an_init_container_makes_a_pod_reserve_more_than_its_containers_request():
    opened = account()
    large = pod(
        states={"main": life(NOON + 10 * SECOND)},
        init=[container("prepare", cpu="2", memory="1Gi")],
        status={"initContainerStatuses": [{"name": "prepare", "state": life(NOON, NOON + 10 * SECOND)}]},
    )
    opened.tell_pod(large, NOON + 12 * SECOND)
    found = [event for event in closed(opened, NOON + 30 * SECOND) if isinstance(event, PodUsage)]
    per_second = {}
    for event in found:
        for second in range(event.event_time, event.end_time, SECOND):
            cpu, memory = per_second.get(second, (0, 0))
            per_second[second] = cpu + event.cpu_request, memory + event.memory_request
    assert set(per_second.values()) == {(2_000_000_000, GIB)}


@given(
    init=st.integers(0, 40),
    sidecar=st.booleans(),
    pauses=st.lists(st.tuples(st.integers(1, 25), st.integers(1, 25)), max_size=4),
    closes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
)
def test_a_pod_is_billed_its_effective_request_each_second_however_its_containers_run(
    init, sidecar, pauses, closes
):
    """It is scheduled at noon; its init container runs, then its main one, which ends now and then."""
    always = {"restartPolicy": "Always"} if sidecar else {}
    runs, begin = [], NOON + init * SECOND
    for run, pause in pauses:
        runs.append((begin, begin + run * SECOND))
        begin += (run + pause) * SECOND
    runs.append((begin, None))
    opened, found, now = account(), [], NOON
    for step in [*closes, 300]:
        now += step * SECOND
        begun = [run for run in runs if run[0] <= now]
        state = {"waiting": {}} if not begun else life(begun[-1][0], _past(begun[-1][1], now))
        last = {"lastState": life(*begun[-2])} if len(begun) > 1 else {}
        main = {"name": "main", "restartCount": max(len(begun) - 1, 0), "state": state, **last}
        ended = None if sidecar else _past(NOON + init * SECOND, now)
        shown = pod(
            init=[container("first", cpu="2", memory="1Mi", **always)],
            statuses=[main],
            status={
                "initContainerStatuses": [{"name": "first", "state": life(NOON, ended)}],
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(NOON)}],
            },
        )
        opened.tell_pod(shown, now)
        found += [event for event in closed(opened, now) if isinstance(event, PodUsage)]
    billed = [0] * ((now - NOON) // SECOND)
    for event in found:
        for second in range((event.event_time - NOON) // SECOND, (event.end_time - NOON) // SECOND):
            billed[second] += event.cpu_request
    assert set(billed) == {2_500_000_000 if sidecar else 2_000_000_000}


def _past(moment, now):
    return moment if moment is not None and moment <= now else None


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


def test_a_pod_that_was_evicted_and_stays_to_be_seen_is_billed_to_its_eviction():
    changed = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(NOON)},
        {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": iso(NOON + 9 * SECOND)},
    ]
    evicted = pod(status={"phase": "Failed", "conditions": changed, "containerStatuses": []})
    opened = account()
    opened.tell_pod(evicted, NOON + MINUTE)
    assert spans(closed(opened, NOON + MINUTE), container="") == [(NOON, NOON + 9 * SECOND)]
    later = account(opened.billed)
    later.tell_pod(evicted, NOON + HOUR)
    assert spans(closed(later, NOON + HOUR), container="") == []


def test_a_pod_that_is_gone_without_a_word_ends_when_it_was_to_be_gone():
    opened = account()
    deleting = {"deletionTimestamp": iso(NOON + 5 * SECOND)}
    opened.tell_pod(pod(states={"main": life(NOON)}, metadata=deleting), NOON)
    opened.only_pods(set(), NOON + 20 * SECOND)
    assert spans(closed(opened, NOON + 30 * SECOND)) == [(NOON, NOON + 5 * SECOND)]
    assert opened.pods == 0


def test_whose_a_pod_is_says_the_pod_then_its_namespace_then_its_workload_is_found():
    opened = account()
    opened.tell_namespace("shop", Owned(team="retail", environment="production"))
    opened.owners.learn(
        Metadata(
            name="web-abc",
            uid="rs",
            owner_references=(OwnerReference(kind="Deployment", name="web", uid="d", controller=True),),
        )
    )
    opened.tell_autoscaler("h", Autoscaler(namespace="shop", kind="Deployment", name="web", scaled_on="cpu"))
    metadata = {
        "labels": {"environment": "staging", "pod-template-hash": "abc"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "uid": "rs", "controller": True}],
    }
    opened.tell_pod(pod(states={"main": life(NOON)}, metadata=metadata), NOON)
    (event,) = [event for event in closed(opened, NOON + 30 * SECOND) if isinstance(event, PodUsage)]
    assert (event.team, event.environment, event.revision) == ("retail", "staging", "abc")
    assert (event.workload_kind, event.workload, event.scaled_on) == ("Deployment", "web", "cpu")
    assert event.labels == {"environment": "staging"}


def test_a_volume_that_two_pods_share_costs_each_a_half_while_both_are_there():
    mounted = {"volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": "files"}}]}
    opened = account()
    opened.tell_volume(volume("pv-1", "files"), NOON)
    opened.tell_pod(pod("web-1", states={"main": life(NOON)}, spec=mounted), NOON)
    opened.tell_pod(pod("web-2", states={"main": life(NOON + 10 * SECOND)}, spec=mounted), NOON + 10 * SECOND)
    found = closed(opened, NOON + 30 * SECOND)
    of_pods = [event for event in found if isinstance(event, PodUsage) and not event.container]
    assert sorted((event.event_time, event.pod, event.storage_request) for event in of_pods) == [
        (NOON, "web-1", 100 * GIB),
        (NOON + 10 * SECOND, "web-1", 50 * GIB),
        (NOON + 10 * SECOND, "web-2", 50 * GIB),
    ]
    (whole,) = [
        event.cost
        for event in found
        if isinstance(event, NodeUsage) and event.asset == "volume" and event.event_time == NOON
    ]
    assert abs(sum(event.storage_cost for event in of_pods) - whole) <= 2


def test_a_volume_that_a_pod_mounts_twice_is_paid_for_once():
    claim = {"persistentVolumeClaim": {"claimName": "files"}}
    mounted = {"volumes": [{"name": "files", **claim}, {"name": "again", **claim}]}
    opened = account()
    opened.tell_volume(volume("pv-1", "files"), NOON)
    opened.tell_pod(pod("web-1", states={"main": life(NOON)}, spec=mounted), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    (held,) = [event for event in found if isinstance(event, PodUsage) and not event.container]
    assert held.storage_request == 100 * GIB


HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
EIGHTH, TWELFTH = Fraction(1, 8), Fraction(1, 12)


@pytest.mark.parametrize(
    ("mounts", "shares"),
    [
        (
            {"pod1": (0, 4), "pod2": (2, 4), "pod3": (3, 4), "pod4": (0, 1)},
            {
                "pod1": EIGHTH + QUARTER + EIGHTH + TWELFTH,
                "pod2": EIGHTH + TWELFTH,
                "pod3": TWELFTH,
                "pod4": EIGHTH,
            },
        ),
        ({"pod1": (0, 2), "pod2": (2, 4)}, {"pod1": HALF, "pod2": HALF}),
        ({"pod1": (2, 4), "pod2": (2, 4)}, {"pod1": QUARTER, "pod2": QUARTER}),
        ({"pod1": (0, 4)}, {"pod1": Fraction(1)}),
        ({"pod1": (0, 1), "pod2": (3, 4)}, {"pod1": QUARTER, "pod2": QUARTER}),
        ({"pod1": (1, 3)}, {"pod1": HALF}),
    ],
    ids=["four, overlapping", "two in turn", "two at once", "one", "two with a gap", "in the middle"],
)  # fmt: skip
def test_volumes_are_shared_as_in_opencost_s_examples(mounts, shares):
    mounted = {"volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": "files"}}]}
    opened = account()
    opened.tell_volume(volume("pv-1", "files"), NOON)
    for name, (start, end) in mounts.items():
        begin, stop = NOON + start * HOUR // 4, NOON + end * HOUR // 4
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(begin)}
        status = {"phase": "Succeeded", "conditions": [scheduled]}
        opened.tell_pod(pod(name, states={"main": life(begin, stop)}, spec=mounted, status=status), stop)
    found = closed(opened, NOON + HOUR)
    whole = sum(
        event.cost
        for event in found
        if isinstance(event, NodeUsage) and event.asset == "volume" and event.event_time >= NOON
    )
    paid = dict.fromkeys(shares, 0)
    for event in found:
        if isinstance(event, PodUsage) and event.storage_cost:
            paid[event.pod] += event.storage_cost
    assert whole
    assert all(abs(paid[name] - share * whole) <= 4 for name, share in shares.items()), paid


def test_a_volume_was_shared_also_with_a_pod_that_is_gone_since():
    mounted = {"volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": "files"}}]}
    opened = account()
    opened.tell_volume(volume("pv-1", "files"), NOON)
    for name in ("first", "second", "third"):
        opened.tell_pod(pod(name, states={"main": life(NOON)}, spec=mounted), NOON)
    for name in ("first", "third"):
        opened.lose_pod(f"uid-{name}", NOON + 10 * SECOND)
    found = closed(opened, NOON + 30 * SECOND)
    shares = {
        (event.event_time, event.storage_request)
        for event in found
        if isinstance(event, PodUsage) and event.pod == "second" and not event.container
    }
    assert shares == {(NOON, 100 * GIB // 3), (NOON + 10 * SECOND, 100 * GIB)}


def test_a_kill_that_is_told_late_is_told_once_all_the_same():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    killed = {
        "name": "main",
        "restartCount": 1,
        "lastState": life(NOON, NOON + 29 * SECOND, "OOMKilled"),
        "state": life(NOON + 31 * SECOND),
    }
    for late in (50, 55):
        opened.tell_pod(pod(statuses=[killed]), NOON + late * SECOND)
    found += closed(opened, NOON + MINUTE)
    later = account(opened.billed)
    later.tell_pod(pod(statuses=[killed]), NOON + 2 * MINUTE)
    found += closed(later, NOON + 2 * MINUTE)
    assert sum(event.oom_kills for event in found if isinstance(event, PodUsage)) == 1


def test_samples_of_two_clusters_never_share_an_id():
    def ids(cluster):
        samples = Samples(cluster=cluster, source="test", region="", prices=PRICES)
        opened = Account(samples, Billed.nothing(NOON), attribution=Attribution(), control_plane="eks")
        return {event.id for event in closed(opened, NOON + HOUR)}

    assert ids("one") == ids("one")
    assert not ids("one") & ids("two")


def test_a_cluster_is_not_billed_for_the_time_before_it_was_collected():
    opened = account(Billed.nothing(NOON))
    opened.tell_pod(pod(states={"main": life(NOON - 24 * HOUR)}), NOON)
    assert spans(closed(opened, NOON + 30 * SECOND)) == [(NOON, NOON + 30 * SECOND)]


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


GRID = 30 * SECOND
SETTLE = 15 * SECOND


@st.composite
def stories(draw):
    """Draw a container's life, and what happens to its collector meanwhile."""
    start = NOON + draw(st.integers(-90, 90)) * SECOND
    end = start + draw(st.integers(1, 400)) * SECOND
    resize = draw(st.none() | st.integers(1, 400))
    ticks = draw(
        st.lists(
            st.sampled_from(["close", "skip", "crash before", "crash within", "crash after"]), max_size=14
        )
    )
    lags = draw(st.lists(st.integers(0, 15), min_size=16, max_size=16))
    return start, end, resize and start + resize * SECOND, ticks, lags


def at(moment, start, end, resize):
    """Return the pod as its kubelet would show it then, None before it is there."""
    if moment < start:
        return None
    cpu = "2" if resize and moment >= resize else "500m"
    state = life(start, end) if moment >= end else life(start)
    return pod(states={"main": state}, containers=[container(cpu=cpu)])


@given(stories())
def test_intervals_of_a_container_have_no_hole_do_not_overlap_and_sum_to_its_life(story):
    start, end, resize, ticks, lags = story
    opened, delivered = account(), {}
    boundary = NOON - 2 * MINUTE

    def deliver(groups):
        for group in groups:
            for event in group:
                delivered.setdefault(event.id, event)

    def tell(moment):
        if (shown := at(moment, start, end, resize)) is not None:
            opened.tell_pod(shown, moment)

    for number, tick in enumerate([*ticks, *["close"] * 20]):
        boundary += GRID
        if tick == "skip":
            tell(boundary)
            continue
        tell(boundary + SETTLE - lags[number % 16] * SECOND)
        intent = opened.closing(boundary)
        groups = list(opened.close(boundary))
        if tick == "close":
            deliver(groups)
            opened.closed(boundary)
            continue
        deliver({"crash before": [], "crash within": groups[:1], "crash after": groups}[tick])
        opened = account(intent)
        tell(boundary + SETTLE)
        deliver(opened.close(intent.closing))
        opened.closed(intent.closing)
    found = spans(delivered.values())
    assert found[0][0] == start
    assert found[-1][1] == end
    assert all(one[1] == following[0] for one, following in pairwise(found))
    assert sum(until - since for since, until in found) == end - start


@given(stories(), st.integers(16, 300))
def test_an_end_that_is_told_late_is_billed_to_what_had_left_and_nothing_twice(story, late):
    start, end, resize, ticks, _ = story
    opened, found = account(), []
    boundary = NOON - 2 * MINUTE
    for _ in [*ticks, *["close"] * 20]:
        boundary += GRID
        if (shown := at(boundary + SETTLE - late * SECOND, start, end, resize)) is not None:
            opened.tell_pod(shown, boundary)
        found += spans(closed(opened, boundary))
    assert found[0][0] == start
    assert all(one[1] == following[0] for one, following in pairwise(found))
    assert end <= found[-1][1] <= end + late * SECOND + GRID


def test_a_new_account_knows_what_an_earlier_one_billed():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    closed(opened, NOON + 30 * SECOND)
    later = account(opened.billed)
    later.tell_pod(pod(states={"main": life(NOON)}), NOON + MINUTE)
    later.tell_pod(pod("web-2", states={"main": life(NOON + 5 * SECOND)}), NOON + MINUTE)
    assert spans(closed(later, NOON + MINUTE)) == [
        (NOON + 5 * SECOND, NOON + MINUTE),
        (NOON + 30 * SECOND, NOON + MINUTE),
    ]


@pytest.mark.parametrize("live", [1, 50])
def test_what_is_remembered_grows_with_what_lives_and_not_with_time(live):
    opened = account()
    for round_ in range(20):
        moment = NOON + round_ * MINUTE
        for number in range(live):
            name = f"batch-{round_}-{number}"
            opened.tell_pod(pod(name, states={"main": life(moment, moment + SECOND)}), moment + SECOND)
            opened.lose_pod(f"uid-{name}", moment + 2 * SECOND)
        closed(opened, moment + MINUTE)
        assert opened.pods == 0
    assert len(opened.billed.known) == 1


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


def test_memory_does_not_grow_with_nodes_and_volumes_that_come_and_go():
    opened = account(Billed.nothing(NOON))
    tracemalloc.start()
    try:
        for number in range(10, 50):
            moment, name = NOON + number * 2 * HOUR, f"{number}" * 10_000
            opened.tell_node(node(name), moment)
            opened.tell_volume(volume(name, name), moment)
            opened.nodes.gone(f"uid-{name}", moment)
            opened.volumes.gone(f"uid-{name}", moment)
            closed(opened, moment + 2 * HOUR)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_a_volume_that_was_released_is_not_taken_for_the_one_that_a_claim_has_now(order):
    mounted = {"volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": "files"}}]}
    volumes = {
        "old": volume("pv-old", "files", "10Gi", phase="Released"),
        "new": volume("pv-new", "files", "200Gi", phase="Bound"),
    }
    opened = account()
    for name in order:
        opened.tell_volume(volumes[name], NOON)
    opened.tell_pod(pod("web-1", states={"main": life(NOON)}, spec=mounted), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    (held,) = [event for event in found if isinstance(event, PodUsage) and not event.container]
    assert held.storage_request == 200 * GIB
