"""What the worker commits: never past a block that has not landed, and always what has."""

from __future__ import annotations

from collections import defaultdict, deque
from types import SimpleNamespace

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream_processors.block_transport import BlockConsumer

ONE, OTHER = TP("usage.tokens", 0), TP("usage.tokens", 1)


class Consumer(BlockConsumer):
    """The bookkeeping alone, without a connection."""

    def __init__(self) -> None:  # not the parent's, which wants an application
        self._position = {}
        self._unacked_blocks = {}
        self._acked = defaultdict(list)
        self._acked_index = defaultdict(set)

    def fetched(self, tp: TP, *offsets: int) -> tuple[int, int]:
        records = [SimpleNamespace(offset=each, timestamp=0, timestamp_type=0) for each in offsets]
        block = self._block(tp, records, 1).value
        return block.first, block.last

    def landed(self, tp: TP, last: int) -> None:
        """Acknowledge as Faust's accelerated stream does: straight into the lists."""
        self._acked[tp].append(last)
        self._acked_index[tp].add(last)


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


def test_nothing_is_committed_before_a_block_has_landed(consumer: Consumer) -> None:
    consumer.fetched(ONE, 0, 1, 2)
    assert consumer._new_offset(ONE) is None
    assert consumer._new_offset(OTHER) is None


def test_a_landed_block_commits_the_offset_after_its_last(consumer: Consumer) -> None:
    consumer.fetched(ONE, 0, 1, 2)
    consumer.landed(ONE, 2)
    assert consumer._new_offset(ONE) == 3
    assert consumer._new_offset(ONE) is None  # it is committed


def test_a_block_in_flight_holds_back_those_after_it(consumer: Consumer) -> None:
    consumer.fetched(ONE, 0, 1)
    consumer.fetched(ONE, 2, 3)
    consumer.fetched(ONE, 4)
    consumer.landed(ONE, 3)
    consumer.landed(ONE, 4)
    assert consumer._new_offset(ONE) is None
    consumer.landed(ONE, 1)
    assert consumer._new_offset(ONE) == 5


def test_partitions_do_not_wait_for_each_other(consumer: Consumer) -> None:
    consumer.fetched(ONE, 0)
    consumer.fetched(OTHER, 7)
    consumer.landed(OTHER, 7)
    assert (consumer._new_offset(ONE), consumer._new_offset(OTHER)) == (None, 8)


def test_offsets_without_a_record_belong_to_the_block_after_them(consumer: Consumer) -> None:
    assert consumer.fetched(ONE, 5, 9) == (5, 9)
    assert consumer.fetched(ONE, 12) == (10, 12)


def test_a_block_that_is_read_again_begins_where_it_begins(consumer: Consumer) -> None:
    consumer.fetched(ONE, 0, 9)
    assert consumer.fetched(ONE, 4, 6) == (4, 6)
    assert consumer.fetched(ONE, 7) == (7, 7)


@given(st.data())
def test_whatever_lands_in_whatever_order_no_hole_is_ever_committed(data: st.DataObject) -> None:
    consumer = Consumer()
    last, in_flight, landed, committed = -1, deque[int](), set[int](), 0
    for _ in range(data.draw(st.integers(0, 40))):
        if in_flight and data.draw(st.booleans()):
            block = data.draw(st.sampled_from(list(in_flight)))
            in_flight.remove(block)
            landed.add(block)
            consumer.landed(ONE, block)
        else:
            last += data.draw(st.integers(1, 5))
            in_flight.append(last)
            consumer.fetched(ONE, last)
        offset = consumer._new_offset(ONE)
        committed = offset or committed
        assert all(block >= committed for block in in_flight)
    for block in in_flight:
        consumer.landed(ONE, block)
    assert (consumer._new_offset(ONE) or committed) == last + 1
    assert not consumer._acked[ONE]
    assert not consumer._acked_index[ONE]


@pytest.mark.parametrize("known", [12, 0, None])
def test_the_end_of_a_partition_is_what_the_last_fetch_told(consumer: Consumer, known: int | None) -> None:
    consumer._thread = SimpleNamespace(highwater=lambda _: known)
    assert consumer.highwater(ONE) == (known or 0)


@pytest.mark.parametrize(
    "error", [AssertionError("Partition is not assigned"), AttributeError("state_value")]
)
def test_the_end_of_a_partition_that_is_just_being_taken_away_is_unknown(
    consumer: Consumer, error: Exception
) -> None:
    def highwater(_: TP) -> int:
        raise error

    consumer._thread = SimpleNamespace(highwater=highwater)
    assert consumer.highwater(ONE) == 0
