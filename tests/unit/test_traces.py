"""Rows of public traces become events: exact times, tokens and amounts, stable ids, clear errors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.traces import azure_llm, bitbrains, mooncake
from producers.traces.calls import CallAssumptions
from producers.traces.mooncake import MooncakeAssumptions
from producers.traces.trace import Owner, Trace, decimal, identify
from spendstream.clock import from_micros, to_micros
from spendstream.errors import RecordingError, UnknownPrice
from spendstream.events import PodUsage, TokenUsage
from spendstream.pricing import PriceBook, Rates, simulation_book
from spendstream.pricing.book import table

TRACE = Trace(name="some.file", source="replay/test", digest=b"digest")
BOOK = simulation_book()
SECOND = 10**6


def micros(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def azure(*rows: str, header: str = "TIMESTAMP,ContextTokens,GeneratedTokens") -> list[TokenUsage]:
    lines = [f"{line}\r\n" for line in (header, *rows)]
    return list(azure_llm.rows(lines, TRACE, CallAssumptions(), BOOK))


def kimi(*lines: str, **assumptions: int) -> list[TokenUsage]:
    return list(mooncake.rows(lines, TRACE, MooncakeAssumptions(**assumptions), BOOK))


def machines(*rows: str, header: str = ",".join(bitbrains.HEADER)) -> list[PodUsage]:
    return list(bitbrains.rows([header, *rows], TRACE, Owner()))


def request(timestamp: float | str, input_length: int, output_length: int, *ids: int) -> str:
    return (
        f'{{"timestamp": {timestamp}, "input_length": {input_length}, '
        f'"output_length": {output_length}, "hash_ids": {list(ids)}}}\n'
    )


class TestAzure:
    def test_a_row_is_a_call_with_its_tokens_and_the_price_of_gpt_4(self) -> None:
        [event] = azure("2023-11-16 18:17:03.9799600,4808,10")
        assert event.event_time == micros("2023-11-16 18:17:03.979960")
        assert (event.input_tokens, event.output_tokens, event.cache_read_tokens) == (4808, 10, 0)
        assert (event.provider, event.model, event.team) == ("openai", "gpt-4", "replay")
        assert event.cost == event.list_cost == 4808 * 30_000_000 + 10 * 60_000_000

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("2023-11-16 18:15:46.6805909", "2023-11-16 18:15:46.680590"),
            ("2023-11-16 18:15:46.9999999", "2023-11-16 18:15:46.999999"),
            ("2023-11-16 18:15:46.5", "2023-11-16 18:15:46.500000"),
            ("2023-11-16 18:15:46", "2023-11-16 18:15:46.000000"),
            ("2024-05-10 00:00:00.009930+00:00", "2024-05-10 00:00:00.009930"),
        ],
    )
    def test_what_is_finer_than_a_microsecond_is_cut_off_and_never_rounded_up(
        self, written: str, read: str
    ) -> None:
        assert azure(f"{written},1,1")[0].event_time == micros(read)

    @given(at=st.integers(0, 4_102_444_799_999_999), finer=st.integers(0, 9))
    def test_every_microsecond_is_read_exactly(self, at: int, finer: int) -> None:
        moment = from_micros(at)
        assert azure(f"{moment:%Y-%m-%d %H:%M:%S.%f}{finer},1,1")[0].event_time == at

    @pytest.mark.parametrize(
        "row",
        [
            "2023-11-16T25:15:46.6805900,1,1",
            "2023-02-30 18:15:46,1,1",
            "2100-01-01 00:00:00,1,1",
            "yesterday,1,1",
            "2023-11-16 18:15:46,-1,1",
            "2023-11-16 18:15:46,1.5,1",
            "2023-11-16 18:15:46,1,",
            "2023-11-16 18:15:46,1,\u0661",
            "2023-11-16 18:15:46,99999999999999999999,1",
            "2023-11-16 18:15:46,1",
            "2023-11-16 18:15:46,1,1,1",
            '2023-11-16 18:15:46,"1,1',
        ],
    )
    def test_a_malformed_row_is_named_with_file_and_row_and_those_before_it_are_good(self, row: str) -> None:
        lines = ["TIMESTAMP,ContextTokens,GeneratedTokens\n", "2023-11-16 18:15:46,1,1\n", row]
        events = azure_llm.rows(lines, TRACE, CallAssumptions(), BOOK)
        assert next(events).input_tokens == 1
        with pytest.raises(RecordingError, match=r"^some\.file: row 3: "):
            next(events)

    def test_another_header_is_refused_with_the_one_expected(self) -> None:
        with pytest.raises(RecordingError, match=r"row 1: expected the header TIMESTAMP,ContextTokens"):
            azure(header="time,in,out")

    def test_no_rows_are_no_events_and_no_error(self) -> None:
        assert azure() == []

    def test_a_model_without_a_price_stops_before_the_first_event(self) -> None:
        with pytest.raises(UnknownPrice, match="no-such-model"):
            next(
                azure_llm.rows(
                    ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46,1,1"],
                    TRACE,
                    CallAssumptions(model="no-such-model"),
                    BOOK,
                )
            )

    def test_the_assumptions_are_on_every_event(self) -> None:
        owner = CallAssumptions(
            org="acme", team="search", project="ranking", environment="test", model="gpt-3.5-turbo"
        )
        rows = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46,1000,1000"]
        [event] = azure_llm.rows(rows, TRACE, owner, BOOK)
        assert (event.org, event.team, event.project, event.environment) == (
            "acme",
            "search",
            "ranking",
            "test",
        )
        assert event.cost == 3 * 10**9


class TestMooncake:
    def test_leading_blocks_that_were_seen_before_are_read_from_the_cache(self) -> None:
        events = kimi(
            request(0, 1500, 5, 1, 2, 3),
            request(10, 2000, 5, 1, 2, 9, 10),
            request(20, 1536, 5, 7, 1, 2),
        )
        assert [event.cache_read_tokens for event in events] == [0, 1024, 0]
        assert [event.input_tokens for event in events] == [1500, 2000, 1536]

    def test_a_hit_on_a_partial_last_block_is_not_more_than_the_input(self) -> None:
        events = kimi(request(0, 1025, 5, 1, 2, 3), request(1, 1025, 5, 1, 2, 3))
        assert events[1].cache_read_tokens == 1025

    def test_a_block_that_occurs_twice_in_one_prompt_is_no_hit_by_itself(self) -> None:
        assert kimi(request(0, 1024, 5, 1, 1))[0].cache_read_tokens == 0

    def test_timestamps_count_milliseconds_from_the_start(self) -> None:
        start = micros("2024-01-01 00:00:00")
        assert kimi(request(1500, 1, 1))[0].event_time == start + 1_500_000
        assert kimi(request(1500, 1, 1), start=0)[0].event_time == 1_500_000

    @given(st.decimals(0, 10**9, places=9))
    def test_decimals_of_a_millisecond_are_cut_off_exactly(self, milliseconds: Decimal) -> None:
        [event] = kimi(request(f"{milliseconds:f}", 1, 1), start=0)
        assert event.event_time <= milliseconds * 1000 < event.event_time + 1

    def test_cached_tokens_cost_what_the_book_says(self) -> None:
        discount = Rates(input=10**12, output=0, cache_read=10**11, cache_write=10**12)
        book = PriceBook(table([("openai", "gpt-4", discount)]))
        lines = [request(0, 1024, 9, 1, 2), request(1, 1024, 9, 1, 3)]
        events = list(mooncake.rows(lines, TRACE, MooncakeAssumptions(), book))
        assert [event.cost for event in events] == [1024 * 10**6, 512 * 10**6 + 512 * 10**5]

    def test_the_simulations_book_has_no_discount_for_cached_tokens(self) -> None:
        events = kimi(request(0, 1024, 9, 1, 2), request(1, 1024, 9, 1, 2))
        assert events[1].cache_read_tokens == 1024
        assert events[0].cost == events[1].cost

    def test_blank_lines_count_as_rows_but_are_no_events(self) -> None:
        with pytest.raises(RecordingError, match="row 3"):
            kimi(request(0, 1, 1), "\n", "{}")

    @pytest.mark.parametrize(
        "line",
        [
            "not json",
            "[]",
            '{"timestamp": 0, "input_length": 1, "output_length": 1}',
            request(-1, 1, 1),
            request('"NaN"', 1, 1),
            request("1e30", 1, 1),
            request(4_102_444_800_000 - 1, 1, 1),
            request(0, -1, 1),
            request(0, 1, 10**12),
            '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": ["a"]}',
        ],
    )
    def test_a_malformed_line_is_named_with_file_and_row(self, line: str) -> None:
        with pytest.raises(RecordingError, match=r"^some\.file: row 2: expected "):
            kimi(request(0, 1, 1), line)


class TestBitbrains:
    def test_a_sample_is_five_minutes_of_a_pod_that_requests_what_is_provisioned(self) -> None:
        [event] = machines("7,1375308176,2,5852.0,747.11,8388608,1308620")
        assert (event.event_time, event.end_time) == (1375308176 * SECOND, (1375308176 + 300) * SECOND)
        assert (event.cluster, event.namespace, event.pod) == ("bitbrains", "bitbrains", "vm-7")
        assert (event.cpu_request, event.memory_request) == (2 * 10**9, 8 * 2**30)
        assert event.cpu_usage == 255_334_928  # 747.11 / 5852 x 2 x 10^9 = 255334928.23...
        assert event.memory_usage == 1308620 * 1024
        # $.031611 x 2 cores and $.004237 x 8 GiB, for five minutes of an hour
        assert event.cpu_cost == 63_222_000_000 // 12
        assert abs(event.memory_cost - 33_896_000_000 / 12) < 1
        assert event.cost == event.cpu_cost + event.memory_cost

    def test_half_a_nanocore_rounds_to_even(self) -> None:
        events = machines(
            "1,100,1,2000000000.0,1.0,0,0", "2,100,1,2000000000.0,3.0,0,0", "3,100,1,2000000000.0,5.0,0,0"
        )
        assert [event.cpu_usage for event in events] == [0, 2, 2]

    def test_amounts_may_have_decimals_and_exponents(self) -> None:
        [event] = machines("1,100,1,1e3,2.5E-1,0.5,1118481.066667")
        assert event.cpu_usage == 250_000
        assert (event.memory_request, event.memory_usage) == (512, 1_145_324_612)

    def test_usage_above_what_is_provisioned_is_billed(self) -> None:
        within, above = machines("1,100,1,1000,1000,0,0", "2,100,1,1000,2000,0,0")
        assert above.cpu_usage == 2 * 10**9
        assert abs(above.cost - 2 * within.cost) <= 1

    def test_an_earlier_next_sample_ends_the_interval_so_that_no_second_is_billed_twice(self) -> None:
        events = machines("1,1000,1,1,0,0,0", "1,1299,1,1,0,0,0", "1,1305,1,1,0,0,0", "1,2000,1,1,0,0,0")
        assert [(event.end_time - event.event_time) // SECOND for event in events] == [299, 6, 300, 300]

    def test_another_machines_sample_ends_nothing(self) -> None:
        events = machines("1,1000,1,1,0,0,0", "2,1001,1,1,0,0,0")
        assert [(event.end_time - event.event_time) // SECOND for event in events] == [300, 300]

    def test_of_two_samples_at_one_time_the_later_row_is_billed(self) -> None:
        [event] = machines("1,1000,1,1,0,0,0", "1,1000,2,1,0,0,0")
        assert (event.cpu_request, event.end_time - event.event_time) == (2 * 10**9, 300 * SECOND)

    def test_a_sample_that_crosses_a_full_hour_is_cut_there_and_costs_the_same(self) -> None:
        first, other, second = machines("1,3500,1,1,0,0,0", "2,3599,1,1,0,0,0")[:3]
        assert [(e.pod, e.event_time, e.end_time) for e in (first, other, second)] == [
            ("vm-1", 3500 * SECOND, 3600 * SECOND),
            ("vm-2", 3599 * SECOND, 3600 * SECOND),
            ("vm-1", 3600 * SECOND, 3800 * SECOND),
        ]
        assert first.id != second.id
        [whole] = machines("1,3600,1,1,0,0,0")
        assert abs(first.cost + second.cost - whole.cost) <= 1

    def test_machines_one_after_the_other_in_the_file_come_out_in_order_of_time(self) -> None:
        events = machines(
            "1,1000,1,1,0,0,0", "1,1300,1,1,0,0,0", "2,1000,1,1,0,0,0", "2,1300,1,1,0,0,0", "3,900,1,1,0,0,0"
        )
        assert [event.pod for event in events] == ["vm-3", "vm-1", "vm-2", "vm-1", "vm-2"]

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4000)), max_size=40).flatmap(
            lambda rows: st.tuples(st.just(rows), st.permutations(rows))
        )
    )
    def test_the_order_of_rows_moves_no_interval_and_intervals_of_a_machine_never_overlap(
        self, orders: tuple[list[tuple[str, int]], list[tuple[str, int]]]
    ) -> None:
        one, other = (
            [
                (event.pod, event.event_time, event.end_time)
                for event in machines(*(f"{machine},{start},1,1,1,1,1" for machine, start in rows))
            ]
            for rows in orders
        )
        assert sorted(one) == sorted(other)
        for machine in "abc":
            intervals = [(start, end) for pod, start, end in one if pod == f"vm-{machine}"]
            for (_, end), (start, _) in itertools.pairwise(intervals):
                assert end <= start

    @pytest.mark.parametrize(
        "row",
        [
            "1,1000.5,1,1,0,0,0",
            "1,1000,-1,1,0,0,0",
            "1,1000,1,0x10,0,0,0",
            "1,1000,1,1,1e99,0,0",
            "1,1000,1,nan,0,0,0",
            "1,1000,1,0,5,0,0",
            "1,1000,1,1,0,1 GB,0",
            "1,1000,1,1,0,0,9999999999999999",
            "1,1000,1,1,0,0,-1",
            "1,4102444799,1,1,0,0,0",
            "1,1000,1,1,0,0",
        ],
    )
    def test_a_malformed_row_is_named_with_file_and_row(self, row: str) -> None:
        with pytest.raises(RecordingError, match=r"^some\.file: row 3: expected "):
            machines("1,900,1,1,0,0,0", row)

    def test_a_machine_that_is_switched_off_costs_nothing(self) -> None:
        [event] = machines("1,1000,0,0.0,0.0,0,0")
        assert (event.cpu_usage, event.cost) == (0, 0)


class TestIdentity:
    def ids(self, trace: Trace) -> Iterator[object]:
        return (trace.row_id(at, row) for at in (0, 10**15) for row in (1, 2))

    def test_the_same_contents_under_the_same_assumptions_give_the_same_ids(self) -> None:
        one = identify("a.csv", b"contents", "azure-llm", CallAssumptions())
        other = identify("b.csv.gz", b"contents", "azure-llm", CallAssumptions())
        assert list(self.ids(one)) == list(self.ids(other))

    @pytest.mark.parametrize(
        "changed",
        [
            ("a.csv", b"contents!", "azure-llm", CallAssumptions()),
            ("a.csv", b"contents", "mooncake", CallAssumptions()),
            ("a.csv", b"contents", "azure-llm", CallAssumptions(team="search")),
            ("a.csv", b"contents", "azure-llm", CallAssumptions(model="gpt-3.5-turbo")),
            ("a.csv", b"contents", "azure-llm", CallAssumptions(project="replay", team="")),
        ],
    )
    def test_other_contents_or_assumptions_are_another_import(
        self, changed: tuple[str, bytes, str, CallAssumptions]
    ) -> None:
        same = set(self.ids(identify("a.csv", b"contents", "azure-llm", CallAssumptions())))
        assert same.isdisjoint(self.ids(identify(*changed)))

    def test_equal_rows_are_different_events(self) -> None:
        first, second = azure("2023-11-16 18:15:46,1,1", "2023-11-16 18:15:46,1,1")
        assert first.id != second.id


@given(st.decimals(0, 10**12, places=6))
def test_a_plain_decimal_is_read_as_an_exact_ratio(number: Decimal) -> None:
    ratio = decimal(f"{number:f}")
    assert ratio is not None
    assert Decimal(ratio[0]) / ratio[1] == number
