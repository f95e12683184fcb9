"""Where pods run and what that costs: bin packing, consolidation, spot nodes, off hours, and a lower bound.

Pure: nodes, pods and prices are handed in, and the answer is a plan, with its reasons.

    packing = pack(pods, offers, daemons=daemons)
    plan = consolidate(packing.nodes, offers, daemons=daemons, budgets=budgets)
    plan.saving  # picodollars an hour
"""

from __future__ import annotations

from spendstream.scheduling.bounds import least_price
from spendstream.scheduling.cluster import (
    NOTHING,
    DisruptionBudget,
    Node,
    Offer,
    Pod,
    Resources,
    obstacle,
    overhead,
    price,
    total,
)
from spendstream.scheduling.consolidation import LEAST_CHEAPER_SPOT_TYPES, Consolidation, Step, consolidate
from spendstream.scheduling.observed import WhatIf, changed, changes_of, observed, what_if
from spendstream.scheduling.off_hours import OffHours, WorkingHours, asleep, off_hours
from spendstream.scheduling.packing import Packing, Unplaced, pack
from spendstream.scheduling.spot import MONTH_HOURS, risk

__all__ = [
    "LEAST_CHEAPER_SPOT_TYPES",
    "MONTH_HOURS",
    "NOTHING",
    "Consolidation",
    "DisruptionBudget",
    "Node",
    "OffHours",
    "Offer",
    "Packing",
    "Pod",
    "Resources",
    "Step",
    "Unplaced",
    "WhatIf",
    "WorkingHours",
    "asleep",
    "changed",
    "changes_of",
    "consolidate",
    "least_price",
    "observed",
    "obstacle",
    "off_hours",
    "overhead",
    "pack",
    "price",
    "risk",
    "total",
    "what_if",
]
