"""Errors that the endpoint answers with, in ClickHouse's own numbers and words."""

from __future__ import annotations

import re

from spendstream.errors import QueryError

__all__ = ["Code", "EngineError"]

_WRAPPED = re.compile(
    r"Code: \d+\. DB::Exception: (?P<inner>Code: \d+\. DB::Exception: .*?)"
    r"(?: \(version [^)]*\)\. \(\w+\))?\s*",
    re.DOTALL,
)
_VERSION = re.compile(r" \(version [^()]*\)$")
_MESSAGE = re.compile(r"Code: (?P<code>\d+)\. DB::Exception: .*", re.DOTALL)


class Code:
    """The numbers of the errors that the endpoint itself raises."""

    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    READONLY = 164
    NETWORK_ERROR = 210
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
    QUERY_IS_TOO_LARGE = 229
    SESSION_NOT_FOUND = 372
    SESSION_IS_LOCKED = 373
    INVALID_SESSION_TIMEOUT = 374
    ACCESS_DENIED = 497
    AUTHENTICATION_FAILED = 516
    CANNOT_DECOMPRESS = 271
    STD_EXCEPTION = 1001


_NAMES = {number: name for name, number in vars(Code).items() if name.isupper()}


class EngineError(QueryError):
    """A statement that the engine, or the endpoint before it, refuses.

    `code` is ClickHouse's error number; the message reads `Code: N. DB::Exception: TEXT (NAME)`.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def raised(cls, code: int, text: str) -> EngineError:
        """Return an error of the endpoint's own, worded like the engine's."""
        return cls(code, f"Code: {code}. DB::Exception: {text} ({_NAMES[code]})")

    @classmethod
    def from_engine(cls, text: str) -> EngineError:
        """Return the error that the engine reports as `text`, without the layers that it wraps it in."""
        message = text[max(text.find("Code: "), 0) :].strip()
        while wrapped := _WRAPPED.fullmatch(message):
            message = wrapped["inner"].strip()
        message = _VERSION.sub("", message)
        if found := _MESSAGE.fullmatch(message):
            return cls(int(found["code"]), message)
        return cls.raised(Code.STD_EXCEPTION, message)
