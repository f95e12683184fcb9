"""The account of a cluster: what is told of its objects and their usage, turned into samples of spend.

Pure: it is told, and asked for samples up to a moment. What a sample has billed is final, so that no interval
is billed twice and none is left out; ids follow from what is billed and from when, so that a sample that is
made again, after a crash, is dropped downstream.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from spendstream.allocation.requests import Request
from spendstream.events import Event
from spendstream.workloads.attribution import Attribution, Owned
from spendstream.workloads.autoscalers import Autoscaler
from spendstream.workloads.nodes import LoadBalancer, Node, Volume
from spendstream.workloads.owners import Owners
from spendstream.workloads.pods import Pod
from spendstream.workloads.readings import Reading, Readings
from spendstream.workloads.records import PodRecord
from spendstream.workloads.samples import Beside, Samples, Standing
from spendstream.workloads.tenure import Billed
from spendstream.workloads.things import Thing, Things
from spendstream.workloads.timeline import Piece

__all__ = ["Account"]

_Claim = tuple[str, str]  # namespace and name
_CONTROL_PLANE = "control-plane"
_NOBODY = Owned()
_NOTHING = Request()


class Account:
    """Told of a cluster's objects, it makes the samples of their spend. Times are microseconds.

    `billed` is what an earlier account of the cluster had billed. `control_plane` is of which kind that is,
    empty for one that costs nothing.
    """

    def __init__(
        self, samples: Samples, billed: Billed, *, attribution: Attribution, control_plane: str = ""
    ) -> None:
        self.owners = Owners()
        self.nodes: Things[Node] = Things(self._begin)
        self.volumes: Things[Volume] = Things(self._begin)
        self.balancers: Things[LoadBalancer] = Things(self._begin_balancer)
        self._planes: Things[str] = Things(self._begin)
        self._samples = samples
        self._billed = billed
        self._attribution = attribution
        self._pods: dict[str, PodRecord] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._node_uids: dict[str, str] = {}
        self._volume_uids: dict[_Claim, str] = {}
        self._holders: dict[_Claim, set[str]] = {}
        self._storage_classes: dict[str, str] = {}
        self._namespaces: dict[str, Owned] = {}
        self._autoscalers: dict[str, Autoscaler] = {}
        self._scaled: dict[tuple[str, str, str], str] = {}
        if control_plane:
            self._planes.tell(_CONTROL_PLANE, billed.since, control_plane, billed.since)

    @property
    def pods(self) -> int:
        """How many pods it knows."""
        return len(self._pods)

    @property
    def billed(self) -> Billed:
        """What is billed, as an account that comes after this one has to know it."""
        return self._billed

    def tell_namespace(self, name: str, owned: Owned) -> None:
        """Take note of what a namespace says of whose it is."""
        self._namespaces[name] = owned

    def forget_namespace(self, name: str) -> None:
        """Forget a namespace."""
        self._namespaces.pop(name, None)

    def tell_autoscaler(self, uid: str, autoscaler: Autoscaler | None) -> None:
        """Take note of an autoscaler; None: it is gone."""
        if before := self._autoscalers.pop(uid, None):
            self._scaled.pop(before.target, None)
        if autoscaler is not None:
            self._autoscalers[uid] = autoscaler
            self._scaled[autoscaler.target] = autoscaler.scaled_on

    def only_autoscalers(self, uids: Collection[str]) -> None:
        """Take note that there are no other autoscalers."""
        for uid in [uid for uid in self._autoscalers if uid not in uids]:
            self.tell_autoscaler(uid, None)

    def tell_node(self, node: Node, now: int) -> None:
        """Take note of how a node is."""
        self._node_uids[node.name] = node.uid
        self.nodes.tell(node.uid, node.created, node, now)

    def tell_storage_class(self, name: str, kind: str) -> None:
        """Take note of which kind of volume a storage class makes, such as "gp3"."""
        self._storage_classes[name] = kind

    def tell_volume(self, volume: Volume, now: int) -> None:
        """Take note of how a volume is."""
        if any(volume.claim) and not volume.released:
            self._volume_uids[volume.claim] = volume.uid
        self.volumes.tell(volume.uid, volume.created, volume, now)

    def tell_pod(self, pod: Pod, now: int) -> None:
        """Take note of how a pod is."""
        record = self._pods.get(pod.uid)
        if record is None:
            record = self._pods[pod.uid] = PodRecord(pod)
            self._by_name[pod.namespace, pod.name] = pod.uid
            for claim in pod.claims:
                self._holders.setdefault((pod.namespace, claim), set()).add(pod.uid)
        record.tell(pod, now, self._begin)

    def lose_pod(self, uid: str, now: int) -> None:
        """Take note that a pod is gone: at `now`, or when it was to be gone, if that was earlier."""
        if record := self._pods.get(uid):
            deleting = record.pod.deleting
            record.gone = True
            record.end(now if deleting is None else min(now, deleting))

    def only_pods(self, uids: Collection[str], now: int) -> None:
        """Take note that there are no other pods."""
        for uid, record in self._pods.items():
            if uid not in uids and not record.gone:
                self.lose_pod(uid, now)

    def read(self, namespace: str, pod: str, container: str, reading: Reading) -> None:
        """Take note of what a container uses; of the network, what its pod does, for the empty name."""
        uid = self._by_name.get((namespace, pod))
        record = self._pods.get(uid) if uid else None
        if record is not None:
            record.readings.setdefault(container, Readings()).add(reading)

    def read_node(self, name: str, reading: Reading) -> None:
        """Take note of what a node uses."""
        if node := self.nodes.get(self._node_uids.get(name, "")):
            node.readings.add(reading)

    def closing(self, until: int) -> Billed:
        """Return what to remember before samples up to `until` leave: `close` makes the same ones again."""
        return msgspec.structs.replace(self._billed, closing=until)

    def close(self, until: int) -> Iterator[Sequence[Event]]:
        """Yield all samples up to `until`: those of one thing together, which are to leave together.

        When all have left, `closed` has to be told.
        """
        for record in list(self._pods.values()):
            if samples := self._pod_samples(record, until):
                yield samples
            record.forget_over()
        for uid in [uid for uid, record in self._pods.items() if record.over]:
            self._forget(uid)  # and not before: pods that share a volume ask for one another
        for node, pieces in self.nodes.cut(until, also=self._samples.turns):
            reading = node.readings.take(pieces[0].start, until)
            yield [self._samples.node(piece, key=node.key, reading=reading) for piece in pieces]
        for volume, cut in self.volumes.cut(until):
            yield [
                self._samples.volume(
                    piece, self._made(piece.facts), key=volume.key, owned=self._claimed(piece.facts)
                )
                for piece in cut
            ]
        for balancer, parts in self.balancers.cut(until):
            yield [self._samples.load_balancer(piece, key=balancer.key) for piece in parts]
        for plane, times in self._planes.cut(until):
            yield [self._samples.control_plane(piece, key=plane.key) for piece in times]
        self._forget_names()

    def closed(self, until: int) -> None:
        """Take note that all samples up to `until` have left."""
        known = {key for record in self._pods.values() for key in record.billed_keys(until)}
        for things in (self.nodes, self.volumes, self.balancers, self._planes):
            known.update(things.billed_keys(until))
        self._billed = Billed(since=self._billed.since, until=until, closing=until, known=frozenset(known))

    def _begin(self, key: bytes, started: int) -> int:
        return self._billed.begin(key, started)

    def _forget_names(self) -> None:
        """Forget who had the names of nodes and the claims of volumes that are forgotten."""
        if len(self._node_uids) > len(self.nodes):
            self._node_uids = {name: uid for name, uid in self._node_uids.items() if self.nodes.get(uid)}
        if len(self._volume_uids) > len(self.volumes):
            self._volume_uids = {
                claim: uid for claim, uid in self._volume_uids.items() if self.volumes.get(uid)
            }

    def _begin_balancer(self, _: bytes, created: int) -> int:
        """Return from when a load balancer is billed: its service may be older than it."""
        return max(created, self._billed.until)

    def _forget(self, uid: str) -> None:
        pod = self._pods.pop(uid).pod
        if self._by_name.get((pod.namespace, pod.name)) == uid:
            del self._by_name[pod.namespace, pod.name]
        for claim in pod.claims:
            holders = self._holders.get((pod.namespace, claim), set())
            holders.discard(uid)
            if not holders:
                self._holders.pop((pod.namespace, claim), None)

    def _pod_samples(self, record: PodRecord, until: int) -> list[Event]:
        """Return the samples of a pod: of itself first, while it is still known when its containers ran."""
        pod = record.pod
        thing = self.nodes.get(self._node_uids.get(pod.node, ""))
        turns = self._node_turns(thing, record, until) if thing else []
        standing = self._standing(pod)
        samples: list[Event] = []
        for piece in record.cut_room(until, [*turns, *self._sharing_turns(pod)]):
            beside = self._beside(piece, record)
            if beside.volumes or beside.request != _NOTHING:
                samples.append(
                    self._samples.pod(piece, beside, standing, _at(thing, piece.start), key=record.key)
                )
        for run in record.in_order():
            for part, used in run.cut(until, turns, record):
                samples.append(
                    self._samples.container(part, used, standing, _at(thing, part.start), key=run.key)
                )
        return samples

    def _node_turns(self, node: Thing[Node], record: PodRecord, until: int) -> Sequence[int]:
        """Return when the node changed or its price, in what is to be billed of a pod."""
        since = min([run.timeline.start for run in record.runs.values()], default=until)
        if record.room is not None:
            since = min(since, record.room.start)
        return [*node.timeline.turns, *self._samples.turns(node.timeline.at(since), since, until)]

    def _made(self, volume: Volume) -> str:
        """Return which kind of volume it is: what its class makes, or else its class."""
        return self._storage_classes.get(volume.storage_class) or volume.storage_class

    def _claimed(self, volume: Volume) -> Owned:
        """Return whose a volume is: whose its claim's namespace is."""
        return self._attribution.settle(_NOBODY, self._namespaces.get(volume.claim[0], _NOBODY))

    def _standing(self, pod: Pod) -> Standing:
        workload = self.owners.workload(pod.owner, pod.revision)
        kind, name = (workload.kind, workload.name) if workload else ("Pod", pod.name)
        return Standing(
            pod=pod,
            owned=self._attribution.settle(pod.owned, self._namespaces.get(pod.namespace, _NOBODY)),
            kind=kind,
            name=name,
            scaled_on=self._scaled.get((pod.namespace, kind, name), ""),
        )

    def _beside(self, piece: Piece[Request], record: PodRecord) -> Beside:
        """Return what a pod has beside what its running containers request."""
        pod, volumes = record.pod, []
        for claim in pod.claims:
            place = (pod.namespace, claim)
            volume = self.volumes.get(self._volume_uids.get(place, ""))
            if volume is not None:
                held = volume.timeline.at(piece.start)
                volumes.append((held, self._made(held), len(self._sharing(place, piece.start))))
        return Beside(request=record.beside(piece), volumes=volumes)

    def _sharing(self, place: _Claim, moment: int) -> Sequence[PodRecord]:
        holders = (self._pods[uid] for uid in self._holders[place])
        return [record for record in holders if record.lasts_at(moment)]

    def _sharing_turns(self, pod: Pod) -> Iterator[int]:
        """Yield when the pods begin and end that share a volume with this one."""
        for claim in pod.claims:
            for uid in self._holders[pod.namespace, claim]:
                if (room := self._pods[uid].room) is not None and uid != pod.uid:
                    yield from (room.begun, *room.turns)


def _at(thing: Thing[Node] | None, moment: int) -> Node | None:
    return thing.timeline.at(moment) if thing else None
