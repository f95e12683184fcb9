"""What several dashboards ask, and how they show it."""

from __future__ import annotations

from dashboards.panel import Panel, Threshold
from dashboards.sql import ALL_SPEND, TEAM, WHOSE, chosen, money, over_time

__all__ = [
    "ABOUT_BUDGETS",
    "ALLOCATED",
    "AVOIDED",
    "FIRING",
    "HOURS",
    "NEWEST_STANDING",
    "RECOMMENDED",
    "USED",
    "a_month",
    "avoided_by",
    "spend_by_team",
]

FIRING = "state = 'firing' AND started_at <= $__toTime"
ABOUT_BUDGETS = "kind IN ('budget_threshold', 'burn_rate', 'budget_forecast')"
"""Alerts, by what they say."""

NEWEST_STANDING = (
    "SELECT * FROM budget_standing WHERE $__timeFilter(at) "
    f"AND {chosen('owner', 'team')} ORDER BY at DESC LIMIT 1 BY budget"
)
"""How each budget last stood in the range; alerts about it go to its owner."""

USED = (Threshold(value=0.8, colour="orange"), Threshold(value=1, colour="red"))
"""How much of a limit is used, as a share."""

HOURS = "hour >= toStartOfHour($__fromTime) AND hour <= $__toTime"
ALLOCATED = f"{HOURS} AND {chosen('cluster')} AND {WHOSE}"
"""Lines of clusters' bills, by the hour, as chosen."""

RECOMMENDED = f"at <= $__toTime AND {TEAM}"
"""Recommendations of the chosen teams."""

AVOIDED = "sum(avoided_by_cache) + sum(avoided_by_routing) + sum(avoided_by_compression)"
"""What calls would have cost more."""


def avoided_by(scale: str = "") -> str:
    """Return columns of what was avoided, by what avoided it; `scale` follows each amount."""
    parts = (("cache", "cache"), ("routing", "routing"), ("compression", '"shorter prompts"'))
    return ", ".join(f"{money(f'sum(avoided_by_{part})')} {scale} AS {name}" for part, name in parts)


def a_month(per_hour: str) -> str:
    """Return dollars an hour as dollars a month of 730 hours, as cloud providers count them."""
    return f"{money(per_hour)} * 730"


def spend_by_team(name: str, title: str) -> Panel:
    """Return the panel of spend over time by team, with an id and a title of its page's own."""
    return Panel(
        id=name,
        title=title,
        description="Spend by team. The first and the last bar are whole, also where the range begins or "
        "ends inside.",
        kind="bars",
        unit="usd",
        sql=over_time("team", ALL_SPEND, f"{money()} AS spend"),
        width=16,
        height=9,
    )
