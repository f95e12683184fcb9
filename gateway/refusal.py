"""Refusals: why a request is answered with an error, in the shape that OpenAI's clients understand."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from spendstream.errors import SpendstreamError

__all__ = ["Refusal"]


class Refusal(SpendstreamError):
    """A request that gets an error for its answer.

    `reason` is the metric's label; `param` names the field at fault; `retry_after` is in seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self._kind = kind
        self._param = param
        self._code = code
        self._retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error object."""
        error = {"message": str(self), "type": self._kind, "param": self._param, "code": self._code}
        return {"error": error}

    @property
    def encoded(self) -> bytes:
        """The error object as JSON."""
        return msgspec.json.encode(self.body)

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After, in whole seconds, for an error that passes."""
        return {} if self._retry_after is None else {"retry-after": str(math.ceil(self._retry_after))}
