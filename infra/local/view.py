"""The live view: a reading as a picture in the terminal. Pure: values in, rich renderables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from infra.local.readings import Reading
from spendstream.money import format_usd

__all__ = ["line", "picture"]

_BARS = "▁▂▃▄▅▆▇█"


def picture(reading: Reading, addresses: Mapping[str, str], restarts: Mapping[str, int]) -> RenderableType:
    """Return the whole view of one reading."""
    return Panel(
        Group(
            Columns([_number(*item) for item in _numbers(reading)], equal=True, expand=True),
            Text(""),
            Columns([_teams(reading), Group(*_spend(reading), Text(""), *_flow(reading))], expand=True),
            Text(""),
            _alerts(reading, restarts),
            _addresses(addresses),
        ),
        title="[bold]Spendstream[/] · what AI and Kubernetes cost, while it is being spent",
        subtitle="Ctrl-C stops everything in order",
        border_style="cyan",
    )


def line(reading: Reading, seconds: float) -> str:
    """Return a reading as one line, for logs and pipes."""
    ratio = "-" if reading.cache_hit_ratio is None else f"{reading.cache_hit_ratio:.1%}"
    return (
        f"{seconds:5.0f} s  spend {format_usd(reading.cost, decimals=4)}  "
        f"tokens {reading.input_tokens + reading.output_tokens:,}  cache hits {ratio}  "
        f"in {reading.received:,}  landed {reading.landed:,}  lag {reading.lag:,}"
    )


def _numbers(reading: Reading) -> Sequence[tuple[str, str]]:
    ratio = reading.cache_hit_ratio
    return [
        ("spend", format_usd(reading.cost, decimals=4)),
        ("calls", f"{reading.calls:,}"),
        ("tokens in", f"{reading.input_tokens:,}"),
        ("tokens out", f"{reading.output_tokens:,}"),
        ("cache hits", "-" if ratio is None else f"{ratio:.1%}"),
    ]


def _number(name: str, value: str) -> RenderableType:
    return Text.assemble((value, "bold bright_white"), "\n", (name, "dim"))


def _teams(reading: Reading) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("team")
    for name in ("spend", "calls", "tokens"):
        table.add_column(name, justify="right")
    for team in reading.teams:
        spend = format_usd(team.cost, decimals=4)
        table.add_row(team.team or "(none)", spend, f"{team.events:,}", f"{team.tokens:,}")
    return table


def _spend(reading: Reading) -> list[RenderableType]:
    return [
        Text("spend a minute", style="dim"),
        Text(_sparkline([cost for _, cost in reading.minutes]), style="green"),
    ]


def _flow(reading: Reading) -> list[RenderableType]:
    lag = "green" if reading.lag == 0 else "yellow"
    return [
        Text("events", style="dim"),
        Text.assemble(f"in {reading.received:,}  landed {reading.landed:,}  ", (f"lag {reading.lag:,}", lag)),
    ]


def _alerts(reading: Reading, restarts: Mapping[str, int]) -> Text:
    """Return what a person should look at: nothing is hidden, and nothing is cried over."""
    alerts = [*reading.alerts, *(f"{name} was restarted {count} times" for name, count in restarts.items())]
    if reading.dead_letters:
        alerts.append(
            f"{reading.dead_letters:,} dead letters (spendstream query 'SELECT * FROM dead_letter')"
        )
    if reading.unpriced:
        alerts.append(f"{reading.unpriced:,} events without a price")
    if not alerts:
        return Text.assemble(("alerts  ", "dim"), ("none", "green"))
    return Text.assemble(("alerts  ", "dim"), ("; ".join(alerts), "bold red"))


def _addresses(addresses: Mapping[str, str]) -> Text:
    parts = [
        Text.assemble((f"{name} ", "dim"), (where, "cyan")) for name, where in addresses.items() if where
    ]
    return Text("   ").join(parts)


def _sparkline(values: Sequence[int]) -> str:
    top = max(values, default=0)
    if top == 0:
        return "waiting for the first minute"
    return "".join(_BARS[value * (len(_BARS) - 1) // top] for value in values)
