"""Sorting in runs on disk gives what sorting in memory gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.traces.ordering import in_order

Row = tuple[int, int, str]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(), st.text(max_size=5)), max_size=60),
    st.integers(1, 20),
)
def test_any_number_of_runs_merges_into_one_order(keys: list[tuple[int, int, str]], held: int) -> None:
    rows = [(key, row % 2**62, text) for row, (key, _, text) in enumerate(keys)]
    assert list(in_order(rows, Row, held=held)) == sorted(rows)


def test_a_reader_that_stops_early_leaves_no_open_file() -> None:
    ordered = in_order(((number, 0, "") for number in range(100, 0, -1)), Row, held=10)
    assert next(ordered) == (1, 0, "")
    ordered.close()  # type: ignore[attr-defined]
