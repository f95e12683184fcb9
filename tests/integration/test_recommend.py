"""`spendstream recommend`: list, show, and apply to a cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.recommendations import land_recommendations
from sinks.clickhouse.tables import Tables
from spendstream.adapters.clickhouse import connect
from spendstream.allocation import OPENCOST
from spendstream.cli.recommend import command
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.errors import ConfigError, SpendstreamError
from spendstream.rightsizing.amounts import cpu_quantity, memory_quantity
from spendstream.rightsizing.days import DAY, Container
from spendstream.rightsizing.recommending import recommend
from tests.fixtures.containers import START, history
from tests.fixtures.kubernetes import FakeCluster, cluster

__all__ = ["cluster"]

LEGACY = Container("prod", "shop", "Deployment", "legacy-app", "app")
OPEN = recommend(LEGACY, history(), START + 14 * DAY, OPENCOST)
REFUSED = recommend(LEGACY._replace(workload="young"), history(1), START + DAY, OPENCOST)


@pytest.fixture
async def spendstream(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Any]:
    """Run the command, on a ClickHouse that knows two recommendations."""
    url = Secret(clickhouse_url)
    await migrate(url, Config())
    client = await connect(url)
    await client.command("TRUNCATE TABLE recommendation_raw")
    await client.close()
    tables = Tables(url)
    await land_recommendations(tables, [(each, now_micros() // 1000) for each in (OPEN, REFUSED)])
    await tables.close()
    monkeypatch.setenv("SPENDSTREAM_CLICKHOUSE", clickhouse_url)
    monkeypatch.setenv("SPENDSTREAM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, command, arguments)

    return run


async def told(result: Result) -> str:
    assert result.exception is None, result.exception
    return result.output


async def test_open_ones_are_listed_with_reasons_and_money(spendstream: Any) -> None:
    output = await told(await spendstream())
    assert str(OPEN.id)[:8] in output
    assert "shop/legacy-app" in output
    assert "young" not in output


async def test_refused_ones_are_listed_when_asked_for(spendstream: Any) -> None:
    output = await told(await spendstream("--state", "refused"))
    assert "young" in output
    assert "less than three days" in " ".join(output.split())
    assert "nothing is applied" in await told(await spendstream("--state", "applied"))


async def test_a_name_is_shown_as_it_is_whatever_it_looks_like(spendstream: Any, clickhouse_url: str) -> None:
    odd = recommend(LEGACY._replace(workload="[/b] :smile:"), history(), START + 14 * DAY, OPENCOST)
    tables = Tables(Secret(clickhouse_url))
    await land_recommendations(tables, [(odd, now_micros() // 1000)])
    await tables.close()
    assert "shop/[/b] :smile:" in await told(await spendstream())


async def test_json_is_the_recommendation_as_it_is_on_the_wire(spendstream: Any) -> None:
    output = await told(await spendstream("--json", "--workload", "legacy-app"))
    assert json.loads(output)["id"] == str(OPEN.id)
    assert await told(await spendstream("--json", "--namespace", "none")) == ""


async def test_one_is_shown_by_the_beginning_of_its_id_with_its_patch(spendstream: Any) -> None:
    output = await told(await spendstream("show", str(OPEN.id)[:8]))
    assert OPEN.patch.rstrip() in output
    assert "nodes that can go: not known" in output
    assert "idle changes by" in output


async def test_an_id_that_is_not_known_is_an_error(spendstream: Any) -> None:
    result = await spendstream("show", "zz")
    assert isinstance(result.exception, ConfigError)
    assert "no recommendation has an id" in str(result.exception)


def deployment(cpu: str = "1", memory: str = "1Gi", container: str = "app") -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "2"}}
    containers = [{"name": container, "image": "shop:1", "resources": resources}, {"name": "sidecar"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "legacy-app", "namespace": "shop"},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def containers(cluster: FakeCluster) -> Any:
    (manifest,) = cluster._objects["apps/v1", "deployments"].values()
    return manifest["spec"]["template"]["spec"]["containers"]


def way_to(cluster: FakeCluster, folder: Path) -> tuple[str, str]:
    return "--kubeconfig", str(cluster.kubeconfig(folder / "kubeconfig"))


async def test_without_yes_the_cluster_only_tries(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path
) -> None:
    await cluster.put("deployments", deployment(), "apps/v1")
    before = containers(cluster)
    output = await told(await spendstream("apply", str(OPEN.id), *way_to(cluster, tmp_path)))
    assert "give --yes to apply it" in output
    assert yaml.safe_load(output.partition("note:")[0])["kind"] == "Deployment"
    assert containers(cluster) == before


async def test_with_yes_requests_change_and_the_rest_stays(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path
) -> None:
    await cluster.put("deployments", deployment(), "apps/v1")
    output = await told(await spendstream("apply", str(OPEN.id), "--yes", *way_to(cluster, tmp_path)))
    assert "applied to Deployment shop/legacy-app" in output
    app, sidecar = containers(cluster)
    assert app["resources"] == {
        "requests": {"cpu": cpu_quantity(OPEN.cpu.target), "memory": memory_quantity(OPEN.memory.target)},
        "limits": {"cpu": "2"},
    }
    assert (app["image"], sidecar["name"]) == ("shop:1", "sidecar")


async def test_a_workload_that_has_only_limits_requests_those(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path
) -> None:
    manifest = deployment()
    app = manifest["spec"]["template"]["spec"]["containers"][0]
    app["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    await cluster.put("deployments", manifest, "apps/v1")
    output = await told(await spendstream("apply", str(OPEN.id), "--yes", *way_to(cluster, tmp_path)))
    assert "applied to Deployment shop/legacy-app" in output
    assert containers(cluster)[0]["resources"]["requests"]["cpu"] == cpu_quantity(OPEN.cpu.target)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (deployment(cpu="500m"), "requests 500m 1024Mi now"),
        (deployment(container="other"), "has no container app"),
    ],
)
async def test_a_workload_that_has_changed_is_left_alone(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path, manifest: Any, reason: str
) -> None:
    await cluster.put("deployments", manifest, "apps/v1")
    before = containers(cluster)
    result = await spendstream("apply", str(OPEN.id), "--yes", *way_to(cluster, tmp_path))
    assert reason in str(result.exception)
    assert containers(cluster) == before


async def test_a_workload_that_is_gone_is_told_in_the_servers_words(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path
) -> None:
    result = await spendstream("apply", str(OPEN.id), *way_to(cluster, tmp_path))
    assert isinstance(result.exception, SpendstreamError)
    assert "not found" in str(result.exception)


def several(cluster: FakeCluster, folder: Path, **clusters: str) -> str:
    """Write a kubeconfig in which contexts, the first of them current, have clusters of these names."""
    path = cluster.kubeconfig(folder / "kubeconfig")
    config = json.loads(path.read_text())
    config["current-context"] = next(iter(clusters))
    config["contexts"] = [
        {"name": context, "context": {"cluster": name, "user": "nobody"}}
        for context, name in clusters.items()
    ]
    config["clusters"] = [
        {"name": name, "cluster": {"server": cluster.url}} for name in dict.fromkeys(clusters.values())
    ]
    path.write_text(json.dumps(config))
    return str(path)


def configured(monkeypatch: pytest.MonkeyPatch, folder: Path, kubeconfig: str, **collector: str) -> None:
    lines = [
        f"{name} = {json.dumps(value)}" for name, value in {"kubeconfig": kubeconfig, **collector}.items()
    ]
    path = folder / "spendstream.toml"
    path.write_text("\n".join(["[collector]", *lines]))
    monkeypatch.setenv("SPENDSTREAM_CONFIG", str(path))


@pytest.mark.parametrize("yes", [(), ("--yes",)])
async def test_it_says_which_cluster_is_changed(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path, yes: tuple[str, ...]
) -> None:
    await cluster.put("deployments", deployment(), "apps/v1")
    output = await told(await spendstream("apply", str(OPEN.id), *yes, *way_to(cluster, tmp_path)))
    where = f"context fake (cluster fake, {cluster.url})"
    assert f"of cluster prod, for {where}\n" in output
    assert where in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("clusters", "context"),
    [
        ({"prod": "eks-1"}, "prod"),
        ({"admin": "prod", "staging": "eks-2"}, "admin"),
        ({"staging": "eks-2", "prod": "eks-1", "admin": "eks-1"}, "admin"),
        ({"one": "eks-1", "two": "eks-2"}, "two"),  # nobody knows
    ],
)
async def test_it_changes_a_cluster_that_is_not_known_to_be_another(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path, clusters: dict[str, str], context: str
) -> None:
    await cluster.put("deployments", deployment(), "apps/v1")
    way = ("--kubeconfig", several(cluster, tmp_path, **clusters), "--context", context)
    assert f"applied to Deployment shop/legacy-app in context {context} (cluster {clusters[context]}, " in (
        await told(await spendstream("apply", str(OPEN.id), "--yes", *way))
    )


@pytest.mark.parametrize(
    "clusters", [{"staging": "eks-2", "prod": "eks-1"}, {"staging": "eks-2", "admin": "prod"}]
)
async def test_it_leaves_a_cluster_alone_that_the_kubeconfig_knows_to_be_another(
    spendstream: Any, cluster: FakeCluster, tmp_path: Path, clusters: dict[str, str]
) -> None:
    await cluster.put("deployments", deployment(), "apps/v1")
    before = containers(cluster)
    way = ("--kubeconfig", several(cluster, tmp_path, **clusters))
    result = await spendstream("apply", str(OPEN.id), "--yes", *way)
    assert isinstance(result.exception, SpendstreamError)
    assert str(result.exception) == (
        "the recommendation is of cluster prod, "
        f"and context staging (cluster eks-2, {cluster.url}) is another: "
        "give the --kubeconfig and --context of its own"
    )
    assert containers(cluster) == before


@pytest.mark.parametrize(
    ("collector", "arguments", "is_another"),
    [
        ({"cluster": "staging"}, (), True),
        ({"cluster": "staging", "context": "one"}, (), True),
        ({"cluster": "staging"}, ("--context", "two"), False),
        ({"cluster": "prod"}, (), False),
        ({"cluster": "prod", "context": "two"}, (), False),
        ({"cluster": "prod", "context": "one"}, ("--context", "two"), True),
        ({}, (), False),
    ],
)
async def test_what_the_collector_calls_its_cluster_counts(
    spendstream: Any,
    cluster: FakeCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    collector: dict[str, str],
    arguments: tuple[str, ...],
    *,
    is_another: bool,
) -> None:
    await cluster.put("deployments", deployment(), "apps/v1")
    kubeconfig = several(cluster, tmp_path, one="eks-1", two="eks-2")
    configured(monkeypatch, tmp_path, kubeconfig, **collector)
    result = await spendstream("apply", str(OPEN.id), *arguments)
    assert ("the recommendation is of cluster prod" in str(result.exception)) is is_another
    assert ("would accept this" in result.output) is not is_another


async def test_a_refused_one_cannot_be_applied(spendstream: Any) -> None:
    result = await spendstream("apply", str(REFUSED.id), "--yes")
    assert "is refused" in str(result.exception)
