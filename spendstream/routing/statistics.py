"""How providers' models do lately: latency, time to first token, errors, and what a token costs.

One entry of a fixed size for each (provider, model); of more than a thousand the oldest is forgotten.
"""

from __future__ import annotations

from msgspec import Struct

from spendstream.routing.sketch import Decaying

__all__ = ["HALF_LIFE", "Outcome", "Standing", "Statistics", "Target"]

HALF_LIFE = 120 * 10**6
"""Two minutes, in microseconds."""

_REMEMBERED = 1_000
_LEAST_EVIDENCE = 0.1  # one call, 7 minutes ago; a thousand, 27 minutes ago
_BETWEEN_TRIALS = 5 * 10**6

Target = tuple[str, str]
"""A provider and its model."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How a call ended. Times in microseconds, cost in picodollars; None is unknown.

    A call that the client broke off, or that the provider rightly refused, is no error of the provider's.
    """

    provider: str
    model: str
    failed: bool = False
    latency: int | None = None
    first_token: int | None = None
    tokens: int = 0
    output_tokens: int = 0
    cost: int | None = None


class Standing(Struct, frozen=True, kw_only=True):
    """What is known of a target: microseconds, a rate from 0 to 1, picodollars; None is unknown.

    `calls` is the evidence: as many calls made just now would weigh the same.
    """

    calls: float
    error_rate: float
    latency: float | None
    latency_p50: float | None
    latency_p95: float | None
    first_token: float | None
    first_token_p95: float | None
    cost_per_token: float | None


class _Entry:
    """Averages are for choosing, not for books: money may be a float here."""

    __slots__ = ("cost", "errors", "first_token", "latency", "output", "tokens", "trial_at")

    def __init__(self, half_life: int) -> None:
        self.errors = Decaying(half_life)
        self.latency = Decaying(half_life)
        self.first_token = Decaying(half_life)
        self.cost = Decaying(half_life)
        self.tokens = Decaying(half_life)
        self.output = Decaying(half_life)
        self.trial_at: int | None = None


class Statistics:
    """Heard outcomes, decayed with a half-life in microseconds."""

    def __init__(self, half_life: int = HALF_LIFE) -> None:
        self._half_life = half_life
        self._entries: dict[Target, _Entry] = {}

    def seen(self, outcome: Outcome, now: int) -> None:
        """Count how a call ended. A failure says nothing of latency: failing fast is not being fast."""
        entry = self._entry((outcome.provider, outcome.model))
        entry.errors.add(float(outcome.failed), now)
        if outcome.failed:
            return
        if outcome.latency is not None:
            entry.latency.add(outcome.latency, now)
        if outcome.first_token is not None:
            entry.first_token.add(outcome.first_token, now)
        if outcome.output_tokens:
            entry.output.add(outcome.output_tokens, now)
        if outcome.cost is not None and outcome.tokens:
            entry.cost.add(outcome.cost, now)
            entry.tokens.add(outcome.tokens, now)

    def latency(self, target: Target, *, streamed: bool) -> float | None:
        """Return how long one waits for a success, in microseconds: to the first token if it is streamed.

        That is the mean over the share of calls that succeed, as a failed call has to be made again.
        """
        entry = self._entries.get(target)
        if entry is None:
            return None
        mean = (entry.first_token.mean if streamed else None) or entry.latency.mean
        if mean is None:
            return None
        return mean / max(1 - (entry.errors.mean or 0.0), 0.01)

    def output_tokens(self, target: Target) -> float | None:
        """Return how many tokens an answer has on average."""
        entry = self._entries.get(target)
        return entry.output.mean if entry else None

    def claims_trial(self, target: Target, now: int) -> bool:
        """Tell whether too little is known of a target, and no other call tries it out just now."""
        entry = self._entry(target)
        if entry.errors.evidence(now) >= _LEAST_EVIDENCE:
            return False
        if entry.trial_at is not None and 0 <= now - entry.trial_at < _BETWEEN_TRIALS:
            return False
        entry.trial_at = now
        return True

    def standing(self, target: Target, now: int) -> Standing | None:
        """Return all that is known of a target; None before its first call ended."""
        entry = self._entries.get(target)
        if entry is None or entry.errors.mean is None:
            return None
        cost, tokens = entry.cost.mean, entry.tokens.mean
        return Standing(
            calls=entry.errors.evidence(now),
            error_rate=entry.errors.mean,
            latency=entry.latency.mean,
            latency_p50=entry.latency.quantile(0.5),
            latency_p95=entry.latency.quantile(0.95),
            first_token=entry.first_token.mean,
            first_token_p95=entry.first_token.quantile(0.95),
            cost_per_token=cost / tokens if cost is not None and tokens else None,
        )

    @property
    def targets(self) -> tuple[Target, ...]:
        """Those that were heard of, the newest last."""
        return tuple(self._entries)

    def _entry(self, target: Target) -> _Entry:
        entry = self._entries.get(target)
        if entry is None:
            while len(self._entries) >= _REMEMBERED:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[target] = _Entry(self._half_life)
        return entry
