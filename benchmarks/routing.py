"""What routing by complexity saves: cost against quality, beside random mixing and the oracle.

Questions of GSM8K that a cheap and a strong model answered (RouteLLM, Apache-2.0), in `PUBLIC_DATA` or a
folder shared/data beside the repository. The router learned from one half of them; the other half is judged.
APGR is the area under the curve of quality over strong calls: random mixing has .5, the oracle, which knows
who will be right, the most there is. Intervals are of 95 %, by drawing the judged questions again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.reporting import at_least, options, report
from benchmarks.routellm import Floats, Question, apgr, calls_needed, curve, gains, halves, load
from benchmarks.routing_training import cross_validated
from benchmarks.shared_data import located
from spendstream.pricing.book import PriceBook, Rates, table
from spendstream.routing import Call, Outcome, Router, read_routes
from spendstream.routing.complexity import shipped

_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_GAPS = (0.5, 0.8)


class _Interval(Struct, frozen=True, kw_only=True):
    value: float
    low: float
    high: float


class _Figures(Struct, frozen=True, kw_only=True):
    """One way to choose: its area, strong calls for shares of the gap, accuracy by share of strong calls."""

    router: str
    apgr: _Interval
    calls_for: Mapping[str, _Interval]
    accuracy: Mapping[str, float]


class _Report(Struct, frozen=True, kw_only=True):
    """One run. `above_random` is the area above random's as part of the oracle's above random's."""

    learned_from: int
    judged: int
    cheap_accuracy: float
    strong_accuracy: float
    cross_validated_apgr: float
    above_random: float
    routers: Sequence[_Figures]
    decision_us: Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = options(__doc__)
    parser.add_argument("--draws", type=at_least(20), default=1_000, help="draws of the bootstrap")
    parsed = parser.parse_args(argv)

    def measure(_folder: Path, bars: Progress) -> _Report:
        return _measured(parsed.draws, bars)

    return 0 if report(measure, _show, as_json=parsed.json) else 1


def _measured(draws: int, bars: Progress) -> _Report:
    learned, judged = halves(load(located("routellm/gsm8k_responses.csv.gz")))
    complexity, gained = shipped(), gains(judged)
    rng = np.random.default_rng(1)
    routers: Mapping[str, Callable[[], Floats]] = {
        "complexity": lambda: np.array([complexity(question.prompt) for question in judged]),
        "prompt length": lambda: np.array([float(len(question.prompt)) for question in judged]),
        "random": lambda: np.zeros(len(judged)),
        "oracle": lambda: gained,
    }
    task = bars.add_task("routers", total=len(routers))
    figures = []
    for name, scores in routers.items():
        figures.append(_figures(name, scores(), judged, draws, rng))
        bars.advance(task)
    area = {each.router: each.apgr.value for each in figures}
    return _Report(
        learned_from=len(learned),
        judged=len(judged),
        cheap_accuracy=float(np.mean([question.cheap for question in judged])),
        strong_accuracy=float(np.mean([question.strong for question in judged])),
        cross_validated_apgr=cross_validated(learned),
        above_random=(area["complexity"] - 0.5) / (area["oracle"] - 0.5),
        routers=figures,
        decision_us=_decision_times(),
    )


def _figures(
    name: str, scores: Floats, judged: Sequence[Question], draws: int, rng: np.random.Generator
) -> _Figures:
    gained = gains(judged)
    areas, needed = [], {share: [] for share in _GAPS}
    for _ in range(draws):
        drawn = rng.integers(len(judged), size=len(judged))
        areas.append(_area(name, scores[drawn], gained[drawn]))
        for share in _GAPS:
            needed[share].append(_needed(name, scores[drawn], gained[drawn], share))
    cheap, gap = np.mean([question.cheap for question in judged]), gained.mean()
    points = np.linspace(0, 1, len(judged) + 1) if name == "random" else curve(scores, gained)
    return _Figures(
        router=name,
        apgr=_interval(_area(name, scores, gained), areas),
        calls_for={
            f"{share:.0%}": _interval(_needed(name, scores, gained, share), needed[share]) for share in _GAPS
        },
        accuracy={
            f"{share:.0%}": float(cheap + gap * points[round(share * len(judged))])
            for share in (0.0, *_SHARES, 1.0)
        },
    )


