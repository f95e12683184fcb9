"""How well anomalies are detected: NAB's score of each of our detectors, beside the published ones.

`PUBLIC_DATA`, or a folder shared/data beside the repository, holds nab/data and nab/labels. Published
scores are of all 58 files. Where fewer are there, ours are of a part, and not strictly comparable; the table
says of how many. A score's threshold is the best one in hindsight, as NAB has it for everyone; the column
"@3.1" is the score at the severity from which Spendstream warns, fixed beforehand.

A second table is about cost: made-up hourly series with daily and weekly seasons, and a spike of three hours.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
from msgspec import Struct
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks import shared_data
from benchmarks.nab import PROFILES, File, counts, load, score, score_at
from spendstream.anomalies.detector import CRITICAL, HIGH, WARN, Detector
from spendstream.anomalies.holt_winters import HoltWinters
from spendstream.anomalies.iqr import InterquartileRange
from spendstream.anomalies.novelty import Novelty
from spendstream.anomalies.outlier import Outlier, fit
from spendstream.anomalies.robust_z import RobustZ
from spendstream.windows import HOUR

_FILES_OF_NAB = 58

DETECTORS: Mapping[str, Callable[[], Detector]] = {
    "novelty": partial(Novelty.remembering, 30_000),
    "iqr": InterquartileRange,
    "robust_z": RobustZ,
    "knn": partial(Outlier, "knn"),
    "hbos": partial(Outlier, "hbos"),
    "iforest": partial(Outlier, "iforest"),
    "ecod": partial(Outlier, "ecod"),
    "copod": partial(Outlier, "copod"),
}
_SLOW = ("hbos", "iforest", "ecod", "copod")

PUBLISHED: Mapping[str, tuple[float, float, float]] = {
    "ARTime": (74.9, 65.1, 80.4),
    "Numenta HTM": (70.5, 62.6, 75.2),
    "CAD OSE": (69.9, 67.0, 73.2),
    "KNN CAD": (58.0, 43.4, 64.8),
    "Relative Entropy": (54.6, 47.6, 58.8),
    "Random Cut Forest": (51.7, 38.4, 59.7),
    "Twitter ADVec": (47.1, 33.6, 53.5),
    "Windowed Gaussian": (39.6, 20.9, 47.4),
}
"""Standard, low FP, low FN: from the scoreboard in NAB's README, over all 58 files; of HTM the better run."""


class _Level(Struct, frozen=True, kw_only=True):
    """What is told from a severity on: false alarms per series and day, and how many alarms were true."""

    severity: float
    found: int
    false_per_day: float
    precision: float


class _Figures(Struct, frozen=True, kw_only=True):
    """One detector. `scores` by NAB's profiles; `at_warn` is the standard one at a severity of 3.1."""

    detector: str
    scores: Mapping[str, float]
    at_warn: float
    levels: Sequence[_Level]
    microseconds: float


class _Spikes(Struct, frozen=True, kw_only=True):
    """Spikes of three hours in hourly cost: the share that was found, and false alarms per key and day."""

    noise: float
    found: Mapping[str, float]
    false_per_day: float


class _Report(Struct, frozen=True, kw_only=True):
    """One run; `published` are scores over 58 files."""

    files: int
    windows: int
    detectors: Sequence[_Figures]
    published: Mapping[str, tuple[float, float, float]]
    hourly_spikes: Sequence[_Spikes]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = _options(argv)
    folder = shared_data.folder() / "nab"
    if not (folder / "labels" / "combined_windows.json").is_file():
        print(
            f"benchmark: no NAB in {folder}: set PUBLIC_DATA to the folder that holds it",
            file=sys.stderr,
        )
        return 1
    files = load(folder)
    wanted = options.detector or [name for name in DETECTORS if name not in _SLOW]
    figures = [_measured(name, files) for name in wanted]
    report = _Report(
        files=len(files),
        windows=sum(len(file.windows) for file in files),
        detectors=figures,
        published=PUBLISHED,
        hourly_spikes=[_spikes(noise) for noise in (0.03, 0.06, 0.12)],
    )
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _show(report, Console())
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--detector",
        action="append",
        choices=list(DETECTORS),
        help=f"measure this one; repeatable; {', '.join(_SLOW)} take minutes and only run when asked for",
    )
    return parser.parse_args(argv)


