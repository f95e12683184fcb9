"""A cluster's samples through the whole pipeline, in disorder, repeated, past crashes: lines are the bill."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from spendstream.codec import NODES, PODS
from spendstream.money import dollars
from spendstream.topics import USAGE_NODES, USAGE_PODS
from tests.fixtures.clusters import HOUR, cluster, shuffled
from tests.fixtures.stack import running

_BY_NODE = (
    "SELECT toUnixTimestamp(hour), node, sum(cpu_cost + memory_cost + gpu_cost) FROM allocation "
    "WHERE startsWith(node, 'node-') GROUP BY hour, node"
)


@pytest.mark.slow
def test_allocation_is_the_bill_whatever_happened_on_the_way(tmp_path: Path) -> None:
    rnd = random.Random(5)
    assets, containers = cluster(rnd)
    records = [(USAGE_NODES.name, NODES.encode(event)) for event in shuffled(rnd, assets)]
    records += [(USAGE_PODS.name, PODS.encode(event)) for event in shuffled(rnd, containers)]
    rnd.shuffle(records)
    half = len(records) // 2
    with running(tmp_path, "worker") as pipeline:
        for part in (records[:half], records[half:]):
            for topic in (USAGE_NODES.name, USAGE_PODS.name):
                pipeline.send(topic, [(b"c", value) for name, value in part if name == topic])
            pipeline.restart("worker")
        pipeline.wait_drained()

        bill: dict[tuple[int, str], int] = defaultdict(int)
        for each in assets:
            bill[each.event_time // HOUR * 3600, each.node] += each.cost or 0
        found = {(hour, name): Decimal(cost) for hour, name, cost in pipeline.rows(_BY_NODE)}
        assert found == {
            (hour, name): dollars(cost) for (hour, name), cost in bill.items() if name.startswith("node-")
        }
        network = sum(each.network_cost or 0 for each in containers)
        total = Decimal(pipeline.value("SELECT sum(cost) FROM allocation"))
        assert total == dollars(sum(bill.values()) + network)
        assert pipeline.value("SELECT count() FROM node_usage") == len(assets)
        assert pipeline.value("SELECT count() FROM pod_usage") == len(containers)
