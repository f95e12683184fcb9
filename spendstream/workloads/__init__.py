"""What runs in a cluster, and whose it is: from Kubernetes' objects to values that can be billed.

Pure: manifests come as the API's JSON or as plain dicts (`spendstream.workloads.manifests`), times as whole
microseconds, amounts as whole nanocores, bytes and parts of GPUs.
"""

from __future__ import annotations

from spendstream.workloads.attribution import Attribution, Owned, Source
from spendstream.workloads.autoscalers import Autoscaler
from spendstream.workloads.nodes import LoadBalancer, Node, Volume
from spendstream.workloads.owners import Owner, Owners
from spendstream.workloads.pods import Amounts, Container, Pod, Run
from spendstream.workloads.readings import Reading, Readings
from spendstream.workloads.timeline import Piece, Timeline

__all__ = [
    "Amounts",
    "Attribution",
    "Autoscaler",
    "Container",
    "LoadBalancer",
    "Node",
    "Owned",
    "Owner",
    "Owners",
    "Piece",
    "Pod",
    "Reading",
    "Readings",
    "Run",
    "Source",
    "Timeline",
    "Volume",
]
