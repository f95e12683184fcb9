"""The leader of a group notices topics that it cannot share out, since its metadata does not know them."""

from __future__ import annotations

from types import SimpleNamespace

import faust
import pytest

from stream_processors.assignor import WatchfulAssignor

TOPICS = {"usage.tokens", "usage.pods"}


@pytest.fixture
def assignor() -> WatchfulAssignor:
    return WatchfulAssignor(faust.App("test", autodiscover=False))


def share_out(
    assignor: WatchfulAssignor, known: dict[str, set[int]], members: int = 2
) -> dict[str, set[int]]:
    """Share out to `members` workers that read TOPICS; return the partitions that somebody got, by topic."""
    metadata = assignor.metadata(TOPICS)
    shared = assignor.assign(
        SimpleNamespace(partitions_for_topic=known.get), {f"member-{n}": metadata for n in range(members)}
    )
    got: dict[str, set[int]] = {}
    for assignment in shared.values():
        for topic, partitions in assignment.assignment:
            got.setdefault(topic, set()).update(partitions)
    return got


def test_what_is_known_is_shared_out_and_nothing_is_forgotten(assignor: WatchfulAssignor) -> None:
    known = {topic: {0, 1, 2} for topic in TOPICS}
    assert share_out(assignor, known) == known
    assert assignor.forgotten == frozenset()


@pytest.mark.parametrize("partitions", [None, set()], ids=["unknown", "without partitions"])
def test_a_topic_that_nobody_will_read_is_told(
    assignor: WatchfulAssignor, partitions: set[int] | None
) -> None:
    known = {"usage.pods": {0, 1}} | ({} if partitions is None else {"usage.tokens": partitions})
    assert share_out(assignor, known) == {"usage.pods": {0, 1}}
    assert assignor.forgotten == {"usage.tokens"}


def test_a_topic_is_remembered_again_with_the_next_assignment(assignor: WatchfulAssignor) -> None:
    share_out(assignor, {})
    assert assignor.forgotten == TOPICS
    share_out(assignor, {topic: {0} for topic in TOPICS})
    assert assignor.forgotten == frozenset()


def test_a_worker_that_never_led_has_forgotten_nothing(assignor: WatchfulAssignor) -> None:
    assert assignor.forgotten == frozenset()
