"""Detectors of pyod as second opinions: fitted in the background, asked here.

A row of three features tells of each value how far it is from the median, from the value before it, and how
restless the last eight were, all in spreads of the last values; so that a model serves at any scale. pyod
has no partial fit, so a model is made anew now and then, wherever the caller likes: `fit` is a plain function
of a plain value. pyod takes seconds to import, and is imported only by who fits or asks.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import numpy as np
from msgspec import Struct, field

from spendstream.anomalies.calibration import Cooldown, Tail, ratio
from spendstream.anomalies.detector import Score, Stored, finite
from spendstream.anomalies.rolling import Rolling

__all__ = ["METHODS", "Outlier", "Training", "fit", "opinion"]

METHODS: MappingProxyType[str, tuple[str, str, dict[str, Any]]] = MappingProxyType({
    "copod": ("copod", "COPOD", {}),
    "ecod": ("ecod", "ECOD", {}),
    "hbos": ("hbos", "HBOS", {"n_bins": 20}),
    "iforest": ("iforest", "IForest", {"n_estimators": 50, "random_state": 0}),
    "knn": ("knn", "KNN", {"n_neighbors": 1}),
})  # fmt: skip
"""What pyod calls each method (module, class), and how it is set up. Deterministic."""

_RECENT = 8
_ENOUGH = 50
_BAND = 5.0  # spreads around the median that are no reason to worry


class Training(Struct, frozen=True, kw_only=True):
    """What a model is to be fitted on: rows of features, oldest first. Can be sent to another process."""

    method: str
    rows: Sequence[tuple[float, float, float]]


def fit(training: Training) -> bytes:
    """Return a fitted model in pyod's own envelope. Takes up to seconds: keep it off the stream."""
    from pyod.utils import persistence  # noqa: PLC0415  # takes seconds to import

    module, name, settings = METHODS[training.method]
    model = getattr(import_module(f"pyod.models.{module}"), name)(**settings)
    model.fit(np.array(training.rows))
    envelope = io.BytesIO()
    persistence.save(model, envelope)
    return envelope.getvalue()


def opinion(values: Sequence[float], method: str = "ecod") -> float | None:
    """Return how severe the last of `values` is after the others; None with fewer than 50 of them.

    The model is fitted for this one question. Takes up to seconds: keep it off the stream.
    """
    *known, asked = values
    if len(known) < _ENOUGH:
        return None
    detector = Outlier(method)
    for at, value in enumerate(known):
        detector.update(value, at)
    detector.adopt(fit(detector.training()))
    score = detector.update(asked, len(known))
    return None if score is None else score.severity


class _State(Stored, kw_only=True):
    method: str
    every: int
    capacity: int
    values: Rolling = field(default_factory=lambda: Rolling(288))
    last: list[float] = field(default_factory=list)
    rows: list[tuple[float, float, float]] = field(default_factory=list)
    age: int = 0
    model: bytes = b""
    tail: Tail = field(default_factory=Tail)
    cooldown: Cooldown = field(default_factory=Cooldown)


class Outlier:
    """A `Detector` that asks a pyod model.

    It has no opinion before a model was fitted and adopted:

        if detector.needs_refit():
            detector.adopt(await in_another_process(fit, detector.training()))

    A snapshot holds the model, pickled: restore only what this program wrote.
    """

    def __init__(self, method: str = "knn", *, every: int = 250, capacity: int = 1_000) -> None:
        """Use one of `METHODS`, on at most `capacity` rows, with a new model for every `every` values.

        Raises ValueError for a method that is not known.
        """
        if method not in METHODS:
            raise ValueError(f"no outlier method {method!r}: choose one of {', '.join(METHODS)}")
        self._state = _State(method=method, every=every, capacity=capacity)
        self._model: Any = None

    def update(self, value: float, at: int) -> Score | None:  # noqa: ARG002  # a Detector is told the time
        """Return how unusual `value` is; see `Detector`."""
        state = self._state
        value = finite(value)
        score = None
        if len(state.values) >= _RECENT:
            row = self._row(value)
            score = self._scored(row) if state.model else None
            state.rows.append(row)
            del state.rows[: -state.capacity]
            state.age += 1
        state.values.add(value)
        state.last = [*state.last[1 - _RECENT :], value]
        return score

    def needs_refit(self) -> bool:
        """Tell whether there are enough new values for a new model."""
        return self._state.age >= self._state.every

    def training(self) -> Training:
        """Return what `fit` is to be called with."""
        return Training(method=self._state.method, rows=tuple(self._state.rows))

    def adopt(self, model: bytes) -> None:
        """Ask this model from now on; what `fit` returned. Raises ValueError if it is no model of ours."""
        self._model = _loaded(model)
        self._state.model = model
        self._state.age = 0
        self._state.tail = Tail()
        for score in self._model.decision_scores_:
            self._state.tail.severity(float(score))

    def snapshot(self) -> bytes:
        """Return the whole state."""
        return self._state.snapshot()

    def restore(self, data: bytes) -> None:
        """Go on from a snapshot; raise ValueError if it is not one. See the warning above."""
        self._state.restore(data)
        self._model = None

    def _row(self, value: float) -> tuple[float, float, float]:
        state, middle, spread = self._state, self._state.values.median(), self._spread()
        recent = [*state.last, value]
        step = value - state.last[-1]
        return tuple(  # type: ignore[return-value]  # three of them
            ratio(abs(distance), spread, 100.0) * (1 if distance > 0 else -1)
            for distance in (value - middle, step, max(recent) - min(recent))
        )

    def _spread(self) -> float:
        return max(self._state.values.spread(), abs(self._state.values.median()) / 100)

    def _scored(self, row: tuple[float, float, float]) -> Score | None:
        if self._model is None and not self._revived():
            return None
        state = self._state
        severity = state.tail.severity(float(self._model.decision_function(np.array([row]))[0]))
        if severity is None:
            return None
        middle, reach = state.values.median(), _BAND * self._spread()
        return Score(
            severity=severity,
            expected=middle,
            low=middle - reach,
            high=middle + reach,
            fresh=state.cooldown.admits(severity),
        )

    def _revived(self) -> bool:
        """Load the model of a snapshot; ask for a new one if it was written by other library versions."""
        try:
            self._model = _loaded(self._state.model)
        except ValueError:
            self._state.model, self._state.age = b"", self._state.every
        return self._model is not None


def _loaded(model: bytes) -> Any:
    from pyod.utils import persistence  # noqa: PLC0415  # takes seconds to import

    try:
        return persistence.load(io.BytesIO(model), strict=True, trusted=True)
    except (AttributeError, EOFError, ImportError, IndexError, KeyError, UnpicklingError) as error:
        raise ValueError(f"no model that can be used here, fit a new one: {error!r}") from error
