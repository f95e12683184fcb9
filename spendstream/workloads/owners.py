"""Who a pod belongs to: the chain of its owners, up to what a person made."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from spendstream.workloads.manifests import Metadata

__all__ = ["Owner", "Owners"]

_MAX = 200_000
_LONGEST_CHAIN = 5  # a cycle of owners would be a mistake, but one that the API accepts


class Owner(Struct, frozen=True, kw_only=True):
    """A workload, or something between it and its pods."""

    kind: str
    name: str
    uid: str

    @classmethod
    def of(cls, metadata: Metadata) -> Owner | None:
        """Return the controller that an object names, None if it names none."""
        for reference in metadata.owner_references or ():
            if reference.controller:
                return cls(kind=reference.kind, name=reference.name, uid=reference.uid)
        return None


class Owners:
    """Which controller made which: ReplicaSets, Jobs and the like, by uid.

    At most `limit` are remembered; those that were not asked for the longest are forgotten first.
    """

    def __init__(self, limit: int = _MAX) -> None:
        self._limit = limit
        self._above: OrderedDict[str, Owner] = OrderedDict()

    def __len__(self) -> int:
        return len(self._above)

    def learn(self, metadata: Metadata) -> None:
        """Take note of an object's controller; one that has none is the end of a chain."""
        owner = Owner.of(metadata)
        if owner is None:
            self.forget(metadata.uid)
            return
        self._above[metadata.uid] = owner
        if len(self._above) > self._limit:
            self._above.popitem(last=False)

    def forget(self, uid: str) -> None:
        """Forget an object that is gone."""
        self._above.pop(uid, None)

    def workload(self, owner: Owner | None, revision: str = "") -> Owner | None:
        """Return the last of a chain of owners that begins with `owner`.

        A ReplicaSet that is not known, or no longer, is taken for a Deployment's if its name ends with the
        `revision`, the hash of the pod template: that is how Deployments name theirs.
        """
        for _ in range(_LONGEST_CHAIN):
            if owner is None or owner.uid not in self._above:
                break
            self._above.move_to_end(owner.uid)
            owner = self._above[owner.uid]
        if owner and revision and owner.kind == "ReplicaSet" and owner.name.endswith(f"-{revision}"):
            return Owner(kind="Deployment", name=owner.name.removesuffix(f"-{revision}"), uid="")
        return owner
