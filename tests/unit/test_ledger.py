"""The ledger counts each distinct event once, whatever it has forgotten in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

from hypothesis import given
from hypothesis import strategies as st

from spendstream.events import TokenUsage
from spendstream.ids import derived_id
from spendstream.ledger import ELSEWHERE, Ledger, WindowState
from spendstream.tally import tally
from spendstream.windows import DAY, HOUR, MINUTE, WINDOW_SIZES, Entry, WindowKey
from tests.fixtures.accounting import windows

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def call(row: int, seconds: int, team: str = "a") -> TokenUsage:
    time = START + seconds * SECOND
    return TokenUsage(
        id=derived_id(time, b"ledger", row), event_time=time, source="test", team=team, model="m", cost=row
    )


class Memory:
    """A ledger with the store that answers its questions; `ask` is told how often it had any."""

    def __init__(self, *, horizon: int, capacity: int) -> None:
        self.ledger = Ledger(horizon=horizon * SECOND, capacity=capacity)
        self.first: dict[int, int] = {}
        self.windows: dict[WindowKey, WindowState] = {}
        self.duplicates = 0
        self.questions = 0

    def take(self, entries: Sequence[Entry]) -> list[WindowState]:
        """Take one block as a processor does; return the windows that changed."""
        unknown = self.ledger.unknown_ids(entries)
        known = {event.id.int: self.first[event.id.int] for event in unknown if event.id.int in self.first}
        admission = self.ledger.admit(entries, known)
        self.duplicates += admission.duplicates
        for entry in admission.fresh.entries:
            self.first.setdefault(entry.event.id.int, entry.position)
        added = tally(admission.counted)
        asked = self.ledger.unknown_windows(added)
        self.questions += len(unknown) + len(asked)
        stored = [self.windows[key] for key in asked if key in self.windows]
        changed = self.ledger.count(admission.counted, added, stored)
        self.windows |= {state.key: state for state in changed}
        return changed


def blocks(events: Sequence[TokenUsage], sizes: Iterator[int]) -> Iterator[list[Entry]]:
    entries = [Entry(offset, event, 0) for offset, event in enumerate(events)]
    while entries:
        size = next(sizes)
        yield entries[:size]
        entries = entries[size:]


def once(events: list[TokenUsage]) -> list[TokenUsage]:
    """Make repeated ids the same event: a producer sends one again as it was."""
    first: dict[object, TokenUsage] = {}
    return [first.setdefault(event.id, event) for event in events]


some_events = st.lists(
    st.builds(lambda row, team: call(row, row * 37, team), st.integers(0, 40), st.sampled_from("ab")),
    max_size=80,
).map(once)


@given(
    some_events,
    st.lists(st.integers(1, 20), min_size=1),
    st.integers(0, 300),
    st.integers(0, 5),
)
def test_a_ledger_that_forgets_counts_as_one_that_remembers_all(
    events: list[TokenUsage], sizes: list[int], horizon: int, capacity: int
) -> None:
    forgetful, complete = Memory(horizon=horizon, capacity=capacity), Memory(horizon=10**6, capacity=10**6)
    for block in blocks(events, iter(sizes * 80)):
        assert forgetful.take(block) == complete.take(block)
    assert forgetful.windows == complete.windows
    assert {key: state.measures for key, state in complete.windows.items()} == windows(events)


@given(some_events, st.lists(st.integers(1, 20), min_size=1))
def test_where_blocks_end_changes_nothing(events: list[TokenUsage], sizes: list[int]) -> None:
    split, whole = Memory(horizon=600, capacity=100), Memory(horizon=600, capacity=100)
    for block in blocks(events, iter(sizes * 80)):
        split.take(block)
    for block in blocks(events, iter([len(events)])):
        whole.take(block)
    assert split.windows == whole.windows


@given(some_events, st.integers(0, 80), st.integers(1, 20))
def test_blocks_that_are_read_again_change_nothing(events: list[TokenUsage], start: int, size: int) -> None:
    memory = Memory(horizon=60, capacity=3)
    for block in blocks(events, iter([7] * 80)):
        memory.take(block)
    before = dict(memory.windows)
    entries = [Entry(offset, event, 0) for offset, event in enumerate(events)][start:]
    for place in range(0, len(entries), size):
        assert memory.take(entries[place : place + size]) == []
    assert memory.windows == before


def test_memory_is_bounded_by_horizon_and_capacity() -> None:
    memory = Memory(horizon=120, capacity=10)
    for block in blocks([call(row, row * 30) for row in range(2000)], repeat(20)):
        memory.take(block)
    assert len(memory.ledger._windows) == 10
    assert len(memory.ledger._ids) <= (120 + 60) // 30 + 1


def test_a_young_stream_asks_nothing() -> None:
    memory = Memory(horizon=600, capacity=1000)
    for row in range(100):
        memory.take([Entry(row, call(row, row), 0)])
    assert memory.questions == 0


def test_a_window_s_version_is_the_last_offset_that_it_counted() -> None:
    memory = Memory(horizon=600, capacity=100)
    block = [Entry(5, call(1, 0), 0), Entry(8, call(2, 0, "b"), 0), Entry(9, call(1, 0), 0)]
    assert {(s.key.dimensions.team, s.key.size, s.version) for s in memory.take(block)} == {
        (team, size, version) for team, version in (("a", 5), ("b", 8)) for size in (MINUTE, HOUR, DAY)
    }
    assert memory.duplicates == 1


def test_a_window_that_a_crash_left_behind_catches_up_by_itself() -> None:
    events = [call(row, 0) for row in range(4)]
    entries = [Entry(offset, event, 0) for offset, event in enumerate(events)]
    memory = Memory(horizon=600, capacity=100)
    memory.take(entries[:2])
    stale = dict(memory.windows)
    memory.take(entries[2:])
    survivor = Memory(horizon=600, capacity=100)
    [minute] = [key for key in stale if key.size == MINUTE]
    survivor.windows = memory.windows | {
        minute: stale[minute]
    }  # its last write was lost, the others were not
    survivor.first = memory.first
    survivor.ledger.restore(
        [(event.id.int, event.event_time, offset) for offset, event in enumerate(events)],
        floor=0,
        newest_stored=dict.fromkeys(WINDOW_SIZES, START // SECOND),
    )
    assert [state.key for state in survivor.take(entries)] == [minute]
    assert survivor.windows == memory.windows


def test_what_another_source_delivered_first_is_not_counted_here() -> None:
    memory = Memory(horizon=600, capacity=100)
    event = call(1, 0)
    memory.ledger.restore([(event.id.int, event.event_time, ELSEWHERE)], floor=0, newest_stored={})
    assert memory.take([Entry(0, event, 0)]) == []
    assert memory.duplicates == 1


def test_a_refused_event_counts_once_it_comes_mended() -> None:
    ledger = Ledger(horizon=600 * SECOND)
    entry = Entry(0, call(1, 0), 0)
    admission = ledger.admit([entry], {})
    ledger.refuse(admission.fresh.entries)
    assert tally(admission.without({0}).counted) == {}
    assert ledger.admit([Entry(1, entry.event, 0)], {}).fresh.entries == [Entry(1, entry.event, 0)]
