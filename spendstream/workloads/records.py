"""What an account knows of one pod: its containers' runs, its reservation, and what it used of late."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from spendstream.allocation.requests import Request, remainder
from spendstream.workloads.pods import Amounts, Container, Pod, Run
from spendstream.workloads.readings import Reading, Readings
from spendstream.workloads.tenure import digest
from spendstream.workloads.timeline import Piece, Timeline

__all__ = ["Begin", "PodRecord", "RunRecord", "Used"]

_POD = ""  # in the place of a container's name: of the pod as a whole

Begin = Callable[[bytes, int], int]
"""Tells from when something is billed, by its key and when it started."""


class Used(Struct, frozen=True, kw_only=True):
    """What a container used in a piece of its run, and what befell it; None where nothing is known."""

    container: str
    reading: Reading | None = None
    network: Reading | None = None
    oom_kills: int = 0
    restarts: int = 0


class RunRecord:
    """One run of a container."""

    __slots__ = ("container", "first", "key", "number", "since", "started", "timeline")

    def __init__(
        self, container: str, run: Run, key: bytes, timeline: Timeline[Amounts], *, since: int, first: bool
    ) -> None:
        self.container = container
        self.started = run.started
        self.number = run.number
        self.since = since
        """From when it was not billed when it was first told of; of that, its pod's room may have been."""
        self.first = first
        """Whether the container is the pod's first, which is told to have used the pod's network."""
        self.key = key
        self.timeline = timeline

    def cut(self, until: int, also: Iterable[int], pod: PodRecord) -> Iterator[tuple[Piece[Amounts], Used]]:
        """Cut off what the run is billed for up to `until`, each piece with what was used."""
        pieces = self.timeline.cut(until, also)
        if not pieces:
            return
        start, end = pieces[0].start, pieces[-1].end
        own, network = pod.readings.get(self.container), pod.readings.get(_POD) if self.first else None
        kills = pod.oom_kills.pop(self.container, 0)
        fresh = self.since == self.started  # none that is billed since an earlier life
        used = Used(
            container=self.container,
            reading=own.take(start, end) if own else None,
            network=network.take(start, end) if network else None,
        )
        for piece in pieces:
            yield (
                piece,
                replace(
                    used,
                    oom_kills=kills if piece is pieces[-1] else 0,
                    restarts=int(self.number > 0 and fresh and piece.start == self.timeline.begun),
                ),
            )


class PodRecord:
    """A pod, and the timelines of what it is billed for. `begin` tells from when each is."""

    __slots__ = ("gone", "key", "oom_kills", "pod", "readings", "room", "runs")

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.key = digest(pod.uid)
        self.room: Timeline[Request] | None = None
        """What its node keeps free for it, since it was scheduled."""
        self.runs: dict[tuple[str, int], RunRecord] = {}
        self.readings: dict[str, Readings] = {}
        """By container; under the empty name, what the pod used of the network."""
        self.oom_kills: dict[str, int] = {}
        """By container, those that no sample has told of: a kill can be told when its run has been billed."""
        self.gone = False

    def tell(self, pod: Pod, now: int, begin: Begin) -> None:
        """Take note of how the pod is at `now`."""
        self.pod = pod
        if pod.scheduled is not None:
            if self.room is None:
                self.room = Timeline(begin(self.key, pod.scheduled), pod.reserved)
            self.room.change(now, pod.reserved)
        apps = [container.name for container in pod.containers if container.kind == "app"]
        for container in pod.containers:
            self._tell_runs(container, now, begin, first=container.name in apps[:1])
        if pod.ended is not None:
            self.end(pod.ended)

    def end(self, at: int) -> None:
        """Take note that the pod ended then; a container whose end is known keeps it."""
        for record in self.runs.values():
            if record.timeline.ended is None:
                record.timeline.end(at)
        if self.room is not None:
            self.room.end(at)

    def lasts_at(self, moment: int) -> bool:
        """Return whether the pod had a node then, and was not over."""
        return self.room is not None and self.room.lasts_at(moment)

    def forget_over(self) -> None:
        """Forget runs that are billed to their ends, unless the pod still shows them."""
        shown = {(one.name, run.started) for one in self.pod.containers for run in one.runs}
        over = [
            place
            for place, record in self.runs.items()
            if record.timeline.over and (self.gone or place not in shown)
        ]
        for place in over:
            del self.runs[place]

    @property
    def over(self) -> bool:
        """Whether the pod is gone, and billed to its end."""
        return self.gone and not self.runs and (self.room is None or self.room.over)

    def billed_keys(self, until: int) -> Iterator[bytes]:
        """Yield the keys of what is billed up to `until`, or to its end."""
        if self.room is not None and self.room.billed(until):
            yield self.key
        for record in self.runs.values():
            if record.timeline.billed(until):
                yield record.key

    def cut_room(self, until: int, also: Iterable[int]) -> list[Piece[Request]]:
        """Cut off what the node keeps free for the pod, where the containers that run change, too.

        It has to be asked before the containers' runs are cut.
        """
        if self.room is None:
            return []
        turns = [turn for run in self.runs.values() for turn in (run.timeline.begun, *run.timeline.turns)]
        return self.room.cut(until, [*also, *turns])

    def beside(self, piece: Piece[Request]) -> Request:
        """Return what the pod holds beyond what its running containers request."""
        running = [run.timeline for run in self.runs.values() if run.timeline.lasts_at(piece.start)]
        return remainder(piece.facts, [timeline.at(piece.start).request for timeline in running])

    def in_order(self) -> list[RunRecord]:
        """Return the runs, the earlier first."""
        return sorted(self.runs.values(), key=lambda run: run.started)

    def _tell_runs(self, container: Container, now: int, begin: Begin, *, first: bool) -> None:
        for run in container.runs:
            record = self.runs.get((container.name, run.started))
            if record is None:
                key = digest(self.pod.uid, container.name, str(run.started))
                since = begin(key, run.started)
                start = since if self.room is None else max(since, self.room.start)
                timeline = Timeline(start, container.amounts)
                record = RunRecord(container.name, run, key, timeline, since=since, first=first)
                self.runs[container.name, run.started] = record
            if run.ended is None:
                record.timeline.change(now, container.amounts)
            else:
                self._end_run(record, run.ended, oom_killed=run.oom_killed)
        self._end_unseen(container)

    def _end_run(self, record: RunRecord, at: int, *, oom_killed: bool) -> None:
        """End a run. Of a kill it is told once: not again by one that is billed since an earlier life."""
        fresh = record.timeline.ended is None
        unbilled = record.since < at
        record.timeline.end(at)
        if oom_killed and fresh and unbilled:
            self.oom_kills[record.container] = self.oom_kills.get(record.container, 0) + 1

    def _end_unseen(self, container: Container) -> None:
        """End the runs that the pod no longer shows, and whose ends were missed: a later one has begun."""
        if not container.runs:
            return
        oldest = container.runs[0].started
        for record in self.runs.values():
            if record.container == container.name and record.started < oldest:
                record.timeline.end(oldest)
