"""Which resources an autoscaler scales a workload on: nobody else may size those requests unheard."""

from __future__ import annotations

from msgspec import Struct

from spendstream.workloads.manifests import AutoscalerManifest

__all__ = ["Autoscaler"]


class Autoscaler(Struct, frozen=True, kw_only=True):
    """What an autoscaler scales, and on which resources: "cpu", "memory", or both, with a comma."""

    namespace: str
    kind: str
    name: str
    scaled_on: str

    @property
    def target(self) -> tuple[str, str, str]:
        """What it scales: namespace, kind and name."""
        return self.namespace, self.kind, self.name

    @classmethod
    def of(cls, manifest: AutoscalerManifest) -> Autoscaler:
        """Return the autoscaler in a manifest; without metrics it scales on CPU, as the API says."""
        target = manifest.spec.scale_target_ref
        sources = [metric.resource or metric.container_resource for metric in manifest.spec.metrics or ()]
        resources = {source.name for source in sources if source}
        if not manifest.spec.metrics:
            resources = {"cpu"}
        return cls(
            namespace=manifest.metadata.namespace or "",
            kind=target.kind or "",
            name=target.name or "",
            scaled_on=",".join(sorted(resources)),
        )
