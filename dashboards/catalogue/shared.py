"""SQL that several dashboards ask."""

from __future__ import annotations

from dashboards.sql import TEAM, WHOSE, chosen

__all__ = ["ALLOCATED", "FIRING", "NEWEST_STANDING", "RECOMMENDED"]

FIRING = "state = 'firing' AND started_at <= $__toTime"

NEWEST_STANDING = (
    "SELECT * FROM budget_standing WHERE $__timeFilter(at) "
    f"AND {chosen('owner', 'team')} ORDER BY at DESC LIMIT 1 BY budget"
)
"""How each budget last stood in the range; alerts about it go to its owner."""

ALLOCATED = f"hour >= toStartOfHour($__fromTime) AND hour <= $__toTime AND {chosen('cluster')} AND {WHOSE}"
"""Lines of clusters' bills, by the hour, as chosen."""

RECOMMENDED = f"at <= $__toTime AND {TEAM}"
"""Recommendations of the chosen teams."""
