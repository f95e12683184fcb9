"""The collector against an API server of real HTTP: what lives, lived briefly or changed is billed once."""

import asyncio
import json
import os
import stat
from base64 import b64decode
from collections import defaultdict
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from producers.cluster.api import KubernetesApi
from producers.cluster.collect import collect
from producers.cluster.collector import SETTLE_S, Collector
from producers.cluster.metrics import CollectorMetrics
from producers.cluster.metrics_api import MetricsApi
from producers.cluster.outlet import Outlet
from producers.cluster.prometheus import Prometheus
from producers.cluster.remembered import Remembered
from producers.cluster.watching import Following, Kind
from spendstream.codec import MAX_EVENT_BYTES, NODES, PODS
from spendstream.config import Config, Secret
from spendstream.errors import ClusterUnavailable, ConfigError, MalformedEvent
from spendstream.patience import Waits
from spendstream.topics import USAGE_NODES, USAGE_PODS
from spendstream.workloads import Attribution
from spendstream.workloads.account import Account
from spendstream.workloads.manifests import PodManifest
from spendstream.workloads.samples import Samples
from spendstream.workloads.tenure import Billed
from tests.fixtures.manifests import (
    HOUR,
    MINUTE,
    NOON,
    PRICES,
    SECOND,
    container,
    iso,
    life,
    node,
    node_manifest,
    pod,
    pod_manifest,
    volume_manifest,
)

_LONG = 30.0


class Crash(Exception):
    """The end of a process, in the middle of something."""


class Journal:
    """What was emitted, by id: the first delivery of each."""

    def __init__(self):
        self.events = {}
        self.emitted = 0
        self.fail_after = None

    def emit(self, topic, key, value, _):
        assert key == b"prod"
        if self.fail_after is not None and self.emitted >= self.fail_after:
            raise Crash
        self.emitted += 1
        codec = {USAGE_PODS.name: PODS, USAGE_NODES.name: NODES}[topic]
        for line in value.split(b"\n"):
            event = codec.decode(line)
            self.events.setdefault(event.id, event)

    def pods(self, name=None):
        found = (one for one in self.events.values() if hasattr(one, "container") and one.container)
        return sorted((one for one in found if name in (None, one.pod)), key=lambda one: one.event_time)

    def assets(self, asset):
        return [one for one in self.events.values() if getattr(one, "asset", "") == asset]

    def spans(self, name):
        return [(one.event_time, one.end_time) for one in self.pods(name)]


class Collecting:
    """A collector of a fake cluster, whose clock is set by the test."""

    def __init__(self, api, journal, directory, now, usage=None):
        self.now = now
        self.registry = CollectorRegistry()
        self.metrics = CollectorMetrics(self.registry)
        remembered = Remembered(directory, "prod")
        samples = Samples(cluster="prod", source="test", region="us-east-1", prices=PRICES)
        attribution = Attribution()
        self.account = Account(samples, remembered.load(now), attribution=attribution)
        self.collector = Collector(
            api,
            usage or MetricsApi(api),
            self.account,
            Outlet(journal, self.metrics, Waits(), events_per_record=40),
            remembered,
            self.metrics,
            Waits(),
            attribution=attribution,
            interval=30,
            clock=lambda: self.now,
            sleep=lambda seconds: asyncio.sleep(min(seconds, 0.02)),
        )

    def count(self, name, **labels):
        return self.registry.get_sample_value(f"spendstream_collector_{name}_total", labels) or 0

    async def until(self, condition):
        async with asyncio.timeout(_LONG):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in other tasks
                await asyncio.sleep(0.01)

    async def follow(self):
        await self.until(lambda: not self.collector.trouble())
        await self.collector.synced()

    async def saw(self, cluster):
        """Return when all that the cluster changed is known: it was followed by a change that is."""
        before = self.count("changes", kind="nodes")
        await cluster.put("nodes", {"metadata": {"name": "marker", "creationTimestamp": iso(self.now)}})
        await self.until(lambda: self.count("changes", kind="nodes") > before)
        seen = self.count("changes", kind="pods")
        await cluster.put("pods", pod_manifest("marker", spec={"nodeName": ""}))
        await self.until(lambda: self.count("changes", kind="pods") > seen)


@asynccontextmanager
async def collecting(cluster, tmp_path, journal, now=NOON, **given):
    config = cluster.kubeconfig(tmp_path / "kubeconfig")
    async with KubernetesApi.connected(config, "") as api:
        one = Collecting(api, journal, tmp_path / "state", now, **given)
        followings = [asyncio.create_task(following.run()) for following in one.collector.followings]
        try:
            await one.follow()
            yield one
        finally:
            for task in followings:
                task.cancel()
            await asyncio.gather(*followings, return_exceptions=True)


