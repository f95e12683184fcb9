"""Who pays for what of a cluster: exact shares of nodes, volumes and what is shared, and what nobody used.

A producer prices each sample when it makes it. From then on everything is a sum of whole numbers, so that
neither order nor lateness nor duplicates of samples change it. What a node costs and nobody was allocated is
idle; what was allocated beyond that is overcommit. So per node, hour and resource, allocated + idle +
overcommit is the price, exactly.
"""

from __future__ import annotations

from spendstream.allocation.efficiency import Efficiency, efficiency_of
from spendstream.allocation.intervals import cut
from spendstream.allocation.lines import idle_and_overcommit
from spendstream.allocation.rates import DEVICE, GIB, NANO, OPENCOST, Rate, Rates, accrued, node_rates
from spendstream.allocation.requests import InitContainer, Request, effective_request, remainder, resized
from spendstream.allocation.samples import priced_asset, priced_container, rates_of
from spendstream.allocation.sharing import Sharing, Slice, distributed
from spendstream.allocation.windows import AllocationDimensions, AllocationMeasures

__all__ = [
    "DEVICE",
    "GIB",
    "NANO",
    "OPENCOST",
    "AllocationDimensions",
    "AllocationMeasures",
    "Efficiency",
    "InitContainer",
    "Rate",
    "Rates",
    "Request",
    "Sharing",
    "Slice",
    "accrued",
    "cut",
    "distributed",
    "effective_request",
    "efficiency_of",
    "idle_and_overcommit",
    "node_rates",
    "priced_asset",
    "priced_container",
    "rates_of",
    "remainder",
    "resized",
]
