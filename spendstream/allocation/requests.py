"""What a pod really holds of its node: the effective request, as the scheduler counts it.

Source: Kubernetes' component-helpers (resource/helpers), KEP-753 (sidecars), KEP-688 (overhead), KEP-1287
(resize in place), KEP-2837 (requests of the pod as a whole).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

__all__ = ["InitContainer", "Request", "effective_request", "remainder", "resized"]


class Request(Struct, frozen=True, kw_only=True):
    """An amount of each resource: nanocores, bytes, thousandths of a GPU."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def plus(self, other: Request) -> Request:
        """Return both added up."""
        return Request(cpu=self.cpu + other.cpu, memory=self.memory + other.memory, gpu=self.gpu + other.gpu)

    def most(self, other: Request) -> Request:
        """Return the larger of each resource."""
        return Request(
            cpu=max(self.cpu, other.cpu), memory=max(self.memory, other.memory), gpu=max(self.gpu, other.gpu)
        )


class InitContainer(Struct, frozen=True, kw_only=True):
    """One init container; a sidecar (restartPolicy Always) goes on running beside all that follows it."""

    request: Request
    is_sidecar: bool = False


def effective_request(
    containers: Sequence[Request],
    init: Sequence[InitContainer] = (),
    *,
    overhead: Request = Request(),  # noqa: B008  # frozen
    of_pod: Request | None = None,
) -> Request:
    """Return what a pod holds from its beginning to its end.

    The larger of what its containers and sidecars request together, and of what any init container does with
    the sidecars that were started before it; or `of_pod`, where the pod as a whole has a request (what it
    leaves at 0 is taken from the containers); and its overhead.
    """
    sidecars = most = Request()
    for each in init:
        most = most.most(sidecars.plus(each.request))
        if each.is_sidecar:
            sidecars = sidecars.plus(each.request)
    together = sidecars
    for request in containers:
        together = together.plus(request)
    held = most.most(together)
    if of_pod is not None:
        held = Request(
            cpu=of_pod.cpu or held.cpu, memory=of_pod.memory or held.memory, gpu=of_pod.gpu or held.gpu
        )
    return held.plus(overhead)


def resized(
    desired: Request, *, allocated: Request | None, actual: Request | None, infeasible: bool = False
) -> Request:
    """Return what a container holds while it is resized in place: the largest of the three.

    `desired` is its spec, `allocated` and `actual` are allocatedResources and resources of its status, None
    where those are not there. A resize that the node says is infeasible will not come: then what is desired
    does not count.
    """
    known = [each for each in (allocated, actual) if each is not None]
    if not (infeasible and known):
        known.append(desired)
    held = known[0]
    for each in known[1:]:
        held = held.most(each)
    return held


def remainder(effective: Request, containers: Sequence[Request]) -> Request:
    """Return what a pod holds beyond what its running containers and sidecars request.

    It is for its init containers and its overhead: billed as a container without a name, so that nothing that
    a pod keeps from others is idle.
    """
    held = Request()
    for request in containers:
        held = held.plus(request)
    return Request(
        cpu=max(effective.cpu - held.cpu, 0),
        memory=max(effective.memory - held.memory, 0),
        gpu=max(effective.gpu - held.gpu, 0),
    )
