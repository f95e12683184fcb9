"""Ids are UUIDs of version 7: they sort by event time, and those of recordings can be made again."""

from __future__ import annotations

from uuid import RFC_4122

from hypothesis import given
from hypothesis import strategies as st

from spendstream.ids import derived_id, new_id

times = st.integers(0, 4_102_444_799_999_999)
digests = st.binary(min_size=1, max_size=63)


@given(times, digests, st.integers(0, 2**40))
def test_a_row_has_one_id(time: int, digest: bytes, row: int) -> None:
    made = derived_id(time, digest, row)
    assert made == derived_id(time, digest, row)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == time // 1000


@given(times, digests, st.lists(st.integers(0, 2**40), unique=True, max_size=50))
def test_rows_of_a_recording_do_not_share_an_id(time: int, digest: bytes, rows: list[int]) -> None:
    assert len({derived_id(time, digest, row) for row in rows}) == len(rows)
    assert all(derived_id(time, digest, row) != derived_id(time, digest + b"x", row) for row in rows[:1])


@given(times, times)
def test_ids_sort_by_event_time_to_the_millisecond(one: int, other: int) -> None:
    first, second = sorted((one, other))
    if first // 1000 < second // 1000:
        assert new_id(first) < new_id(second)
        assert derived_id(first, b"a", 2**40) < derived_id(second, b"b", 0)


def test_fresh_ids_differ_though_their_time_is_the_same() -> None:
    ids = {new_id(1_700_000_000_000_000) for _ in range(10_000)}
    assert len(ids) == 10_000
    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
