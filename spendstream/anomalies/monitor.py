"""Watches one key: one closed window after another in, anomalies out.

The key is whatever the caller watches: a team, a model, both. Cost, tokens, requests, hit ratio and cost per
request each have a detector that suits the size of the windows, and a simple rule stands in while that one
still learns. Several measures of one cause are one anomaly: while a cost spike lasts, the usage behind it is
not told a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct, field, structs

from spendstream.anomalies.anomaly import Anomaly, Reading
from spendstream.anomalies.cases import Cases, Sighting
from spendstream.anomalies.detector import HIGH, Detector, Score, Stored
from spendstream.anomalies.finds import Finds
from spendstream.anomalies.holt_winters import HoltWinters
from spendstream.anomalies.novelty import Novelty
from spendstream.anomalies.rules import CacheCollapse, ColdStart, ErrorSpike
from spendstream.anomalies.usual import Usual
from spendstream.windows import DAY, HOUR, Measures

__all__ = ["Measure", "Monitor", "detector_for"]

Measure = Literal["cost", "tokens", "requests", "hit_ratio", "cost_per_request"]

_MEASURES: MappingProxyType[Measure, Callable[[Measures], float | None]] = MappingProxyType({
    "cost": lambda now: float(now.cost),
    "tokens": lambda now: float(now.input_tokens + now.output_tokens),
    "requests": lambda now: float(now.events),
    "hit_ratio": lambda now: _per_call(now.cache_hits, now.events, least=20),
    "cost_per_request": lambda now: _per_call(now.cost, now.events - now.unpriced, least=5),
})  # fmt: skip

_GRAIN = 0.1  # of money or usage by the minute, less than that is no reason to look
_USAGE: tuple[Measure, ...] = ("tokens", "requests", "cost_per_request")


def _per_call(part: int, calls: int, *, least: int) -> float | None:
    """Return a part for each call; None with fewer than `least` calls, when it says little."""
    return part / calls if calls >= least else None


def detector_for(size: int, measure: Measure) -> Detector:
    """Return the detector that was measured to suit windows of `size` seconds best."""
    if size >= DAY:
        return HoltWinters.daily()
    if size >= HOUR:
        return HoltWinters.hourly()
    return Novelty.remembering(grain=_GRAIN, only_values=measure != "cost")


class _Seen(Struct, frozen=True):
    value: float
    score: Score


_Look = Mapping[Measure, _Seen]


class _State(Stored, kw_only=True):
    cases: Cases
    finds: Finds
    last: int = -1
    cold: dict[str, ColdStart] = field(default_factory=dict)
    response_cache: CacheCollapse = field(default_factory=CacheCollapse)
    prompt_cache: CacheCollapse = field(default_factory=CacheCollapse)
    errors: ErrorSpike = field(default_factory=ErrorSpike)
    usual: Usual = field(default_factory=Usual)


class _Snapshot(Struct, frozen=True, kw_only=True):
    key: str
    size: int
    state: bytes
    detectors: dict[Measure, bytes]


class Monitor:
    """All that is watched of one key in windows of one size. Deterministic; its memory is bounded."""

    def __init__(
        self, key: str, size: int, *, detector: Callable[[int, Measure], Detector] = detector_for
    ) -> None:
        """Watch `key` in windows of `size` seconds; `detector` makes the detector of a measure."""
        self._detectors: dict[Measure, Detector] = {name: detector(size, name) for name in _MEASURES}
        warm_up = max(DAY // size, 7)  # a day, or a week of days
        self._state = _State(cases=Cases(key=key, size=size), finds=Finds.after(warm_up))

    @property
    def last(self) -> int:
        """The start of the newest window it has seen, in seconds since 1970 UTC; -1 before the first."""
        return self._state.last

    def open_ids(self) -> set[UUID]:
        """Return the ids of the episodes that go on."""
        return self._state.cases.open_ids()

    def update(self, reading: Reading) -> list[Anomaly]:
        """Return what is to be told of the next window. One that is not newer than the last is ignored."""
        state = self._state
        if reading.start <= state.last:
            return []
        state.last = reading.start
        look = self._look(reading)
        found = [
            *self._cost(look, reading),
            *self._shares(look, reading.measures),
            *self._usage(look),
            *(state.cases.tell(find, reading.start) for find in state.finds.update(reading.parts)),
        ]
        if state.cases.measure_of("cost_spike") is None:
            state.usual.learn(reading.parts)
        return found

    def planned(self, start: int, end: int) -> None:
        """Mark what is found in windows from `start` until before `end` (seconds) as planned.

        Raises ValueError if it ends before it starts.
        """
        self._state.cases.plan(start, end)

    def false_alarm(self, anomaly: UUID) -> bool:
        """Take an anomaly back: close its episode unsaid, and for 30 days tell only of severer ones.

        Returns False for one that lies too far back, has no episode, or is none of this key.
        """
        return self._state.cases.take_back(anomaly, self._state.last)

    def snapshot(self) -> bytes:
        """Return the whole state."""
        detectors = {name: detector.snapshot() for name, detector in self._detectors.items()}
        cases = self._state.cases
        stored = _Snapshot(
            key=cases.key, size=cases.size, state=self._state.snapshot(), detectors=detectors
        )  # fmt: skip
        return msgspec.msgpack.encode(stored)

    def restore(self, data: bytes) -> None:
        """Go on from a snapshot of this key and size; raise ValueError if it is none."""
        try:
            stored = msgspec.msgpack.decode(data, type=_Snapshot)
        except msgspec.DecodeError as error:
            raise ValueError(f"no snapshot of a monitor, start anew: {error}") from error
        key, size = self._state.cases.key, self._state.cases.size
        if (stored.key, stored.size) != (key, size) or stored.detectors.keys() != _MEASURES.keys():
            raise ValueError(
                f"a snapshot of {stored.key!r} by {stored.size} s cannot restore {key!r} by {size} s"
            )
        self._state.restore(stored.state)
        for name, snapshot in stored.detectors.items():
            self._detectors[name].restore(snapshot)

    def _look(self, reading: Reading) -> _Look:
        look: dict[Measure, _Seen] = {}
        for name, of in _MEASURES.items():
            value = of(reading.measures)
            score = None if value is None else self._score(name, value, reading.start)
            if value is not None and score is not None:
                look[name] = _Seen(value, score)
        return look

    def _score(self, name: Measure, value: float, at: int) -> Score | None:
        score = self._detectors[name].update(value, at)
        if score is None:
            return self._state.cold.setdefault(name, ColdStart()).update(value, at)
        self._state.cold.pop(name, None)
        return score

    def _cost(self, look: _Look, reading: Reading) -> Iterator[Anomaly]:
        if "cost" not in look:
            return
        cost, total = look["cost"], reading.measures.cost
        expected = max(round(cost.score.expected), 0)
        sighting = Sighting(
            type="cost_spike",
            name="cost_spike",
            measure="cost",
            score=_upwards(cost),
            value=cost.value,
            excess=total - expected,
        )
        anomaly = self._state.cases.see(sighting, reading.start)
        if anomaly is not None and anomaly.state != "resolved":
            usual = self._state.usual
            anomaly = structs.replace(
                anomaly,
                contributors=usual.contributors(reading.parts, expected=expected, total=total),
                drivers=usual.drivers(reading.parts, reading.measures, expected=expected),
            )
        if anomaly is not None:
            yield anomaly

    def _usage(self, look: _Look) -> Iterator[Anomaly]:
        """Tell of usage that cost does not tell of; only of high severity, as there are three measures."""
        cases = self._state.cases
        measured = [name for name in _USAGE if name in look]
        open_in = cases.measure_of("usage_pattern")
        if open_in is not None:
            measured = [name for name in measured if name == open_in]
        elif cases.measure_of("cost_spike") is not None:
            return
        if measured:
            name = max(measured, key=lambda name: look[name].score.alert)
            sighting = Sighting(
                type="usage_pattern",
                name="usage_pattern",
                measure=name,
                score=look[name].score,
                value=look[name].value,
                least=HIGH,
            )
            yield from _news(cases.see(sighting, self._state.last))

    def _shares(self, look: _Look, now: Measures) -> Iterator[Anomaly]:
        """Tell of failing caches, of responses (ours) and of prompts (the provider's), and of errors."""
        state = self._state
        hits = state.response_cache.update(now.cache_hits, now.events)
        if hits is not None:
            yield from self._share("response_cache", _lower(hits, look.get("hit_ratio")), now.cache_hits, now)
        if now.input_tokens:
            cached = round(now.events * now.cache_read_tokens / now.input_tokens)
            prompts = state.prompt_cache.update(cached, now.events)
            if prompts is not None:
                yield from self._share("prompt_cache", structs.replace(prompts, high=1.0), cached, now)
        errors = state.errors.update(now.errors, now.events)
        if errors is not None:
            yield from self._share("errors", structs.replace(errors, low=0.0), now.errors, now)

    def _share(self, name: str, score: Score, part: int, now: Measures) -> Iterator[Anomaly]:
        sighting = Sighting(
            type="error_spike" if name == "errors" else "cache_collapse",
            name=name,
            measure=name,
            score=score,
            value=part / now.events,
        )
        yield from _news(self._state.cases.see(sighting, self._state.last))


def _news(anomaly: Anomaly | None) -> Iterator[Anomaly]:
    if anomaly is not None:
        yield anomaly


def _upwards(seen: _Seen) -> Score:
    """Return a score by which spending less than expected is nothing unusual."""
    less = seen.value <= seen.score.expected
    return structs.replace(
        seen.score, severity=0.0 if less else seen.score.severity, low=min(seen.score.low, seen.value)
    )


def _lower(rule: Score, seen: _Seen | None) -> Score:
    """Return the severer of what the rule and the detector say of a hit ratio; a rise is nothing unusual."""
    if seen is not None and seen.value < seen.score.low and seen.score.alert >= max(HIGH, rule.severity):
        rule = seen.score
    return structs.replace(rule, high=1.0)