@pytest.fixture
def journal():
    return Journal()


async def test_what_is_there_and_what_comes_is_billed(cluster, tmp_path, journal):
    await cluster.put("nodes", node_manifest())
    await cluster.put("persistentvolumes", volume_manifest("pv-1", "files"))
    await cluster.put("pods", pod_manifest("old", states={"main": life(NOON - HOUR)}))
    async with collecting(cluster, tmp_path, journal) as one:
        await cluster.put("pods", pod_manifest("new", states={"main": life(NOON + 3 * SECOND)}))
        await one.saw(cluster)
        await one.collector.close(NOON + 30 * SECOND)
    assert journal.spans("old") == [(NOON, NOON + 30 * SECOND)]
    assert journal.spans("new") == [(NOON + 3 * SECOND, NOON + 30 * SECOND)]
    (node,) = [one for one in journal.assets("node") if one.node == "node-a"]
    assert (node.instance_type, node.purchase_option, node.cpu_capacity) == (
        "m5.2xlarge",
        "on-demand",
        8 * 10**9,
    )
    assert [one.node for one in journal.assets("volume")] == ["pv-1"]


async def test_a_pod_that_lives_ten_seconds_between_two_samples_is_billed_ten_seconds(
    cluster, tmp_path, journal
):
    await cluster.put("nodes", node_manifest())
    async with collecting(cluster, tmp_path, journal) as one:
        await cluster.put("pods", pod_manifest("brief", states={"main": life(NOON + 2 * SECOND)}))
        ended = pod_manifest("brief", states={"main": life(NOON + 2 * SECOND, NOON + 12 * SECOND)})
        await cluster.put("pods", ended)
        one.now = NOON + 13 * SECOND
        await cluster.delete("pods", "brief", "shop")
        await one.saw(cluster)
        await one.collector.close(NOON + 30 * SECOND)
        await one.collector.close(NOON + MINUTE)
    assert journal.spans("brief") == [(NOON + 2 * SECOND, NOON + 12 * SECOND)]


async def test_long_lists_come_in_chunks(cluster, tmp_path, journal):
    for number in range(1234):
        await cluster.put("pods", pod_manifest(f"web-{number:04}", states={"main": life(NOON)}))
    async with collecting(cluster, tmp_path, journal) as one:
        assert one.account.pods == 1234
    asked = [request for request in cluster.requests if request.startswith("/api/v1/pods?limit")]
    assert len(asked) == 3


async def test_a_list_whose_pages_expire_is_begun_anew(cluster, tmp_path, journal):
    for number in range(600):
        await cluster.put("pods", pod_manifest(f"web-{number:04}", states={"main": life(NOON)}))
    cluster.forget_pages = 1
    async with collecting(cluster, tmp_path, journal) as one:
        assert one.account.pods == 600
        assert one.count("expired", kind="pods") == 1


async def test_a_watch_that_breaks_off_goes_on_where_it_was(cluster, tmp_path, journal):
    async with collecting(cluster, tmp_path, journal) as one:
        lists = one.count("lists", kind="pods")
        cluster.cut()
        await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
        await one.until(lambda: one.account.pods == 1)
        assert one.count("errors", kind="pods") >= 1
        assert one.count("lists", kind="pods") == lists


async def test_a_version_that_the_api_forgot_is_listed_anew_and_what_went_meanwhile_is_gone(
    cluster, tmp_path, journal
):
    await cluster.put("pods", pod_manifest("stays", states={"main": life(NOON)}))
    await cluster.put("pods", pod_manifest("goes", states={"main": life(NOON)}))
    async with collecting(cluster, tmp_path, journal) as one:
        await cluster.stop()
        await one.until(one.collector.trouble)
        await cluster.delete("pods", "goes", "shop")
        await cluster.put("pods", pod_manifest("comes", states={"main": life(NOON + SECOND)}))
        cluster.forget()
        one.now = NOON + 20 * SECOND
        await cluster.start()
        await one.follow()
        assert one.count("expired", kind="pods") >= 1
        await one.collector.close(NOON + 30 * SECOND)
    assert journal.spans("goes") == [(NOON, NOON + 20 * SECOND)]
    assert journal.spans("stays") == [(NOON, NOON + 30 * SECOND)]
    assert journal.spans("comes") == [(NOON + SECOND, NOON + 30 * SECOND)]