def _measured(name: str, files: Sequence[File]) -> _Figures:
    started = time.process_time()
    severities = [_alerts(DETECTORS[name](), file.times, file.values) for file in files]
    seconds = time.process_time() - started
    days = sum(file.days for file in files)
    return _Figures(
        detector=name,
        scores={each: score(files, severities, profile).score for each, profile in PROFILES.items()},
        at_warn=score_at(files, severities, PROFILES["standard"], WARN),
        levels=[_level(files, severities, severity, days) for severity in (WARN, HIGH, CRITICAL)],
        microseconds=1e6 * seconds / sum(len(file.values) for file in files),
    )


def _alerts(detector: Detector, times: Sequence[int], values: Sequence[float]) -> list[float]:
    alerts = []
    for at, value in zip(times, values, strict=True):
        found = detector.update(value, at)
        alerts.append(found.alert if found else 0.0)
        if isinstance(detector, Outlier) and detector.needs_refit():
            detector.adopt(fit(detector.training()))
    return alerts


def _level(
    files: Sequence[File], severities: Sequence[Sequence[float]], severity: float, days: float
) -> _Level:
    told = counts(files, severities, severity)
    return _Level(
        severity=severity,
        found=told.found,
        false_per_day=told.false_alarms / days,
        precision=told.found / max(told.found + told.false_alarms, 1),
    )


def _spikes(noise: float, keys: int = 30) -> _Spikes:
    """Measure the hourly detector, after its first week, on healthy series and on the same with a spike."""
    false_alarms, found = 0, {"x1.3": 0, "x1.5": 0, "x2": 0}
    for key in range(keys):
        rng = random.Random(key)  # noqa: S311  # no secret
        values = _hours(rng, noise)
        start = rng.randrange(28 * 24, 34 * 24)
        times = [place * HOUR for place in range(len(values))]
        false_alarms += sum(alert >= WARN for alert in _alerts(HoltWinters.hourly(), times, values)[7 * 24 :])
        for name in found:
            factor = float(name[1:])
            spiked = [
                value * (factor if start <= place < start + 3 else 1) for place, value in enumerate(values)
            ]
            found[name] += max(_alerts(HoltWinters.hourly(), times, spiked)[start : start + 3]) >= WARN
    return _Spikes(
        noise=noise,
        found={name: hits / keys for name, hits in found.items()},
        false_per_day=false_alarms / keys / 28,
    )


def _hours(rng: random.Random, noise: float) -> list[float]:
    """Return five weeks of hourly cost: a day's and a week's season, and noise half of which lingers."""
    swing, peak, weekend, lingering = rng.uniform(0.3, 1.2), rng.randrange(24), rng.uniform(0.2, 1), 0.0
    values = []
    for hour in range(35 * 24):
        lingering = 0.7 * lingering + rng.gauss(0, noise / 2)
        season = swing * math.cos(2 * math.pi * (hour - peak) / 24)
        level = 1e10 * (weekend if hour // 24 % 7 > 4 else 1)  # noqa: PLR2004  # Saturday and Sunday
        values.append(level * math.exp(season + lingering + rng.gauss(0, noise)))
    return values


def _show(report: _Report, console: Console) -> None:
    part = f"{report.files} of {_FILES_OF_NAB} files, {report.windows} windows"
    table = Table(title=f"NAB: ours on {part}; published on all below", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("detector", no_wrap=True)
    for name in ("standard", "low FP", "low FN", "@3.1", "found", "FA/day", "prec.", "µs"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in report.detectors:
        warn = each.levels[0]
        scores = [f"{each.scores[profile]:.1f}" for profile in PROFILES]
        rest = [f"{warn.found}/{report.windows}", f"{warn.false_per_day:.3f}", f"{warn.precision:.2f}"]
        table.add_row(each.detector, *scores, f"{each.at_warn:.1f}", *rest, f"{each.microseconds:.0f}")
    table.add_section()
    for name, scores_published in report.published.items():
        table.add_row(name, *(f"{value:.1f}" for value in scores_published))
    console.print(table)
    console.print(
        "@3.1, found, false alarms (FA) per series and day, precision: at severity 3.1. µs: CPU for a value."
    )
    if report.files < _FILES_OF_NAB:
        console.print(f"Only a part of NAB is here ({part}): a score on a part is no score on the whole.")
    _show_spikes(report.hourly_spikes, console)


def _show_spikes(spikes: Sequence[_Spikes], console: Console) -> None:
    table = Table(title="Hourly cost, made up: spikes of three hours found by Holt-Winters", box=SIMPLE)
    table.add_column("noise")
    for name in (*spikes[0].found, "false alarms/key/day"):
        table.add_column(name, justify="right")
    for each in spikes:
        table.add_row(
            f"{each.noise:.0%}",
            *(f"{share:.0%}" for share in each.found.values()),
            f"{each.false_per_day:.4f}",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
