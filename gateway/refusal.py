"""Refusals: why a request is answered with an error, whatever dialect it is then told in."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from spendstream.errors import SpendstreamError

__all__ = ["Refusal", "crashed"]


class Refusal(SpendstreamError):
    """A request that gets an error for its answer.

    `reason` is the metric's label; `kind` is OpenAI's type of error; `param` names the field at fault;
    `retry_after` is in seconds. With `verbatim` the provider has said it already, as bytes.
    """

    def __init__(  # noqa: PLR0913 - what an error answer has, each once
        self,
        status: int,
        message: str,
        *,
        reason: str,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        verbatim: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.kind = kind
        self.param = param
        self.code = code
        self.verbatim = verbatim
        self._retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error object in OpenAI's shape, which is the gateway's own, too."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    @property
    def encoded(self) -> bytes:
        """The error object as JSON, or what the provider has said."""
        return self.verbatim or msgspec.json.encode(self.body)

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After, in whole seconds, for an error that passes."""
        return {} if self._retry_after is None else {"retry-after": str(math.ceil(self._retry_after))}


def crashed() -> Refusal:
    """Return how a request is answered on which the gateway itself failed."""
    return Refusal(500, "the gateway failed on this request", reason="internal", kind="server_error")
