"""Routes: which channels an alert is said on, and what is wrong with the settings of all of them together.

The first route that fits an alert decides, as in a firewall. Without routes every channel is told of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from spendstream.alerts import Alert, Kind, Severity
from spendstream.mistakes import did_you_mean
from spendstream.notifications.channels import Channel, channel_mistakes

__all__ = ["Route", "leads_to", "setting_mistakes"]


class Route(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alerts of these teams, severities and kinds go to these channels. What is not named may be any."""

    channels: Annotated[tuple[str, ...], Meta(min_length=1)]
    teams: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    kinds: tuple[Kind, ...] = ()

    def fits(self, alert: Alert) -> bool:
        """Tell whether an alert goes this way."""
        return (
            (not self.teams or alert.team in self.teams)
            and (not self.severities or alert.severity in self.severities)
            and (not self.kinds or alert.kind in self.kinds)
        )

    @property
    def fits_all(self) -> bool:
        """Whether every alert goes this way."""
        return not (self.teams or self.severities or self.kinds)


def leads_to(routes: Sequence[Route], alert: Alert, channel: Channel) -> bool:
    """Tell whether `channel` is to be told of `alert`."""
    if channel.severities and alert.severity not in channel.severities:
        return False
    chosen = next((route for route in routes if route.fits(alert)), None)
    return chosen is None or channel.name in chosen.channels


def setting_mistakes(channels: Sequence[Channel], routes: Sequence[Route]) -> Iterator[str]:
    """Yield what is wrong with channels and routes, one by one and together; no mistake shows a secret."""
    names = [channel.name for channel in channels]
    for channel in channels:
        yield from (f"channel {channel.name}: {mistake}" for mistake in channel_mistakes(channel))
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"channel {name}: is there twice"
    if routes:
        yield from _route_mistakes(names, routes)


def _route_mistakes(names: Sequence[str], routes: Sequence[Route]) -> Iterator[str]:
    led_to = {name for route in routes for name in route.channels}
    for number, route in enumerate(routes, 1):
        for name in route.channels:
            if name not in names:
                yield f"alert_route {number}: there is no channel {name}{did_you_mean(name, names)}"
        if route.fits_all and number < len(routes):
            yield f"alert_route {number}: fits every alert, so that those after it are never asked"
    for name in names:
        if name not in led_to:
            yield f"channel {name}: no alert_route leads to it"
    if not routes[-1].fits_all:
        yield "alert_route: alerts that fit none would be lost: end with one that has channels only"
