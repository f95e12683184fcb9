"""What a gateway costs: ours with everything on, LiteLLM, Portkey, TensorZero, and bare proxies as limits.

Each in turn stands between the same load and the same provider, which answers at once, and has a core to
itself; load, provider, Kafka and Redis share the others. Latencies are what is added over asking the provider
directly. CPU is that of the gateway's process and all it starts. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.children import BenchmarkError
from benchmarks.loading import BODY_BYTES, Loaded
from benchmarks.ours import gateway
from benchmarks.peers.proxies import PROXIES, Proxy, leave_the_core
from benchmarks.peers.upstream import PAUSE_S
from benchmarks.proxying import CONNECTIONS, HIT, KINDS, MOST_S, Figures, Measured, Measuring, upstream
from benchmarks.reporting import Machine, at_least, machine, options, report
from spendstream import __version__

OURS = Proxy(
    name="spendstream",
    title="Spendstream gateway, everything on",
    install=lambda: "",
    version=lambda: __version__,
    start=lambda _, address, folder: gateway(address, folder),
)
_ALL = (OURS, *PROXIES)


class _Ratios(Struct, frozen=True, kw_only=True):
    """How many times our CPU for each request a gateway takes; how many times its requests/s we answer."""

    cpu: float
    requests_per_second: float


class _Report(Struct, frozen=True, kw_only=True):
    """One run. `ratios` are by gateway and kind of request, where ours was measured too.

    `skipped` says of gateways that could not be installed why.
    """

    machine: Machine
    connections: int
    direct: Mapping[str, Loaded]
    gateways: Sequence[Measured]
    skipped: Mapping[str, str]
    ratios: Mapping[str, Mapping[str, _Ratios]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    measured = report(lambda folder, bars: _run(asked, folder, bars), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument(
        "--requests",
        type=at_least(1000),
        default=20_000,
        help=f"how many chats, or as many as are answered in {MOST_S:.0f} seconds; of streams, fewer",
    )
    names = [proxy.name for proxy in _ALL]
    parser.add_argument("--peers", nargs="+", choices=names, default=names, help="measure these only")
    return parser.parse_args(argv)


def _run(asked: argparse.Namespace, folder: Path, bars: Progress) -> _Report:
    where = machine()
    leave_the_core()
    installed, skipped = _installed([proxy for proxy in _ALL if proxy.name in asked.peers])
    bar = bars.add_task("the provider itself", total=len(installed) + 1)
    with upstream(folder) as provider:
        measuring = Measuring(provider, asked.requests)
        measured = []
        for proxy, program in installed.items():
            bars.update(bar, description=proxy.title, advance=1)
            measured.append(_measured(proxy, program, provider.address, measuring, folder))
        bars.advance(bar)
    return _Report(
        machine=where,
        connections=CONNECTIONS,
        direct=measuring.direct,
        gateways=measured,
        skipped=skipped,
        ratios=_ratios(measured),
    )


def _installed(proxies: Sequence[Proxy]) -> tuple[dict[Proxy, str], dict[str, str]]:
    """Return where each gateway is that can run, and why the others cannot."""
    installed, skipped = {}, {}
    for proxy in proxies:
        try:
            installed[proxy] = proxy.install()
        except BenchmarkError as error:
            skipped[proxy.name] = str(error)
    return installed, skipped


def _measured(proxy: Proxy, program: str, address: str, measuring: Measuring, folder: Path) -> Measured:
    own = folder / proxy.name
    own.mkdir()
    kinds = [kind for kind in KINDS if proxy is OURS or kind is not HIT]
    with proxy.start(program, address, own) as door:
        return measuring.through(proxy.name, proxy.version(), door, kinds)


def _ratios(measured: Sequence[Measured]) -> dict[str, dict[str, _Ratios]]:
    ours = next((found for found in measured if found.name == OURS.name), None)
    if ours is None:
        return {}
    return {
        theirs.name: {kind: _ratio(ours.kinds[kind], figures) for kind, figures in theirs.kinds.items()}
        for theirs in measured
        if theirs is not ours
    }


def _ratio(ours: Figures, theirs: Figures) -> _Ratios:
    return _Ratios(
        cpu=round(theirs.cpu_us / ours.cpu_us, 2),
        requests_per_second=round(ours.requests_per_second / theirs.requests_per_second, 2),
    )


def _show(report: _Report, console: Console) -> None:
    console.print(f"{report.machine}; requests of {BODY_BYTES} bytes; {report.connections} connections, or 1")
    for kind in KINDS:
        console.print(_table(report, kind.name, kind.title))
    for found in report.gateways:
        console.print(_described(found), highlight=False)
    console.print(
        "CPU is user and system time of the gateway and all it starts, for each request. Added is what a "
        "whole reply takes more than from the provider directly, median/99 of 100; alone is at one "
        f"connection. Ratios: ours is 1, more is worse. Chunks of a stream are {PAUSE_S * 1e3:.0f} ms apart, "
        "which bounds streams/s."
    )
    for name, reason in report.skipped.items():
        console.print(f"Skipped {name}: {reason}", markup=False)


def _described(found: Measured) -> str:
    title = next(proxy.title for proxy in _ALL if proxy.name == found.name)
    kinds = list(found.kinds.values())
    others = max(figures.load_percent + figures.provider_percent for figures in kinds)
    return (
        f"{found.name} {found.version}: {title}. {found.cpu_us_per_chunk:.1f} µs of CPU for each chunk; "
        f"{kinds[0].mib_before:,} MiB at first, {kinds[-1].mib_after:,} at last; load and provider together "
        f"took at most {others:.0f} % of a core."
    )


def _table(report: _Report, kind: str, title: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("gateway", no_wrap=True)
    for name in ("req/s", "CPU µs", "added ms", "alone ms", "CPU ratio", "req/s ratio"):
        table.add_column(name, justify="right", no_wrap=name.endswith("ms"))
    direct = report.direct.get(kind)
    if direct:
        table.add_row("directly", f"{direct.requests_per_second:,.0f}", style="dim")
    for found in report.gateways:
        if kind in found.kinds:
            table.add_row(found.name, *_cells(found.kinds[kind], report.ratios.get(found.name, {}).get(kind)))
    return table


def _cells(figures: Figures, ratios: _Ratios | None) -> Iterator[str]:
    yield f"{figures.requests_per_second:,.0f}"
    yield f"{figures.cpu_us:,.0f}"
    yield _milliseconds(figures.added_p50_us, figures.added_p99_us)
    yield _milliseconds(figures.added_alone_p50_us, figures.added_alone_p99_us)
    yield f"{ratios.cpu:.1f}" if ratios else ""
    yield f"{ratios.requests_per_second:.1f}" if ratios else ""


def _milliseconds(*micros: float) -> str:
    return "/".join(f"{value / 1e3:.2f}" for value in micros)


if __name__ == "__main__":
    sys.exit(main())