def _area(name: str, scores: Floats, gained: Floats) -> float:
    return 0.5 if name == "random" else apgr(scores, gained)


def _needed(name: str, scores: Floats, gained: Floats, share: float) -> float:
    return share if name == "random" else calls_needed(scores, gained, share)


def _interval(value: float, drawn: Sequence[float]) -> _Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return _Interval(value=value, low=float(low), high=float(high))


def _decision_times(rounds: int = 5, calls: int = 2_000) -> Mapping[str, float]:
    """Return the CPU time of a decision among three candidates, in microseconds: the best of some rounds."""
    prompt = (
        "Tom has 3 boxes, each with 12 pencils; he gives half of them to Ann, and keeps the rest. " * 12
    )[:1024]
    times = {}
    for strategy in ("cheapest", "fastest", "balanced", "quality-first", "mix", "complexity"):
        router = _router(strategy)
        call = Call(model="smart", prompt=prompt, prompt_tokens=250, team="search")
        best = float("inf")
        for _ in range(rounds):
            started = time.process_time()
            for now in range(calls):
                router.decide(call, now, healthy=_healthy)
            best = min(best, (time.process_time() - started) / calls)
        times[strategy] = 1e6 * best
    return times


def _healthy(_provider: str, _model: str) -> bool:
    return True


def _router(strategy: str) -> Router:
    rates = Rates(input=10**12, output=4 * 10**12, cache_read=10**11, cache_write=10**12)
    book = PriceBook(table([("one", "small", rates), ("two", "middle", rates), ("three", "large", rates)]))
    candidates = [
        {"provider": "one", "model": "small", "share": 30, "quality": 60, "up_to": 0.4},
        {"provider": "two", "model": "middle", "share": 50, "quality": 75, "up_to": 0.7},
        {"provider": "three", "model": "large", "share": 20, "quality": 90},
    ]
    rules = [{"when": {"team": "research", "tools": True}, "use": "large"}]
    route = {"name": "smart", "strategy": strategy, "candidates": candidates, "rules": rules}
    router = Router(read_routes([route]), prices=book.find)
    for place, each in enumerate(candidates):
        outcome = Outcome(
            provider=str(each["provider"]),
            model=str(each["model"]),
            latency=10**5 * (place + 1),
            output_tokens=200,
        )
        router.statistics.seen(outcome, 0)
    return router


def _show(measured: _Report, console: Console) -> None:
    title = (
        f"GSM8K, {measured.judged} questions judged, {measured.learned_from} others learned from: "
        f"cheap {measured.cheap_accuracy:.1%} right, strong {measured.strong_accuracy:.1%}"
    )
    shown = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    shown.add_column("router", no_wrap=True)
    for name in (
        "APGR",
        "95 %",
        *(f"gap {share:.0%}" for share in _GAPS),
        *(f"{share:.0%}" for share in (0.2, 0.4, 0.6, 0.8)),
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    for each in measured.routers:
        shown.add_row(
            each.router,
            f"{each.apgr.value:.3f}",
            f"{each.apgr.low:.2f}-{each.apgr.high:.2f}",
            *(f"{each.calls_for[f'{share:.0%}'].value:.0%}" for share in _GAPS),
            *(f"{each.accuracy[f'{share:.0%}']:.1%}" for share in (0.2, 0.4, 0.6, 0.8)),
        )
    console.print(shown)
    console.print(
        "gap: share of strong calls that recovers so much of it. Then: accuracy at a share of strong calls."
    )
    console.print(
        f"Area above random: {measured.above_random:.0%} of the oracle's. Within the learning half, "
        f"cross-validated: APGR {measured.cross_validated_apgr:.3f}."
    )
    times = ", ".join(f"{name} {us:.1f}" for name, us in measured.decision_us.items())
    console.print(f"A decision among three candidates, a prompt of 1 KiB, CPU µs: {times}.")


if __name__ == "__main__":
    sys.exit(main())
