"""A comparison for people: what was spent before and after, what saved how much, and what was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producers.simulation.comparison import CAUSES, Comparison
from producers.simulation.figures import Account
from spendstream.money import format_usd
from spendstream.rightsizing.amounts import cpu_quantity, memory_quantity
from spendstream.rightsizing.sizing import Decision, Sizing

__all__ = ["bill", "chart", "requests"]

_WIDTH = 32
_HOUR = 3600 * 10**6
_COLOURS = {"compute": "cyan", "ai": "magenta"}
_NAMES = {"compute": "compute", "ai": "AI"}


def chart(comparison: Comparison) -> RenderableType:
    """Return the whole comparison."""
    return Group(_totals(comparison), Text(), _causes(comparison), Text(), *_notes(comparison))


def bill(account: Account) -> RenderableType:
    """Return what one run cost."""
    table = Table("", "spent", "", box=None, header_style="bold", pad_edge=False)
    table.add_row("compute", format_usd(account.compute), f"node-hours: {_node_hours(account)}")
    table.add_row("AI", format_usd(account.ai), _calls(account))
    table.add_row("total", format_usd(account.compute + account.ai), "")
    return table


def requests(sizings: Mapping[str, Sizing]) -> RenderableType:
    """Return what the recommender said of each workload."""
    table = Table("workload", "CPU", "", "memory", "", box=None, header_style="bold", pad_edge=False)
    for name, sizing in sorted(sizings.items()):
        table.add_row(
            name,
            _change(sizing.cpu, cpu_quantity),
            _why(sizing.cpu),
            _change(sizing.memory, memory_quantity),
            _why(sizing.memory),
        )
    return table


def _totals(found: Comparison) -> Table:
    table = Table("", "unoptimized", "optimized", "saved", "", box=None, header_style="bold", pad_edge=False)
    before, after = found.before, found.after
    rows = (
        ("compute", before.compute, after.compute, "cyan"),
        ("AI", before.ai, after.ai, "magenta"),
        ("total", before.compute + before.ai, after.compute + after.ai, "green"),
    )
    for name, then, now, colour in rows:
        share = Fraction(then - now, then or 1)
        left = _cells(1 - share)
        bars = Text.assemble(("█" * left, colour), ("░" * (_WIDTH - left), "dim"))
        table.add_row(name, format_usd(then), format_usd(now), f"{float(share):.1%}", bars)
    for column in table.columns[1:4]:
        column.justify = "right"
    return table


def _causes(found: Comparison) -> Table:
    table = Table("saved by", "", "", "of its part", "", box=None, header_style="bold", pad_edge=False)
    parts = {"compute": (found.compute, found.before.compute), "ai": (found.ai, found.before.ai)}
    for part, (causes, before) in parts.items():
        for number, cause in enumerate(CAUSES[part]):
            share = Fraction(causes[cause], before or 1)
            bars = Text("█" * _cells(share), style=_COLOURS[part])
            name = "" if number else _NAMES[part]
            table.add_row(name, cause, format_usd(causes[cause]), f"{float(share):.1%}", bars)
    for column in table.columns[2:4]:
        column.justify = "right"
    return table


def _cells(share: Fraction) -> int:
    """Return how many cells of a bar a share is."""
    return min(max(round(_WIDTH * share), 0), _WIDTH)


def _notes(found: Comparison) -> Iterator[Text]:
    then, now = found.before, found.after
    yield Text(f"node-hours  {_node_hours(then)} -> {_node_hours(now)}")
    yield Text(f"idle        {format_usd(then.idle)} -> {format_usd(now.idle)}")
    freed = 1 - Fraction(*(sum(each.cpu_requested for each in run.containers) for run in (now, then)))
    memory = 1 - Fraction(*(sum(each.memory_requested for each in run.containers) for run in (now, then)))
    yield Text(f"requests    {float(freed):.1%} of CPU and {float(memory):.1%} of memory freed")
    samples = sum(each.samples for each in now.containers) or 1
    over = sum(each.memory_over for each in now.containers), sum(each.cpu_over for each in now.containers)
    yield Text(
        f"pressure    memory above its request in {over[0] / samples:.2%} of the samples, "
        f"CPU in {over[1] / samples:.2%}"
    )
    yield Text(f"cache       {float(found.hit_rate):.1%} of {_calls(now)}")


def _node_hours(account: Account) -> str:
    hours = {"spot": 0, "on demand": 0}
    for line in account.nodes:
        hours["spot" if line.purchase_option == "spot" else "on demand"] += line.time
    return ", ".join(f"{time / _HOUR:,.0f} {name}" for name, time in hours.items() if time)


def _calls(account: Account) -> str:
    hits = account.answered("exact"), account.answered("semantic")
    return f"{account.answered():,} calls: {hits[0]:,} in the same words, {hits[1]:,} of the same meaning"


def _why(decision: Decision) -> Text:
    """Return the reason, unless what changes speaks for itself."""
    return Text("" if decision.verdict == "lower" else decision.reason, style="dim")


def _change(decision: Decision, written: Callable[[int], str]) -> str:
    now, then = written(decision.current), written(decision.target)
    return now if now == then else f"{now} -> {then}"
