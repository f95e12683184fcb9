"""The Kubernetes API, as far as a reader needs it: lists in chunks, watches, and single documents.

kubernetes_asyncio finds the cluster, its certificates and our credentials, and renews them. What it answers
is decoded here, straight to the few fields that are read: its own models take a hundred times the memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import msgspec
from aiohttp import ClientError, ClientResponse, ClientTimeout
from kubernetes_asyncio import config as kube_config
from kubernetes_asyncio.client import ApiClient, Configuration

from spendstream.errors import ClusterUnavailable, ConfigError

__all__ = ["CHUNK", "Expired", "KubernetesApi", "Page", "WatchEvent"]

CHUNK = 500
"""Objects in one answer to a list, at most."""

_METADATA_ONLY = "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1,application/json"
_ANSWER_S = 60.0
_CONNECT_S = 10.0
_QUIET_S = 150.0  # bookmarks come each minute: a watch that is silent for longer may be dead
_GONE = 410
_OK = 200


class Expired(Exception):
    """The API no longer knows the version that was asked for: list again."""


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, frozen=True):
    """One answer to a list: its objects, undecoded, and where the next one begins, empty for the last."""

    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch; `object` is undecoded."""

    type: str
    object: msgspec.Raw


_page = msgspec.json.Decoder(Page)
_watch_event = msgspec.json.Decoder(WatchEvent)


class KubernetesApi:
    """Reads one cluster. Get one from `connected`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.address = str(client.configuration.host)

    @classmethod
    @asynccontextmanager
    async def connected(cls, kubeconfig: Path | None, context: str) -> AsyncIterator[Self]:
        """Give the API that a kubeconfig names, or that of the cluster that this process runs in.

        Raises ConfigError where there is neither.
        """
        configuration = Configuration()
        try:
            if kubeconfig is not None:
                await kube_config.load_kube_config(
                    str(kubeconfig), context=context or None, client_configuration=configuration
                )
            else:
                kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (kube_config.ConfigException, OSError, ValueError) as error:
            where = kubeconfig or "the cluster around this process"
            raise ConfigError(f"collector: cannot find a Kubernetes API in {where}: {error}") from error
        async with ApiClient(configuration) as client:
            yield cls(client)

    async def document(self, path: str) -> bytes:
        """Return one answer in whole. Raises ClusterUnavailable."""
        async with self._answer(path, {}, ClientTimeout(total=_ANSWER_S)) as answer:
            return await answer.read()

    async def page(self, path: str, query: Mapping[str, str], after: str, *, metadata_only: bool) -> Page:
        """Return a page of a list, the first one for an empty `after`. Raises Expired, ClusterUnavailable."""
        asked = {**query, "limit": str(CHUNK), **({"continue": after} if after else {})}
        accept = _METADATA_ONLY.format(list="List") if metadata_only else ""
        async with self._answer(path, asked, ClientTimeout(total=_ANSWER_S), accept) as answer:
            try:
                return _page.decode(await answer.read())
            except msgspec.DecodeError as error:
                raise ClusterUnavailable(
                    f"{self.address}{path}: an answer that is no list: {error}"
                ) from error

    @asynccontextmanager
    async def watch(
        self, path: str, query: Mapping[str, str], version: str, *, seconds: int, metadata_only: bool
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Give the events since `version`, for so many seconds. Raises Expired, ClusterUnavailable."""
        asked = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        accept = _METADATA_ONLY.format(list="") if metadata_only else ""
        timeout = ClientTimeout(connect=_CONNECT_S, sock_read=_QUIET_S)
        async with self._answer(path, asked, timeout, accept) as answer:
            yield _lines(answer, f"{self.address}{path}")

    @asynccontextmanager
    async def _answer(
        self, path: str, query: Mapping[str, str], timeout: ClientTimeout, accept: str = ""
    ) -> AsyncIterator[ClientResponse]:
        url = self.address + path
        headers = {"Accept": accept or "application/json"}
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"])
            answer = await self._client.rest_client.request(
                "GET",
                url,
                headers=headers,
                query_params=dict(query),
                _preload_content=False,
                _request_timeout=timeout,
            )
            async with answer:
                if answer.status != _OK:
                    await _refuse(answer, url)
                yield answer
        except (ClientError, OSError, TimeoutError, kube_config.ConfigException) as error:
            raise ClusterUnavailable(f"{url}: {str(error) or type(error).__name__}") from error


async def _refuse(answer: ClientResponse, url: str) -> None:
    if answer.status == _GONE:
        raise Expired
    text = (await answer.read())[:1000].decode(errors="replace")
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        text = text or str(answer.reason)
    raise ClusterUnavailable(f"{url}: answers {answer.status}: {text}")


async def _lines(answer: ClientResponse, url: str) -> AsyncIterator[WatchEvent]:
    """Yield the events of a watch. That the server ends it is no error; that it breaks off is one."""
    while True:
        try:
            line = await answer.content.readline()
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            raise ClusterUnavailable(f"{url}: the watch broke off: {error or 'silence'}") from error
        if not line:
            return
        try:
            yield _watch_event.decode(line)
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(f"{url}: a line that is no event: {error}") from error
