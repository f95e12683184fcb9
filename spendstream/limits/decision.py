"""What a request is told: admitted, or another model, or why not, until when, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from spendstream.limits.claims import Draw
from spendstream.money import format_usd

__all__ = [
    "Admitted",
    "Breach",
    "Decision",
    "Downgrade",
    "Grant",
    "Kind",
    "Mode",
    "Rejected",
    "Subject",
    "concluded",
]

Kind = Literal["budget", "pace", "requests", "tokens", "concurrency"]
Mode = Literal["shadow", "allow", "downgrade", "reject"]

_SECOND = 1_000_000
_PAYMENT_REQUIRED, _TOO_MANY_REQUESTS, _UNAVAILABLE = 402, 429, 503
_CODES: dict[Kind, str] = {
    "budget": "budget_exhausted",
    "pace": "budget_pace_exceeded",
    "requests": "request_rate_exceeded",
    "tokens": "token_rate_exceeded",
    "concurrency": "too_many_concurrent_requests",
}


class Subject(Struct, frozen=True, kw_only=True):
    """Whose request it is and what it calls: all that a scope can look at."""

    org: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    provider: str = ""
    model: str = ""
    key_id: str = ""


class Breach(Struct, frozen=True, kw_only=True):
    """One limit that a request does not fit, and what that means for it.

    `left` and `asked` are picodollars of a budget or a pace, else requests or tokens. `retry_after` is
    microseconds; None if nobody knows, or the request fits at no time.
    """

    limit: str
    kind: Kind
    mode: Mode
    asked: int
    left: int
    retry_after: int | None
    downgrade_to: str = ""

    @property
    def message(self) -> str:
        """What to tell a caller."""
        match self.kind:
            case "budget":
                return (
                    f"budget {self.limit}: {format_usd(self.left)} left, the request may cost "
                    f"{format_usd(self.asked)}"
                )
            case "pace":
                return f"budget {self.limit} is being spent too fast to last"
            case "concurrency":
                return f"limit {self.limit}: too many requests at once"
            case _:
                return (
                    f"limit {self.limit}: {self.left} {self.kind} left of this minute, {self.asked} asked for"
                )


class Grant(Struct, frozen=True, kw_only=True):
    """What an admitted request holds; hand it back to settle, extend or release it.

    `estimate` is picodollars. `tokens` and `pace` are the draws that were made for them.
    """

    request: str
    subject: Subject
    estimate: int
    tokens: int
    token_draws: Sequence[Draw]
    pace_draws: Sequence[Draw]


class Admitted(Struct, frozen=True, kw_only=True):
    """Go on. `breaches` are those that change nothing: to be counted (shadow) or alerted (allow).

    `grant` is None where nothing limits the request: then there is nothing to settle.
    """

    grant: Grant | None
    breaches: Sequence[Breach] = ()


class Downgrade(Struct, frozen=True, kw_only=True):
    """Ask again for the cheaper `model`, as downgraded; nothing is held."""

    model: str
    why: Breach
    breaches: Sequence[Breach]


class Rejected(Struct, frozen=True, kw_only=True):
    """Refuse with this HTTP status; nothing is held. `retry_after` is whole seconds, None if no use."""

    status: int
    code: str
    message: str
    retry_after: int | None
    breaches: Sequence[Breach] = ()

    @classmethod
    def unavailable(cls, message: str, retry_after: float) -> Rejected:
        """Return the refusal where limits cannot be asked, and nothing may go on without them."""
        return cls(
            status=_UNAVAILABLE,
            code="limits_unavailable",
            message=message,
            retry_after=max(round(retry_after), 1),
        )


Decision: TypeAlias = Admitted | Downgrade | Rejected


def concluded(breaches: Sequence[Breach]) -> Downgrade | Rejected:
    """Return what the breaches of a request that was not granted come to.

    One that rejects beats one that downgrades; of several the one is told that lasts longest.
    """
    rejecting = [breach for breach in breaches if breach.mode == "reject"]
    if rejecting:
        worst = max(rejecting, key=_lasts)
        return Rejected(
            status=_PAYMENT_REQUIRED if worst.kind == "budget" else _TOO_MANY_REQUESTS,
            code=_CODES[worst.kind],
            message=worst.message,
            retry_after=None if worst.retry_after is None else max(-(-worst.retry_after // _SECOND), 1),
            breaches=breaches,
        )
    why = next(breach for breach in breaches if breach.mode == "downgrade")
    return Downgrade(model=why.downgrade_to, why=why, breaches=breaches)


def _lasts(breach: Breach) -> float:
    return float("inf") if breach.retry_after is None else breach.retry_after
