"""All dashboards, in the order in which they are looked at."""

from __future__ import annotations

from dashboards.catalogue.ai_spend import AI_SPEND
from dashboards.catalogue.anomalies import ANOMALIES
from dashboards.catalogue.budgets import BUDGETS
from dashboards.catalogue.kubernetes import KUBERNETES
from dashboards.catalogue.optimisation import OPTIMISATION
from dashboards.catalogue.overview import OVERVIEW
from dashboards.catalogue.teams import TEAMS
from dashboards.catalogue.trust import TRUST

__all__ = ["DASHBOARDS"]

DASHBOARDS = (OVERVIEW, TEAMS, AI_SPEND, KUBERNETES, BUDGETS, ANOMALIES, OPTIMISATION, TRUST)