async def test_while_the_api_is_away_nothing_leaves_and_afterwards_true_ends_are_billed(
    cluster, tmp_path, journal
):
    await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
    async with collecting(cluster, tmp_path, journal) as one:
        leaving = asyncio.create_task(one.collector.let_leave())
        one.now = NOON + (30 + SETTLE_S) * SECOND
        await one.until(lambda: one.account.billed.until == NOON + 30 * SECOND)
        await cluster.stop()
        await one.until(one.collector.trouble)
        assert "pods" in one.collector.trouble()
        one.now = NOON + 10 * MINUTE
        ended = pod_manifest("web", states={"main": life(NOON, NOON + 70 * SECOND)})
        await cluster.put("pods", ended)
        await asyncio.sleep(0.1)
        assert one.account.billed.until == NOON + 30 * SECOND
        await cluster.start()
        await one.follow()
        await one.saw(cluster)
        one.now += 10 * SECOND
        await one.until(lambda: one.account.billed.until > NOON + 9 * MINUTE)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    assert journal.spans("web") == [(NOON, NOON + 30 * SECOND), (NOON + 30 * SECOND, NOON + 70 * SECOND)]


async def test_a_collector_that_starts_again_bills_on_from_where_the_last_one_was(cluster, tmp_path, journal):
    await cluster.put("pods", pod_manifest("web", states={"main": life(NOON - HOUR)}))
    async with collecting(cluster, tmp_path, journal) as one:
        await one.collector.close(NOON + 30 * SECOND)
    await cluster.put(
        "pods", pod_manifest("meanwhile", states={"main": life(NOON + 40 * SECOND, NOON + 50 * SECOND)})
    )
    async with collecting(cluster, tmp_path, journal, now=NOON + 5 * MINUTE) as one:
        await one.collector.close(one.account.billed.closing)
        await one.collector.close(NOON + 5 * MINUTE)
    spans = journal.spans("web")
    assert (spans[0][0], spans[-1][1]) == (NOON, NOON + 5 * MINUTE)
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert journal.spans("meanwhile") == [(NOON + 40 * SECOND, NOON + 50 * SECOND)]


@pytest.mark.parametrize("records", [0, 1, 2, 3])
async def test_a_crash_between_two_records_costs_nothing(cluster, tmp_path, journal, records):
    await cluster.put("nodes", node_manifest())
    for number in range(110):
        await cluster.put("pods", pod_manifest(f"web-{number:04}", states={"main": life(NOON)}))
    async with collecting(cluster, tmp_path, journal) as one:
        journal.fail_after = records
        with pytest.raises(Crash):
            await one.collector.close(NOON + 30 * SECOND)
    journal.fail_after = None
    async with collecting(cluster, tmp_path, journal, now=NOON + MINUTE) as one:
        assert one.account.billed.closing == NOON + 30 * SECOND
        await one.collector.close(one.account.billed.closing)
        await one.collector.close(NOON + MINUTE)
    billed = defaultdict(int)
    for event in journal.pods():
        billed[event.pod] += event.end_time - event.event_time
    assert set(billed.values()) == {MINUTE}
    assert len(billed) == 110


@pytest.mark.parametrize("per_record", [1, 40])
async def test_after_weeks_away_what_a_pod_owes_fits_into_records(per_record):
    sizes = []

    class Records:
        def emit(self, _topic, _key, value, _headers):
            if len(value) > MAX_EVENT_BYTES:
                raise MalformedEvent("too large")
            sizes.append(len(value))

    samples = Samples(cluster="prod", source="test", region="us-east-1", prices=PRICES)
    account = Account(samples, Billed.nothing(NOON - 90 * 24 * HOUR), attribution=Attribution())
    account.tell_node(node(**{f"label-{number}": "x" * 63 for number in range(20)}), NOON)
    labels = {f"label-{number}": "x" * 63 for number in range(20)}
    account.tell_pod(
        pod("web", states={"main": life(NOON - 60 * 24 * HOUR)}, metadata={"labels": labels}), NOON
    )
    outlet = Outlet(Records(), CollectorMetrics(CollectorRegistry()), Waits(), events_per_record=per_record)
    await outlet.send(account.close(NOON))
    assert len(sizes) > 1


async def test_a_server_that_ends_each_watch_at_once_is_asked_with_pauses(cluster, tmp_path):
    cluster.ends_watches = True
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        await asyncio.sleep(0.01)

    class Nobody:
        def seen(self, _):
            pass

        only = lost = seen

    async with KubernetesApi.connected(cluster.kubeconfig(tmp_path / "kubeconfig"), "") as api:
        kind = Kind(name="pods", path="/api/v1/pods", manifest=PodManifest)
        metrics = CollectorMetrics(CollectorRegistry())
        following = Following(api, kind, Nobody(), metrics, clock=lambda: NOON, sleep=sleep)
        task = asyncio.create_task(following.run())
        async with asyncio.timeout(_LONG):
            while sum("watch=" in request for request in cluster.requests) < 6:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        task.cancel()
    assert len(pauses) >= 5
    assert pauses[4] > pauses[0]


