"""`spendstream collect` as a process, killed in the middle: what arrives in Kafka is each life, once."""

import asyncio
import os
import signal
import sys
from itertools import pairwise

import pytest
from aiohttp import ClientSession

from infra.local.broker import EmbeddedBroker
from spendstream.adapters import kafka
from spendstream.clock import now_micros
from spendstream.codec import NODES, PODS
from spendstream.topics import USAGE_NODES, USAGE_PODS
from tests.fixtures.kafka import read_topic
from tests.fixtures.manifests import SECOND, iso, life, node_manifest, pod_manifest

_LONG = 90.0

CONFIG = """
kafka = "{kafka}"
data_dir = "{data}"

[collector]
cluster = "prod"
kubeconfig = "{kubeconfig}"
interval_s = 5
"""


class Process:
    """A collector of the fake cluster."""

    def __init__(self, cluster, broker, folder):
        self.config = folder / "spendstream.toml"
        kubeconfig = cluster.kubeconfig(folder / "kubeconfig")
        text = CONFIG.format(kafka=broker.servers, data=folder / "data", kubeconfig=kubeconfig)
        self.config.write_text(text)
        self.log = folder / "log"

    async def start(self):
        with self.log.open("ab") as log:
            self.child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "spendstream",
                "collect",
                env={**os.environ, "SPENDSTREAM_CONFIG": str(self.config)},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        async with asyncio.timeout(_LONG):
            line = (await self.child.stdout.readline()).decode()
        assert line.startswith("collector ready"), self.log.read_text()
        self.address = line.split()[-1].removesuffix("/metrics")

    async def end(self, number):
        self.child.send_signal(number)
        await asyncio.wait_for(self.child.communicate(), _LONG)
        return self.child.returncode


async def samples(broker, topic, codec):
    """Return the events that have arrived, the first of each id."""
    found = {}
    for record in await read_topic(broker.servers, topic.name):
        for event in codec.decode_block([record.value]).events:
            found.setdefault(event.id, event)
    return sorted(found.values(), key=lambda event: event.event_time)


async def until(condition):
    async with asyncio.timeout(_LONG):
        while not (found := await condition()):  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.2)
    return found


@pytest.mark.slow  # samples settle for a quarter of a minute
@pytest.mark.timeout(300)
async def test_a_collector_that_is_killed_and_starts_again_bills_without_hole_or_overlap(cluster, tmp_path):
    began = now_micros() // SECOND * SECOND
    await cluster.put("nodes", node_manifest())
    await cluster.put("pods", pod_manifest("web", states={"main": life(began - 60 * SECOND)}))
    with EmbeddedBroker() as broker:
        await kafka.ensure_topics(broker.servers)
        process = Process(cluster, broker, tmp_path)

        async def billed(name, at_least):
            arrived = await samples(broker, USAGE_PODS, PODS)
            found = [event for event in arrived if event.pod == name and event.container]
            return found if sum(e.end_time - e.event_time for e in found) >= at_least * SECOND else None

        await process.start()
        await until(lambda: billed("web", 5))
        assert await process.end(signal.SIGKILL) == -signal.SIGKILL
        killed = now_micros() // SECOND * SECOND
        brief = pod_manifest("brief", states={"main": life(killed - 3 * SECOND, killed)})
        await cluster.put("pods", brief)
        await process.start()
        async with ClientSession() as http:

            async def ready():
                async with http.get(f"{process.address}/ready") as answer:
                    return answer.status == 200

            await until(ready)
            async with http.get(f"{process.address}/metrics") as answer:
                assert "spendstream_collector_pods 2.0" in await answer.text()
        web = await until(lambda: billed("web", (killed - began) // SECOND + 5))
        await until(lambda: billed("brief", 3))
        assert await process.end(signal.SIGTERM) == 0
        web = await billed("web", 5)
        assert all(one.end_time == following.event_time for one, following in pairwise(web))
        assert began <= web[0].event_time
        (span,) = [(event.event_time, event.end_time) for event in await billed("brief", 3)]
        assert (iso(span[0]), iso(span[1])) == (iso(killed - 3 * SECOND), iso(killed))
        nodes = await samples(broker, USAGE_NODES, NODES)
        assert {event.cost is not None for event in nodes} == {True}
        assert all(one.end_time == following.event_time for one, following in pairwise(nodes))
