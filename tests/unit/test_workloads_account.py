"""The account of a cluster: what it bills is each container's life, once, with its usage and its owner."""

import pytest

from spendstream.codec import PODS
from spendstream.events import PodUsage
from spendstream.workloads import Autoscaler, Owned, Reading
from spendstream.workloads.manifests import Metadata, OwnerReference
from spendstream.workloads.tenure import Billed
from tests.fixtures.accounts import account, closed, spans
from tests.fixtures.manifests import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    container,
    iso,
    life,
    pod,
)


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


def test_a_cluster_is_not_billed_for_the_time_before_it_was_collected():
    opened = account(Billed.nothing(NOON))
    opened.tell_pod(pod(states={"main": life(NOON - 24 * HOUR)}), NOON)
    assert spans(closed(opened, NOON + 30 * SECOND)) == [(NOON, NOON + 30 * SECOND)]