async def test_usage_comes_from_the_metrics_api(cluster, tmp_path, journal):
    times = {"timestamp": iso(NOON + 10 * SECOND), "window": "15s"}
    usage = {"cpu": "137123456n", "memory": "307200Ki"}
    place = {"name": "web", "namespace": "shop"}
    group = "metrics.k8s.io/v1beta1"
    await cluster.put("nodes", node_manifest())
    await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
    await cluster.put(
        "pods", {"metadata": place, **times, "containers": [{"name": "main", "usage": usage}]}, group
    )
    await cluster.put("nodes", {"metadata": {"name": "node-a"}, **times, "usage": usage}, group)
    async with collecting(cluster, tmp_path, journal) as one:
        await one.collector.read_once()
        await one.collector.close(NOON + 30 * SECOND)
    (event,) = journal.pods("web")
    assert (event.cpu_usage, event.memory_usage) == (137_123_456, 307_200 << 10)
    (node,) = journal.assets("node")
    assert (node.cpu_usage, node.memory_usage) == (137_123_456, 307_200 << 10)


async def test_usage_comes_from_prometheus_with_gpus_and_network(cluster, tmp_path, journal):
    pod = {"namespace": "shop", "pod": "web"}
    main = {**pod, "container": "main"}
    exported = {f"exported_{name}": text for name, text in main.items()}
    answers = {
        "container_cpu_usage_seconds_total{container": [(main, "0.25")],
        "max_over_time": [(main, "2048")],
        ") (container_memory_working_set_bytes{container": [(main, "1024")],
        "DCGM_FI_DEV_GPU_UTIL": [({"namespace": "gpu", "pod": "exporter", **exported}, "40")],
        "receive_bytes": [(pod, "10")],
        "transmit_bytes": [(pod, "NaN")],
        'cpu_usage_seconds_total{id="/"}': [({"node": "node-a"}, "3.5")],
        'working_set_bytes{id="/"}': [({"node": "node-a"}, "4096")],
    }

    async def answer(request):
        query = (await request.post())["query"]
        (series,) = [series for part, series in answers.items() if part in query]
        at = (NOON + 10 * SECOND) / 1e6
        result = [{"metric": labels, "value": [at, value]} for labels, value in series]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    app = web.Application()
    app.router.add_post("/prom/api/v1/query", answer)
    await cluster.put("nodes", node_manifest())
    await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
    async with TestServer(app) as server, ClientSession() as http:
        usage = Prometheus(http, Secret(f"http://127.0.0.1:{server.port}/prom"))
        async with collecting(cluster, tmp_path, journal, usage=usage) as one:
            await one.collector.read_once()
            await one.collector.close(NOON + 30 * SECOND)
    (event,) = journal.pods("web")
    assert (event.cpu_usage, event.memory_usage, event.memory_peak) == (250_000_000, 1024, 2048)
    assert (event.gpu_usage, event.network_received, event.network_sent) == (400, 300, 0)
    (node,) = journal.assets("node")
    assert (node.cpu_usage, node.memory_usage) == (3_500_000_000, 4096)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_prometheus_is_shown_the_name_and_password_of_its_address(host):
    shown = []

    async def answer(request):
        shown.append(b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode())
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})

    app = web.Application()
    app.router.add_post("/api/v1/query", answer)
    async with TestServer(app, host=host) as server, ClientSession() as http:
        at = f"[{host}]" if ":" in host else host
        await Prometheus(http, Secret(f"http://me:p%40ss%C3%A9@{at}:{server.port}")).read()
    assert set(shown) == {"me:p@ssé"}


async def test_a_prometheus_that_refuses_says_so_and_its_password_stays_unsaid():
    async def answer(_):
        return web.Response(status=401, text="Unauthorized")

    app = web.Application()
    app.router.add_post("/api/v1/query", answer)
    async with TestServer(app) as server, ClientSession() as http:
        usage = Prometheus(http, Secret(f"http://me:secret@127.0.0.1:{server.port}"))
        with pytest.raises(ClusterUnavailable, match=r"answers 401") as caught:
            await usage.read()
    assert "secret" not in str(caught.value)


