"""One call under way: what is known of it so far, and what it has used however it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from gateway.callers import Caller
from gateway.dialects import Ask, Dialect, Outcome, StreamReader
from gateway.hits import Hit, Keepsake, Sought
from gateway.refusal import Refusal, crashed
from gateway.upstream.provider import AccountRefused, Candidate, ProviderError
from gateway.usage import Usage
from spendstream.events import TokenUsage, UsageSource
from spendstream.limits.decision import Grant
from spendstream.privacy import Mask
from spendstream.tokens import count_text

if TYPE_CHECKING:  # an optional part, which nobody imports who does not use it
    from gateway.tracing.spans import Trace

__all__ = ["CLIENT_GONE", "Exchange"]

CLIENT_GONE = 499
"""The status of a call whose client hung up; no client ever reads it."""

_BAD_GATEWAY = 502
_TOO_MANY = 429


class Exchange(Struct, kw_only=True):
    """A call and its answer so far. Times are seconds of `time.perf_counter`.

    `id` names the call everywhere: its event, its reservation and, as the text `request_id`, its reply.
    `request` is the body that came. `waited` is how long others kept the call waiting before it was made: its
    upload, and an identical one that was under way. `asked` is whether a provider is at work on it, or has
    answered. Of an answer there is the `body`, if it comes whole, or the `reader` of its stream; `relayed` is
    the time spent on the pieces of that, and `early_usage` what its provider has said before its end, and its
    pieces do not say. With a `mask` both have its placeholders, as the `ask` has. `saved_tokens` are those by
    which the prompt was made shorter.
    """

    id: UUID
    caller: Caller
    dialect: Dialect
    ask: Ask
    forwarded: bytes
    arrived: float
    waited: float
    request: bytes
    hit: Hit | None = None
    sought: Sought | None = None
    candidates: Sequence[Candidate] = ()
    route: str = ""
    route_reason: str = ""
    mask: Mask | None = None
    saved_tokens: int = 0
    grant: Grant | None = None
    is_downgraded: bool = False
    candidate: Candidate | None = None
    attempts: int = 0
    asked: bool = False
    called: float = 0.0
    relayed: float = 0.0
    first_text: float | None = None
    ended: float = 0.0
    body: bytes = b""
    content_type: bytes = b"application/json"
    reader: StreamReader | None = None
    complete: bool = False
    deserted: bool = False
    status: int = 200
    error_type: str = ""
    refusal: Refusal | None = None
    event: TokenUsage | None = None
    trace: Trace | None = None
    request_id: str = ""
    keepsake: Keepsake | None = None
    early_usage: Usage | None = None
    _outcome: Outcome | None = None
    _input_tokens: int | None = None

    def __post_init__(self) -> None:
        self.request_id = str(self.id)

    @property
    def names(self) -> Mapping[str, str]:
        """What a log line is to say, so that the call is found in events and traces."""
        traced = (
            {} if self.trace is None else {"trace_id": self.trace.trace_id, "span_id": self.trace.span_id}
        )
        return {"request_id": self.request_id, **traced}

    @property
    def settled(self) -> TokenUsage | Refusal:
        """What became of the call: its event or, for the client, the error. Known once it is settled."""
        settled = self.refusal or self.event
        if settled is None:
            raise RuntimeError("the call is not settled yet")
        return settled

    @property
    def provider(self) -> str:
        """Who answers or, while nobody was asked, who would be; of a hit, who answered then."""
        if self.hit is not None:
            return self.hit.answer.provider
        return (self.candidate or self.candidates[0]).provider.name

    @property
    def model(self) -> str:
        """The model that answers."""
        if self.hit is not None:
            return self.hit.answer.model
        return (self.candidate or self.candidates[0]).model

    @property
    def retries(self) -> int:
        """How many attempts came before the last."""
        return max(self.attempts - 1, 0)

    @property
    def finish_reason(self) -> str:
        """Why the answer ended, in its dialect's words; empty if it did not."""
        return self.outcome.finish_reason if self.complete else ""

    def take_hit(self, now: float) -> None:
        """Take the answer that the cache had."""
        assert self.hit is not None  # noqa: S101 - there is one
        self.body, self.complete, self.first_text = self.hit.answer.body, True, now

    def ask_instead(self, body: bytes) -> None:
        """Take another request in the place of the client's: masked, or made shorter."""
        self.ask, self.request = self.dialect.ask(body), body

    def tried(self, candidate: Candidate) -> bytes:
        """Note an attempt; return the lines of headers that go with it."""
        self.candidate = candidate
        self.attempts += 1
        self.asked = True
        if self.trace is None:
            return self.forwarded
        return self.forwarded + self.trace.tried(self)

    def attempt_failed(self) -> None:
        """Note that the provider of the last attempt charges nothing for it."""
        self.asked = False

    def take_whole(self, status: int, headers: Mapping[bytes, bytes], body: bytes, now: float) -> None:
        """Take an answer that is whole."""
        self.first_text = now
        self.status, self.body, self.complete = status, body, True
        self.content_type = headers.get(b"content-type", self.content_type)

    def take(self, data: bytes, now: float) -> bytes:
        """Take a part of a stream; return what the client gets of it."""
        assert self.reader is not None  # noqa: S101 - it is a stream
        if self.first_text is None and self.reader.has_text(data):
            self.first_text = now
        return self.reader.feed(data)

    def take_end(self) -> None:
        """Note that all of a stream has come."""
        self.complete = bool(self.outcome.finish_reason)
        if not self.complete:
            self.status, self.error_type = _BAD_GATEWAY, self.outcome.error_type or "provider_broke_off"

    @property
    def input_tokens(self) -> int:
        """The tokens of the prompt, as we count them."""
        if self._input_tokens is None:
            self._input_tokens = self.dialect.count_input(self.ask, self.model)
        return self._input_tokens

    @property
    def outcome(self) -> Outcome:
        """What the answer came to, once no more of it will come."""
        if self._outcome is None:
            self._outcome = self._read()
        return self._outcome

    def failed(self, error: ProviderError) -> None:
        """Note that the provider refused the call or broke it off."""
        self.status, self.error_type = error.status, error.error_type
        # a caller that is told 401 would think of its own key
        status = _BAD_GATEWAY if isinstance(error, AccountRefused) else error.status
        self.refusal = Refusal(
            status,
            f"{error} (provider status {error.status})",
            reason="provider",
            kind="rate_limit_error" if error.status == _TOO_MANY else "server_error",
            code=error.error_type,
            retry_after=error.retry_after,
            verbatim=error.body,
        )

    def crashed(self) -> None:
        """Note that the gateway itself failed."""
        self.refusal = crashed()
        self.status, self.error_type = self.refusal.status, "internal_error"

    def cut(self, refusal: Refusal) -> None:
        """Note that the gateway ends a stream that there is no money for."""
        self.status, self.error_type, self.refusal = refusal.status, refusal.code or "", refusal

    def interrupted(self, error_type: str) -> None:
        """Note that the call was ended from outside: its client hung up, or the gateway stops."""
        self.status, self.error_type = CLIENT_GONE, error_type

    def overhead(self, now: float) -> float:
        """Return the seconds until `now` that the gateway itself has taken.

        That is all before the first attempt (but what it was kept waiting), the work on the pieces of a
        stream, and all after the answer. What lies between is the provider's, with the waits before retries.
        """
        after = now - self.ended if self.ended else 0.0
        return self.called - self.arrived - self.waited + self.relayed + after

    def used(self) -> tuple[Usage, UsageSource]:
        """Return what the call used, and how that is known.

        A call that failed before its answer began used nothing, and so did one that was given up between two
        attempts. Where the provider did not come to say what an answer used, the tokens of what there is of
        it are counted here; what the provider has said until then is the least that it used.
        """
        if self.hit is not None:
            return self.hit.usage, "cached"
        if self.reader is None and not self.body:
            if self.refusal is not None:
                return Usage(), "provider"
            return self._counted("") if self.asked else Usage(), "interrupted"
        reported = self.outcome.usage
        if self.complete and reported is not None:
            return reported, "interrupted" if self.deserted else "provider"
        counted = self._counted(self._text(), reported or self.early_usage)
        return counted, "estimated" if self.complete and not self.deserted else "interrupted"

    def _counted(self, text: str, reported: Usage | None = None) -> Usage:
        """Return what we count: of the output always, of the input if nobody has said it."""
        known = reported or Usage(input_tokens=self.input_tokens)
        return Usage(
            input_tokens=known.input_tokens,
            output_tokens=max(known.output_tokens, count_text(self.model, text)),
            cache_read_tokens=known.cache_read_tokens,
            cache_write_tokens=known.cache_write_tokens,
            cache_write_1h_tokens=known.cache_write_1h_tokens,
            reasoning_tokens=known.reasoning_tokens,
        )

    def _read(self) -> Outcome:
        return self.reader.outcome() if self.reader is not None else self.dialect.outcome(self.body)

    def _text(self) -> str:
        return self.reader.text() if self.reader is not None else self.dialect.text(self.body)
