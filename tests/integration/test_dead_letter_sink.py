"""The dead letter sink against a real broker and ClickHouse: bytes, places, strangers, and its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence

import pytest

from spendstream.adapters.kafka import connect_producer
from spendstream.clock import now_micros
from spendstream.deadletters import DeadLetter
from spendstream.topics import DEAD_LETTERS
from tests.fixtures.stack import Pipeline, running, until

NOW_MS = now_micros() // 1000

pytestmark = pytest.mark.xdist_group("dead_letter_sink")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A sink with its broker and its ClickHouse; each test looks at its own reason."""
    with running(tmp_path_factory.mktemp("sink"), "sink") as fresh:
        yield fresh


def letter(offset: int, reason: str, **fields: object) -> DeadLetter:
    return DeadLetter(
        **{
            "topic": "usage.tokens", "partition": 3, "offset": offset, "timestamp": NOW_MS, "stage": "decode",
            "reason": reason, "key": b"team", "value": b"{", **fields,
        }
    )  # fmt: skip


def bury(pipeline: Pipeline, letters: Sequence[DeadLetter]) -> None:
    async def send() -> None:
        producer = await connect_producer(pipeline.kafka)
        try:
            for each in letters:
                await producer.send_and_wait(DEAD_LETTERS.name, each.value, b"key", headers=each.headers())
        finally:
            await producer.stop()

    asyncio.run(send())


def rows(pipeline: Pipeline, reason: str) -> list[list[object]]:
    return pipeline.rows(
        "SELECT topic, partition, offset, toUnixTimestamp64Milli(arrived_at), stage, hex(key), hex(value), "
        f"isNull(key), isNull(value) FROM dead_letter WHERE reason = '{reason}' ORDER BY offset"
    )


def test_a_letter_is_shown_with_its_place_its_reason_and_its_bytes(pipeline: Pipeline) -> None:
    noise = os.urandom(2000)
    bury(
        pipeline,
        [
            letter(1, "bytes", key=b"\xff\x00", value=noise),
            letter(2, "bytes", key=None, value=None),
            letter(2**63 - 1, "bytes", partition=2**31 - 1, stage="land", key=b"", value=b""),
        ],
    )
    until(lambda: len(rows(pipeline, "bytes")) == 3, "three letters")
    assert rows(pipeline, "bytes") == [
        ["usage.tokens", 3, 1, NOW_MS, "decode", "FF00", noise.hex().upper(), 0, 0],
        ["usage.tokens", 3, 2, NOW_MS, "decode", None, None, 1, 1],
        ["usage.tokens", 2**31 - 1, 2**63 - 1, NOW_MS, "land", "", "", 0, 0],
    ]


def test_a_letter_that_was_sent_twice_is_shown_once(pipeline: Pipeline) -> None:
    bury(pipeline, [letter(7, "twice"), letter(7, "twice"), letter(8, "twice")])
    until(lambda: len(rows(pipeline, "twice")) == 2, "two letters")


def test_records_that_are_no_dead_letters_do_not_stop_it(pipeline: Pipeline) -> None:
    good = letter(1, "after strangers")
    headers = dict(good.headers())

    async def send() -> None:
        producer = await connect_producer(pipeline.kafka)
        strange = [
            None,
            [("spendstream-topic", None)],
            [*{**headers, "spendstream-partition": b"-1"}.items()],
            [*{**headers, "spendstream-offset": b"99999999999999999999"}.items()],
            [*{**headers, "spendstream-stage": b"nowhere"}.items()],
            [*{**headers, "spendstream-timestamp": b"soon"}.items()],
            [*{**headers, "spendstream-reason": b"\xff\xfe", "spendstream-offset": b"2"}.items()],
        ]
        try:
            for each in strange:
                await producer.send_and_wait(DEAD_LETTERS.name, b"stranger", headers=each)
        finally:
            await producer.stop()

    asyncio.run(send())
    bury(pipeline, [good])
    until(lambda: rows(pipeline, "after strangers"), "the letter after them")
    assert (
        pipeline.value("SELECT count() FROM dead_letter WHERE value = 'stranger'") == 1
    )  # odd bytes in a reason


def test_letters_wait_for_a_clickhouse_that_is_away(pipeline: Pipeline) -> None:
    pipeline.kill("clickhouse")
    bury(pipeline, [letter(number, "patience") for number in range(20)])
    until(lambda: b"waiting" in pipeline.parts["sink"].said(), "the sink says that it waits")
    pipeline.start("clickhouse")
    until(lambda: len(rows(pipeline, "patience")) == 20, "all letters")


@pytest.mark.slow
def test_sigterm_ends_it_with_exit_code_0_and_what_it_landed_is_not_read_again(pipeline: Pipeline) -> None:
    bury(pipeline, [letter(1, "before the end")])
    until(lambda: rows(pipeline, "before the end"), "the letter")
    assert pipeline.stop("sink") == 0
    pipeline.start("sink")
    bury(pipeline, [letter(2, "after the end")])
    until(lambda: rows(pipeline, "after the end"), "the letter after it")
