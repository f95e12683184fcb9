"""A delivery puts events that go to one partition together into one record, in order, within bounds."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

import pytest

from spendstream.adapters import kafka
from spendstream.adapters.delivery import Delivery, Record
from spendstream.topics import USAGE_TOKENS
from tests.fixtures.kafka import Broker, read_topic

TOPIC = USAGE_TOKENS.name
KIBIBYTE = 1 << 10
LINES = [("content-type", b"application/jsonl")]


class Sent:
    """What one test sends: records that begin with its own mark, and how they are found again."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex.encode()

    def record(self, number: int, *, key: bytes = b"key", size: int = 60, end: bytes = b"") -> Record:
        value = b"%s %d " % (self.mark, number)
        return TOPIC, key, value.ljust(size - len(end), b".") + end, [("number", b"%d" % number)]

    async def deliver(
        self, broker: Broker, records: Sequence[Record], events_per_record: int
    ) -> list[tuple[int, bytes | None, bytes, list[tuple[str, bytes]]]]:
        """Deliver, and return (partition, key, value, headers) of each record that is in Kafka now."""
        async with Delivery.connected(
            broker.servers, ack_timeout=20, events_per_record=events_per_record
        ) as delivery:
            await delivery.deliver(records)
        return [
            (found.partition, found.key, found.value, list(found.headers))
            for found in await read_topic(broker.servers, TOPIC)
            if found.value is not None and found.value.startswith(self.mark)
        ]


@pytest.fixture
def sent() -> Sent:
    return Sent()


async def test_alone_an_event_keeps_its_key_and_its_headers(broker: Broker, sent: Sent) -> None:
    records = [sent.record(number) for number in range(3)]
    found = await sent.deliver(broker, records, events_per_record=1)
    assert [place[1:] for place in found] == [record[1:] for record in records]


async def test_as_many_share_a_record_as_may(broker: Broker, sent: Sent) -> None:
    records = [sent.record(number) for number in range(7)]
    found = await sent.deliver(broker, records, events_per_record=3)
    values = [value for _, _, value, _ in records]
    assert [(key, value, headers) for _, key, value, headers in found] == [
        (None, b"\n".join(values[:3]), LINES),
        (None, b"\n".join(values[3:6]), LINES),
        (b"key", values[6], [("number", b"6")]),
    ]


async def test_a_shared_record_holds_64_kibibytes_of_events(broker: Broker, sent: Sent) -> None:
    records = [sent.record(number, size=30 * KIBIBYTE) for number in range(5)]
    records.append(sent.record(5, size=100 * KIBIBYTE))
    found = await sent.deliver(broker, records, events_per_record=500)
    assert [1 + value.count(b"\n") for _, _, value, _ in found] == [2, 2, 1, 1]
    assert [len(value) for _, _, value, _ in found if b"\n" not in value] == [30 * KIBIBYTE, 100 * KIBIBYTE]


@pytest.mark.parametrize("place", [0, 2, 4])
async def test_an_event_with_a_line_break_stays_alone(broker: Broker, sent: Sent, place: int) -> None:
    records = [sent.record(number, end=b"\n}" if number == place else b"") for number in range(5)]
    found = await sent.deliver(broker, records, events_per_record=500)
    assert b"\n".join(value for _, _, value, _ in found) == b"\n".join(value for _, _, value, _ in records)
    assert (b"key", records[place][2], [("number", b"%d" % place)]) in [record[1:] for record in found]


async def test_each_partition_gets_its_events_in_order_whoever_shares_with_whom(
    broker: Broker, sent: Sent
) -> None:
    rnd = random.Random(1)
    keys = [b"key-%d" % number for number in range(20)]
    records = [
        sent.record(number, key=rnd.choice(keys), size=rnd.choice((60, 9000)), end=rnd.choice((b"", b"\n}")))
        for number in range(300)
    ]
    alone = await sent.deliver(broker, records, events_per_record=1)
    again = Sent()
    moved = [
        (topic, key, value.replace(sent.mark, again.mark), headers) for topic, key, value, headers in records
    ]
    shared = await again.deliver(broker, moved, events_per_record=10)
    assert len(shared) < len(alone) == 300
    assert all(value.count(b"\n") <= 10 for _, _, value, _ in shared)
    for partition in await kafka.end_offsets(broker.servers, TOPIC):
        texts = [
            b"\n".join(value for number, _, value, _ in found if number == partition)
            for found in (alone, shared)
        ]
        assert texts[0].replace(sent.mark, again.mark) == texts[1]
