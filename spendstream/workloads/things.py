"""Things of one kind that a cluster pays for, by uid: nodes, volumes, load balancers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Generic, TypeVar

from spendstream.workloads.readings import Readings
from spendstream.workloads.records import Begin
from spendstream.workloads.tenure import digest
from spendstream.workloads.timeline import Piece, Timeline

__all__ = ["Thing", "Things"]

_REMEMBERED = 3600 * 10**6  # a node's pods are told to be gone a little later than the node

F = TypeVar("F")


class Thing(Generic[F]):
    """One of them: how it is, since when, and what of it was used of late."""

    __slots__ = ("key", "readings", "timeline")

    def __init__(self, key: bytes, timeline: Timeline[F]) -> None:
        self.key = key
        self.timeline = timeline
        self.readings = Readings()


class Things(Generic[F]):
    """All of one kind. `begin` tells from when each is billed. Times are microseconds."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._things: dict[str, Thing[F]] = {}
        self._earlier: list[Thing[F]] = []
        """Those that were gone and are there again, as they were before, until that is billed."""

    def __len__(self) -> int:
        return len(self._things)

    def get(self, uid: str) -> Thing[F] | None:
        """Return the thing with that uid, None if there is none."""
        return self._things.get(uid)

    def tell(self, uid: str, created: int, facts: F, now: int) -> None:
        """Take note of how a thing is at `now`: one that was gone begins anew."""
        thing = self._things.get(uid)
        if thing is None:
            key = digest(uid)
            self._things[uid] = Thing(key, Timeline(self._begin(key, created), facts))
        elif (ended := thing.timeline.ended) is not None:
            self._earlier.append(thing)
            self._things[uid] = Thing(thing.key, Timeline(max(now, ended), facts))
        else:
            thing.timeline.change(now, facts)

    def gone(self, uid: str, at: int) -> None:
        """Take note that a thing is gone."""
        if thing := self._things.get(uid):
            thing.timeline.end(at)

    def only(self, uids: Collection[str], at: int) -> None:
        """Take note that no others are there."""
        for uid, thing in self._things.items():
            if uid not in uids:
                thing.timeline.end(at)

    def cut(
        self, until: int, also: Callable[[F, int, int], Iterable[int]] = lambda *_: ()
    ) -> Iterator[tuple[Thing[F], list[Piece[F]]]]:
        """Yield what is to be billed of each up to `until`; forget those that are gone for long.

        `also` tells where else it is to be cut, by facts and interval.
        """
        for thing in (*self._earlier, *self._things.values()):
            start = thing.timeline.start
            if pieces := thing.timeline.cut(until, also(thing.timeline.at(start), start, until)):
                yield thing, pieces
        self._earlier = [thing for thing in self._earlier if not thing.timeline.over]
        for uid, thing in list(self._things.items()):
            ended = thing.timeline.ended
            if thing.timeline.over and ended is not None and ended < until - _REMEMBERED:
                del self._things[uid]

    def billed_keys(self, until: int) -> Iterator[bytes]:
        """Yield the keys of those that are billed up to `until`, or to their ends."""
        for thing in self._things.values():
            if thing.timeline.billed(until):
                yield thing.key
