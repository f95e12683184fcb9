"""One call under way: what is known of it so far, and what it has used however it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.callers import Caller
from gateway.provider import ChatCall, FinishReason, Piece, ProviderError, Usage
from gateway.refusal import Refusal
from spendstream.events import TokenUsage, UsageSource
from spendstream.tokens import count_chat, count_text

__all__ = ["CLIENT_GONE", "Exchange"]

CLIENT_GONE = 499
"""The status of a call whose client hung up; no client ever reads it."""

_BAD_GATEWAY = 502
_INTERNAL = 500
_TOO_MANY = 429


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A call and its answer so far. Times are seconds of `time.perf_counter`."""

    caller: Caller
    call: ChatCall
    arrived: float
    called: float = 0.0
    first_text: float | None = None
    ended: float = 0.0
    texts: list[str] = field(default_factory=list)
    reported: Usage | None = None
    finish_reason: FinishReason | None = None
    status: int = 200
    error_type: str = ""
    refusal: Refusal | None = None
    event: TokenUsage | None = None

    @property
    def outcome(self) -> TokenUsage | Refusal:
        """What became of the call: its event or, for the client, the error. Known once it is settled."""
        outcome = self.refusal or self.event
        if outcome is None:
            raise RuntimeError("the call is not settled yet")
        return outcome

    def add(self, piece: Piece, now: float) -> None:
        """Take a piece of the answer."""
        if piece.text:
            if self.first_text is None:
                self.first_text = now
            self.texts.append(piece.text)
        self.reported = piece.usage or self.reported
        self.finish_reason = piece.finish_reason or self.finish_reason

    def failed(self, error: ProviderError) -> None:
        """Note that the provider refused the call or broke it off."""
        self.status, self.error_type = error.status, error.error_type
        self.refusal = Refusal(
            error.status if error.status in (_TOO_MANY, 500, 503, 504) else _BAD_GATEWAY,
            f"{error} (provider status {error.status})",
            reason="provider",
            kind="rate_limit_error" if error.status == _TOO_MANY else "server_error",
            code=error.error_type,
            retry_after=error.retry_after,
        )

    def crashed(self) -> None:
        """Note that the gateway itself failed."""
        self.status, self.error_type = _INTERNAL, "internal_error"
        self.refusal = Refusal(
            _INTERNAL, "the gateway failed on this request", reason="internal", kind="server_error"
        )

    def interrupted(self, error_type: str) -> None:
        """Note that the call was ended from outside: its client hung up, or the gateway stops."""
        self.status, self.error_type = CLIENT_GONE, error_type

    def overhead(self, now: float) -> float:
        """Return the seconds until `now` that the gateway has taken before the call, and after it."""
        after = now - self.ended if self.ended else 0.0
        return self.called - self.arrived + after

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self.texts)

    def used(self) -> tuple[Usage, UsageSource]:
        """Return what the call used, and how that is known.

        A call that failed before its answer began used nothing. Where the provider did not come to say what
        an answer used, the tokens of what there is of it are counted here.
        """
        if self.finish_reason is not None and self.reported is not None:
            return self.reported, "provider"
        if self.refusal is not None and not self.texts:
            return Usage(), "provider"
        known = self.reported or Usage(input_tokens=count_chat(self.call.model, self.call.messages))
        counted = Usage(
            input_tokens=known.input_tokens,
            output_tokens=count_text(self.call.model, self.text),
            cache_read_tokens=known.cache_read_tokens,
            cache_write_tokens=known.cache_write_tokens,
        )
        return counted, "estimated" if self.finish_reason is not None else "interrupted"
