"""What every detector of anomalies can do: score one value after another, and be stored in between.

A detector sees the values of one measure of one key, in order of time. Detectors are structs whose fields are
their whole state, so that storing one and going on from there changes nothing. Their memory is bounded.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from spendstream.anomalies.rolling import Rolling

__all__ = ["CRITICAL", "HIGH", "WARN", "Detector", "Score", "Stored", "finite"]

WARN, HIGH, CRITICAL = 3.1, 5.0, 8.0
"""Severities from which people are told: about one healthy value in 1,300, in 10^5, in 10^8."""


class Score(Struct, frozen=True, kw_only=True):
    """How unusual a value is.

    `severity` is -log10 of the probability of a value at least as far off. What was `expected`, and the range
    from `low` to `high` that is no reason to worry, are in the value's own unit. `fresh` is False while a
    cool-down says that the same episode was as severe a moment ago.
    """

    severity: float
    expected: float
    low: float
    high: float
    fresh: bool = True

    @property
    def alert(self) -> float:
        """The severity where it is news, and 0 in a cool-down."""
        return self.severity if self.fresh else 0.0


class Detector(Protocol):
    """Scores the values of one series. Deterministic; its memory is bounded."""

    def update(self, value: float, at: int) -> Score | None:
        """Return how unusual `value` is, and learn it; None while too little is known.

        `at` is the start of the value's window, in seconds since 1970 UTC, later than that of all values
        before. Raises ValueError for a value that is no number, or 1e100 and more.
        """

    def snapshot(self) -> bytes:
        """Return the whole state."""

    def restore(self, data: bytes) -> None:
        """Go on from a snapshot, settings included; raise ValueError if it is not one of such a detector."""


class Stored(Struct, kw_only=True):
    """A struct that is all of somebody's state, and so can be stored as it is."""

    def snapshot(self) -> bytes:
        """Return the whole state."""
        return _ENCODER.encode((type(self).__name__, self))

    def restore(self, data: bytes) -> None:
        """Go on from a snapshot, settings included; raise ValueError if it is not one of such a struct."""
        wanted = type(self).__name__
        try:
            name, state = msgspec.json.decode(data, type=tuple[str, msgspec.Raw])
            if name != wanted:
                raise ValueError(f"a snapshot of {name} cannot restore {wanted}")
            stored = msgspec.json.decode(state, type=type(self), dec_hook=_decoded)
        except msgspec.DecodeError as error:
            raise ValueError(f"no snapshot of {wanted}, start anew: {error}") from error
        for field in self.__struct_fields__:
            setattr(self, field, getattr(stored, field))


def finite(value: float) -> float:
    """Return `value` as a float, and as zero below 1e-100; raise ValueError for 1e100 and more, and for NaN.

    Within these bounds no square over- or underflows.
    """
    if not abs(value) < _LARGEST:
        raise ValueError(f"expected a value below 1e100, found {value!r}: leave out what cannot be measured")
    return float(value) if abs(value) > 1 / _LARGEST else 0.0


def _encoded(value: Any) -> Any:
    if isinstance(value, Rolling):
        return value.state()
    raise NotImplementedError(f"{type(value).__name__} cannot be stored")


def _decoded(wanted: type, value: Any) -> Any:
    if wanted is Rolling:
        return Rolling.of(msgspec.convert(value, tuple[int, bytes]))
    raise NotImplementedError(f"{wanted.__name__} cannot be restored")


_LARGEST = 1e100
_ENCODER = msgspec.json.Encoder(enc_hook=_encoded)  # JSON, since amounts of money can be larger than 64 bits
