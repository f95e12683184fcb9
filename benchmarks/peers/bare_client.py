"""The limit of the client: aiokafka fetches, msgspec decodes, and that is all."""

from __future__ import annotations

import asyncio
import os
import signal

import uvloop
from aiokafka import AIOKafkaConsumer

from benchmarks.peers.counting import Count
from spendstream.codec import TOKENS
from spendstream.topics import USAGE_TOKENS


async def _read(servers: str, count: Count) -> None:
    consumer = AIOKafkaConsumer(
        USAGE_TOKENS.name, bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                count.events += len(TOKENS.decode_block([record.value for record in records])[0])
    finally:
        await consumer.stop()


async def _main() -> None:
    count = Count()
    reading = asyncio.create_task(_read(os.environ["SPENDSTREAM_KAFKA"], count))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, reading.cancel)
    count.serve()
    await asyncio.wait([reading])


if __name__ == "__main__":
    uvloop.run(_main())
