"""What a pod reserves beside its running containers is billed, each second once."""

from hypothesis import given
from hypothesis import strategies as st

from spendstream.events import PodUsage
from tests.fixtures.accounts import account, closed, scheduled, spans
from tests.fixtures.manifests import (
    GIB,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    container,
    iso,
    life,
    pod,
)


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


def test_a_start_that_is_told_late_is_not_billed_beside_the_room_that_was_kept_for_it():
    opened, status = account(), scheduled(NOON)
    opened.tell_pod(pod(status=status), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    opened.tell_pod(pod(states={"main": life(NOON + 10 * SECOND)}, status=status), NOON + 50 * SECOND)
    found += closed(opened, NOON + MINUTE)
    pieces = [(one.event_time, one.end_time, one.container) for one in found if isinstance(one, PodUsage)]
    half = NOON + 30 * SECOND
    assert pieces == [(NOON, half, ""), (half, NOON + MINUTE, "main")]


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
