"""What the browser is given: the page that draws them all, a dashboard's description, the static files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Any

import msgspec

from dashboards.panel import Dashboard

__all__ = ["ASSETS", "PLOTLY", "described", "page"]

_STATIC = files("dashboards.console") / "static"
ASSETS: Mapping[str, tuple[str, bytes]] = {
    "console.css": ("text/css", (_STATIC / "console.css").read_bytes()),
    "console.js": ("text/javascript", (_STATIC / "console.js").read_bytes()),
    "drawing.js": ("text/javascript", (_STATIC / "drawing.js").read_bytes()),
    "wording.js": ("text/javascript", (_STATIC / "wording.js").read_bytes()),
    "icon.svg": ("image/svg+xml", (_STATIC / "icon.svg").read_bytes()),
}
"""Our files, by name: media type and contents."""

PLOTLY = files("plotly") / "package_data" / "plotly.min.js"
"""The chart library, as its wheel brings it: a machine needs no other host for it than PyPI."""

_PAGE = Template((_STATIC / "page.html").read_text("utf-8"))


def page(dashboard: Dashboard, dashboards: Sequence[Dashboard], token: str) -> str:
    """Return the HTML of a dashboard, without answers. `token` proves that a decision comes from it."""
    links = "\n".join(
        f'<li><a href="/{each.slug}"{_CURRENT if each is dashboard else ""}>{escape(each.title)}</a></li>'
        for each in dashboards
    )
    return _PAGE.substitute(
        title=escape(dashboard.title),
        description=escape(dashboard.description),
        slug=dashboard.slug,
        links=links,
        token=token,
        plotly=f"/static/plotly-{version('plotly')}.js",
    )


_CURRENT = ' aria-current="page"'


def described(dashboard: Dashboard) -> Any:
    """Return a dashboard without its SQL, nor what only Grafana can show, for JSON."""
    return {
        "slug": dashboard.slug,
        "title": dashboard.title,
        "since": dashboard.since,
        "variables": [
            {"name": each.name, "label": each.label, "description": each.description}
            for each in dashboard.variables
        ],
        "rows": [
            {
                "title": row.title,
                "panels": [
                    {
                        name: value
                        for name, value in msgspec.to_builtins(panel).items()
                        if name not in ("sql", "prometheus")
                    }
                    for panel in row.panels
                    if panel.sql
                ],
            }
            for row in dashboard.rows
        ],
    }