async def test_usage_that_cannot_be_read_is_an_error_that_says_where(cluster, tmp_path, journal):
    async with collecting(cluster, tmp_path, journal) as one:
        cluster.missing_rights.add("nodes")
        with pytest.raises(ClusterUnavailable, match=r"metrics\.k8s\.io.*403.*forbidden"):
            await one.collector.read_once()


async def test_rights_that_are_missing_for_what_is_not_needed_hold_up_nothing(cluster, tmp_path, journal):
    cluster.missing_rights = {"horizontalpodautoscalers", "persistentvolumes", "services"}
    await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
    async with collecting(cluster, tmp_path, journal) as one:
        assert one.account.pods == 1
        assert one.count("errors", kind="services") >= 1


async def test_an_object_that_makes_no_sense_is_left_out_and_counted(cluster, tmp_path, journal):
    await cluster.put("pods", pod_manifest("odd", containers=[container(cpu="a lot")]))
    await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
    async with collecting(cluster, tmp_path, journal) as one:
        assert one.account.pods == 1
        assert one.count("unreadable", kind="pods") == 1


async def test_an_object_that_cannot_be_read_any_more_is_not_taken_for_one_that_is_gone(cluster, tmp_path):
    seen, only = [], []

    class Noting:
        def seen(self, manifest):
            seen.append(manifest.metadata.uid)

        def only(self, uids):
            only.append(uids)

    odd = [{"name": "main", "restartCount": "many"}]
    await cluster.put("pods", pod_manifest("odd", statuses=odd))
    async with KubernetesApi.connected(cluster.kubeconfig(tmp_path / "kubeconfig"), "") as api:
        kind = Kind(name="pods", path="/api/v1/pods", manifest=PodManifest)
        metrics = CollectorMetrics(CollectorRegistry())
        following = Following(api, kind, Noting(), metrics, clock=lambda: NOON, sleep=asyncio.sleep)
        task = asyncio.create_task(following.run())
        async with asyncio.timeout(_LONG):
            while not only:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        task.cancel()
    assert (seen, only) == ([], [{"uid-odd"}])


async def test_workloads_are_found_through_metadata_alone(cluster, tmp_path, journal):
    def owned(kind, name, uid):
        return {"ownerReferences": [{"kind": kind, "name": name, "uid": uid, "controller": True}]}

    await cluster.put(
        "replicasets",
        {
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "r", **owned("Rollout", "web", "o")},
            "spec": {},
        },
        "apps/v1",
    )
    manifest = pod_manifest("web", states={"main": life(NOON)}, metadata=owned("ReplicaSet", "web-1", "r"))
    await cluster.put("pods", manifest)
    async with collecting(cluster, tmp_path, journal) as one:
        await one.collector.close(NOON + 30 * SECOND)
    (event,) = journal.pods("web")
    assert (event.workload_kind, event.workload) == ("Rollout", "web")


async def test_a_cluster_without_a_name_is_not_collected(tmp_path):
    with pytest.raises(ConfigError, match="name the cluster"):
        await collect(Config(data_dir=tmp_path), "127.0.0.1:1", PRICES)


async def test_the_credentials_of_the_kubeconfig_are_shown(cluster, tmp_path, journal):
    cluster.token = "secret"
    await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
    async with collecting(cluster, tmp_path, journal) as one:
        assert one.account.pods == 1


async def test_an_api_that_refuses_is_waited_for(cluster, tmp_path, journal):
    async with collecting(cluster, tmp_path, journal) as one:
        cluster.refusing = 503
        cluster.cut()
        await one.until(lambda: "503" in one.collector.trouble().get("pods", ""))
        await cluster.put("pods", pod_manifest("web", states={"main": life(NOON)}))
        cluster.refusing = 0
        await one.follow()
        await one.until(lambda: one.account.pods == 1)


async def test_a_kubeconfig_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot find a Kubernetes API in"):
        async with KubernetesApi.connected(tmp_path / "nowhere", ""):
            pass


def test_state_that_cannot_be_read_begins_anew(tmp_path):
    remembered = Remembered(tmp_path, "prod")
    (tmp_path / f"{b'prod'.hex()}.billed").write_bytes(json.dumps({"since": 1}).encode())
    assert remembered.load(NOON).since == NOON


def test_what_was_billed_is_on_disk_with_its_name_when_it_is_saved(tmp_path, monkeypatch):
    written, fsync = [], os.fsync

    def noted(file):
        written.append(stat.S_ISDIR(os.fstat(file).st_mode))
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    Remembered(tmp_path, "prod").save(Billed.nothing(NOON))
    assert written == [False, True]
    assert Remembered(tmp_path, "prod").load(NOON + HOUR) == Billed.nothing(NOON)
