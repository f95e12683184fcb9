"""Volumes in an account: those who share one pay for it together, once."""

from fractions import Fraction

import pytest

from spendstream.events import NodeUsage, PodUsage
from tests.fixtures.accounts import account, closed
from tests.fixtures.manifests import (
    GIB,
    HOUR,
    NOON,
    SECOND,
    iso,
    life,
    pod,
    volume,
)


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
