"""Following all objects of a kind: list, then watch from there, and list again where the API forgot."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog
from msgspec import Struct

from producers.cluster.api import Expired, KubernetesApi, WatchEvent
from producers.cluster.metrics import CollectorMetrics
from spendstream.errors import ClusterUnavailable
from spendstream.workloads.manifests import Metadata

__all__ = ["Following", "Kind", "Listener"]

_log = structlog.get_logger()

_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 15.0
_SHORT = 10**6  # microseconds
_WATCH_S = (240, 300)  # spread, so that not all watches begin anew together
_GONE = 410


class _Object(Protocol):
    @property
    def metadata(self) -> Metadata: ...


class Listener(Protocol):
    """Who is told of the objects of a kind."""

    def seen(self, manifest: Any) -> None:
        """Take note of how an object is. Raises ValueError for one that makes no sense."""

    def lost(self, manifest: Any) -> None:
        """Take note that an object is gone, and how it was last."""

    def only(self, uids: set[str]) -> None:
        """Take note that there are no others."""


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of objects: where the API has them, and what of them is read.

    Without the `needed` ones nothing is billed; without the others, samples say less.
    """

    name: str
    path: str
    manifest: type[Any]
    query: dict[str, str] = {}
    metadata_only: bool = False
    needed: bool = False


class Following:
    """Follows one kind until cancelled. `clock` gives microseconds, `sleep` waits for some."""

    def __init__(
        self,
        api: KubernetesApi,
        kind: Kind,
        listener: Listener,
        metrics: CollectorMetrics,
        *,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self.kind = kind
        self.trouble = "not listed yet"
        """Why it does not know how things are now; empty while it does."""
        self.current_since: int | None = None
        """Since when it has known all changes; None while it does not."""
        self.listed = self.tried = False
        self._api = api
        self._listener = listener
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._decode = msgspec.json.Decoder(kind.manifest).decode
        self._version = ""
        self._retry_s = _FIRST_RETRY_S

    async def run(self) -> None:
        """List and watch for ever."""
        while True:
            try:
                if not self._version:
                    await self._list()
                began = self._clock()
                await self._watch()
                if self._clock() - began < _SHORT:  # whoever ends watches at once is not to be flooded
                    await self._pause()
            except Expired:
                self._metrics.expired.labels(self.kind.name).inc()
                self._behind("the API forgot what was seen last: listing again")
                await self._sleep(_FIRST_RETRY_S)
            except ClusterUnavailable as error:
                self._metrics.errors.labels(self.kind.name).inc()
                self._behind(str(error), forget=False)
                _log.warning("cannot follow", kind=self.kind.name, why=str(error), retry_s=self._retry_s)
                await self._pause()

    async def _pause(self) -> None:
        """Wait, and the next time twice as long, until something is told."""
        await self._sleep(self._retry_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
        self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)

    def _behind(self, why: str, *, forget: bool = True) -> None:
        self.trouble = why
        self.tried = True
        self.current_since = None
        if forget:
            self._version = ""

    async def _list(self) -> None:
        """Tell of all objects, page by page, and then that there are no others."""
        uids: set[str] = set()
        after = ""
        while True:
            page = await self._api.page(
                self.kind.path, self.kind.query, after, metadata_only=self.kind.metadata_only
            )
            for item in page.items or ():
                found = self._tell(item, self._listener.seen)
                uids.add(found.metadata.uid if found is not None else _uid(item))
            after = page.metadata.continue_
            if not after:
                break
        self._listener.only(uids)
        self._version = page.metadata.resource_version
        self._metrics.lists.labels(self.kind.name).inc()
        self.listed = self.tried = True

    async def _watch(self) -> None:
        """Tell of changes until the API ends the watch, which it does now and then."""
        seconds = random.randint(*_WATCH_S)  # noqa: S311 - no secret
        watching = self._api.watch(
            self.kind.path,
            self.kind.query,
            self._version,
            seconds=seconds,
            metadata_only=self.kind.metadata_only,
        )
        async with watching as events:
            self.trouble = ""
            if self.current_since is None:
                self.current_since = self._clock()
            async for event in events:
                self._retry_s = _FIRST_RETRY_S
                self._take(event)

    def _take(self, event: WatchEvent) -> None:
        try:
            if event.type == "ERROR":
                self._fail(_status.decode(event.object))
            if event.type == "BOOKMARK":
                self._version = _bookmark.decode(event.object).metadata.resource_version
                return
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(f"{self.kind.path}: a watch that makes no sense: {error}") from error
        self._metrics.changes.labels(self.kind.name).inc()
        tell = self._listener.lost if event.type == "DELETED" else self._listener.seen
        found = self._tell(event.object, tell)
        if found is not None:
            self._version = found.metadata.resource_version or self._version

    def _tell(self, raw: msgspec.Raw, tell: Callable[[Any], None]) -> _Object | None:
        """Decode and tell of one object. One that cannot be read is counted, told and left out."""
        manifest: _Object | None = None
        try:
            manifest = self._decode(raw)
            tell(manifest)
        except (msgspec.DecodeError, ValueError) as error:
            self._metrics.unreadable.labels(self.kind.name).inc()
            name = manifest.metadata.name if manifest else ""
            _log.warning("an object that cannot be read", kind=self.kind.name, name=name, why=str(error))
        return manifest

    def _fail(self, status: _Status) -> None:
        if status.code == _GONE:
            raise Expired
        self._version = ""  # what else is wrong, a list from scratch tells
        raise ClusterUnavailable(f"{self.kind.path}: the watch says {status.code}: {status.message}")


class _Status(Struct, frozen=True):
    code: int = 0
    message: str = ""


def _uid(raw: msgspec.Raw) -> str:
    """Return the uid of an object of which the rest cannot be read: it is there all the same."""
    try:
        return _bookmark.decode(raw).metadata.uid
    except msgspec.DecodeError:
        return ""


class _Bookmark(Struct, frozen=True):
    metadata: Metadata


_status = msgspec.json.Decoder(_Status)
_bookmark = msgspec.json.Decoder(_Bookmark)
