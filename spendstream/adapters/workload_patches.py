"""Changes of workloads in a Kubernetes cluster, by strategic merge patches that the server applies.

kubernetes_asyncio finds the cluster, its certificates and our credentials.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from spendstream.errors import ClusterUnavailable, ConfigError, TerminalError

__all__ = ["PatchRefused", "Target", "WorkloadPatches", "containers_of"]

_PLURALS: Mapping[str, str] = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "ReplicaSet": "replicasets",
    "CronJob": "cronjobs",
}
_MANAGER = "spendstream"
_TIMEOUT_S = 30.0
_MISTAKES = range(400, 500)  # but for those that pass
_PASSING = (408, 429)
_OK = 200


class PatchRefused(TerminalError):
    """The cluster does not do what it was asked to, whenever it is asked."""


class Target(Struct, frozen=True, kw_only=True):
    """Where a kubeconfig leads: its context, that context's cluster, and the server.

    `clusters` are those of all contexts of the kubeconfig, by context.
    """

    context: str
    cluster: str
    server: str
    clusters: Mapping[str, str]

    def __str__(self) -> str:
        return f"context {self.context} (cluster {self.cluster}, {self.server})"

    def is_another(self, name: str, called: Mapping[str, str]) -> bool:
        """Tell whether this is known to be another cluster than the one of a name.

        `called` says what the clusters of some contexts are called. Of others it counts what the kubeconfig
        itself calls them; if it has nothing of that name, nobody knows.
        """
        if self.context in called:
            return called[self.context] != name
        named = {
            cluster
            for context, cluster in self.clusters.items()
            if name in (context, cluster, called.get(context))
        }
        return bool(named) and self.cluster not in named


class WorkloadPatches:
    """One cluster. Get one from `connected`."""

    def __init__(self, client: Any, target: Target) -> None:
        self._client = client
        self.target = target

    @classmethod
    @asynccontextmanager
    async def connected(cls, kubeconfig: Path | None, context: str) -> AsyncIterator[Self]:
        """Give the cluster of a kubeconfig, or the usual one. Raises ConfigError where there is none."""
        from kubernetes_asyncio import client, config  # noqa: PLC0415  # which takes two seconds

        configuration = client.Configuration()
        try:
            loader = await config.load_kube_config(
                str(kubeconfig) if kubeconfig else None, context or None, configuration
            )
        except (config.ConfigException, OSError, ValueError) as error:
            raise ConfigError(
                f"cannot find a cluster in {kubeconfig or '~/.kube/config'}: {error}"
            ) from error
        async with client.ApiClient(configuration) as connection:
            yield cls(connection, _target(loader, str(configuration.host)))

    async def workload(self, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the workload that a patch is for, as it is."""
        return await self._ask("GET", patch, {})

    async def apply(self, patch: Mapping[str, Any], *, dry_run: bool) -> Mapping[str, Any]:
        """Apply a patch, or let the server only try it; return the workload as it is then.

        Raises ClusterUnavailable, and PatchRefused with the server's reason.
        """
        query = {"fieldManager": _MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return await self._ask("PATCH", patch, query, patch)

    async def _ask(
        self, method: str, patch: Mapping[str, Any], query: Mapping[str, str], body: Any = None
    ) -> Mapping[str, Any]:
        url = f"{self._client.configuration.host}{_path(patch)}"
        headers = {"Accept": "application/json", "Content-Type": "application/strategic-merge-patch+json"}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        from aiohttp import ClientError  # noqa: PLC0415  # only who connects needs it

        try:
            answer = await self._client.rest_client.request(
                method,
                url,
                headers=headers,
                query_params=dict(query),
                body=body,
                _preload_content=False,
                _request_timeout=_TIMEOUT_S,
            )
            async with answer:
                text = await answer.read()
        except (ClientError, OSError, TimeoutError) as error:
            raise ClusterUnavailable(f"{url}: {str(error) or type(error).__name__}") from error
        if answer.status != _OK:
            raise _refusal(answer.status, text, url)
        document: Mapping[str, Any] = msgspec.json.decode(text)
        return document


def containers_of(workload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the containers in a workload's template."""
    spec = workload["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]
    found: Sequence[Mapping[str, Any]] = template["spec"]["containers"]
    return found


def _target(loader: Any, server: str) -> Target:
    clusters = {each["name"]: each["context"]["cluster"] for each in loader.list_contexts()}
    context = loader.current_context["name"]
    return Target(context=context, cluster=clusters[context], server=server, clusters=clusters)


def _path(patch: Mapping[str, Any]) -> str:
    metadata = patch["metadata"]
    plural = _PLURALS[patch["kind"]]
    return f"/apis/{patch['apiVersion']}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"


def _refusal(status: int, text: bytes, url: str) -> ClusterUnavailable | PatchRefused:
    try:
        reason = msgspec.json.decode(text)["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        reason = text[:500].decode(errors="replace")
    if status in _MISTAKES and status not in _PASSING:
        return PatchRefused(f"{url} answers {status}: {reason}")
    return ClusterUnavailable(f"{url} answers {status}: {reason}")
