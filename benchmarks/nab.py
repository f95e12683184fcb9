"""The Numenta Anomaly Benchmark: its files, and its scoring, written from its published definition.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark", 2015. The
first 15 % of a file (750 rows at most) are not scored. In each labelled window the earliest detection counts,
the more the earlier it is; a detection outside counts against, the less the closer it follows a window; a
window without detection costs its full weight. One threshold, the best one, holds for all files. The result
is 0 for a detector that says nothing, and 100 for one that detects each window at its first row, and no more.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path

from msgspec import Struct

from spendstream.clock import to_micros

__all__ = ["PROFILES", "Counts", "File", "Profile", "Scored", "counts", "load", "score", "score_at"]

_PROBATION = 0.15
_LONGEST_PROBATION = 0.15 * 5000


class Profile(Struct, frozen=True, kw_only=True):
    """What detections are worth: true ones, false ones, missed ones."""

    true: float = 1.0
    false: float = 0.11
    missed: float = 1.0


PROFILES: Mapping[str, Profile] = {
    "standard": Profile(),
    "low_FP": Profile(false=0.22),
    "low_FN": Profile(missed=2.0),
}


class File(Struct, frozen=True, kw_only=True):
    """One series: times in seconds, values, the first row that is scored, and the windows as row ranges."""

    name: str
    times: Sequence[int]
    values: Sequence[float]
    first: int
    windows: Sequence[tuple[int, int]]

    @property
    def days(self) -> float:
        """How long the scored part is."""
        return (self.times[-1] - self.times[self.first]) / 86_400


class Scored(Struct, frozen=True, kw_only=True):
    """A normalised score, and the threshold that led to it."""

    score: float
    threshold: float


class Counts(Struct, frozen=True, kw_only=True):
    """What a threshold detects: windows found, of how many, and false alarms."""

    found: int
    windows: int
    false_alarms: int


class _Row(Struct, frozen=True):
    severity: float
    window: int  # -1: outside of all
    worth: float  # of a detection, before weights


def load(folder: Path) -> list[File]:
    """Return the labelled files that are there, in the order of their names."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    return [
        _read(folder / "data" / name, name, windows)
        for name, windows in sorted(labels.items())
        if (folder / "data" / name).is_file()
    ]


def _read(path: Path, name: str, windows: Sequence[tuple[str, str]]) -> File:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = [_seconds(row["timestamp"]) for row in rows]
    place = {time: row for row, time in reversed(list(enumerate(times)))}
    return File(
        name=name,
        times=times,
        values=[float(row["value"]) for row in rows],
        first=math.ceil(min(math.floor(_PROBATION * len(rows)), _LONGEST_PROBATION)),
        windows=[(place[_seconds(start)], place[_seconds(end)]) for start, end in windows],
    )


def _seconds(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC)) // 1_000_000


def score(files: Sequence[File], severities: Sequence[Sequence[float]], profile: Profile) -> Scored:
    """Return the score at the best threshold, of one severity for each row of each file."""
    rows, windows = _rows(files, severities)
    missed = total = -profile.missed * windows
    best, threshold = total, math.inf
    gained: dict[int, float] = {}
    rows.sort(key=lambda row: -row.severity)
    for severity, tied in groupby(rows, key=lambda row: row.severity):
        for row in tied:
            if row.window < 0:
                total += row.worth * profile.false
                continue
            before = gained.get(row.window, -profile.missed)
            gained[row.window] = max(before, row.worth * profile.true)
            total += gained[row.window] - before
        if total > best:
            best, threshold = total, severity
    perfect = profile.true * windows
    return Scored(score=100 * (best - missed) / (perfect - missed), threshold=threshold)


def score_at(
    files: Sequence[File], severities: Sequence[Sequence[float]], profile: Profile, threshold: float
) -> float:
    """Return the score at a threshold that was fixed beforehand."""
    cut = [[min(value, threshold) if value >= threshold else -1.0 for value in each] for each in severities]
    rows, windows = _rows(files, cut)
    total = sum(row.worth * profile.false for row in rows if row.window < 0 <= row.severity)
    gained: dict[int, float] = {}
    for row in rows:
        if row.window >= 0 and row.severity >= 0:
            gained[row.window] = max(gained.get(row.window, -math.inf), row.worth * profile.true)
    total += sum(gained.values()) - profile.missed * (windows - len(gained))
    return 100 * (total + profile.missed * windows) / ((profile.true + profile.missed) * windows)


def counts(files: Sequence[File], severities: Sequence[Sequence[float]], threshold: float) -> Counts:
    """Return what a threshold detects in all files."""
    rows, windows = _rows(files, severities)
    alarms = [row.window for row in rows if row.severity >= threshold]
    found = len({window for window in alarms if window >= 0})
    return Counts(found=found, windows=windows, false_alarms=sum(window < 0 for window in alarms))


def _rows(files: Sequence[File], severities: Sequence[Sequence[float]]) -> tuple[list[_Row], int]:
    """Return all scored rows, and how many windows they lie in; windows are numbered across files."""
    rows: list[_Row] = []
    number = 0
    for file, each in zip(files, severities, strict=True):
        where = _places(file, number)
        number += len(file.windows)
        rows += [_Row(each[place], *where[place]) for place in range(file.first, len(each))]
    return rows, len({row.window for row in rows if row.window >= 0})


def _places(file: File, number: int) -> list[tuple[int, float]]:
    """Return of each row the number of its window and what a detection there is worth."""
    places = [(-1, -1.0)] * len(file.times)
    for (start, end), (until, _) in pairwise([*file.windows, (len(file.times), 0)]):
        width = end - start + 1
        for row in range(start, end + 1):
            places[row] = number, _sigmoid(-(end - row + 1) / width) / _sigmoid(-1.0)
        for row in range(end + 1, until):
            places[row] = -1, _sigmoid((row - end) / (width - 1))
        number += 1
    return places


def _sigmoid(position: float) -> float:
    """Return the worth at a position: -1 is the start of a window, 0 its end."""
    return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1  # noqa: PLR2004  # the paper's
