"""Routing: which provider's model answers a call, and why.

Pure: time, prices and health are handed in, and the gateway makes the call.

    router = Router(read_routes(document["route"]), prices=book.find)
    decision = router.decide(Call(model="smart", prompt=text), now)
"""

from __future__ import annotations

from spendstream.routing.decision import Call, Decision, NoCandidate
from spendstream.routing.definition import STRATEGIES, Candidate, Condition, Limit, Route, Rule, Weights
from spendstream.routing.reading import BadRoutes, read_routes
from spendstream.routing.router import Router
from spendstream.routing.statistics import Outcome, Standing, Statistics, Target

__all__ = [
    "STRATEGIES",
    "BadRoutes",
    "Call",
    "Candidate",
    "Condition",
    "Decision",
    "Limit",
    "NoCandidate",
    "Outcome",
    "Route",
    "Router",
    "Rule",
    "Standing",
    "Statistics",
    "Target",
    "Weights",
    "read_routes",
]
