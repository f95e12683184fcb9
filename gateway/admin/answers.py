"""What all parts of the admin API answer alike: errors, documents with ETags, and bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from gateway.admin.schemas import ERROR, Schema
from gateway.refusal import Refusal
from spendstream.documents import MAX_DOCUMENT_BYTES, BadDocument, Document
from spendstream.errors import ConfigError, TransientError

__all__ = [
    "IfMatch",
    "answer_mistakes",
    "answer_parameters",
    "answer_patience",
    "answers",
    "check_match",
    "etag",
    "missing",
    "read_body",
    "shown",
    "shows",
]

_WHY = {
    400: "it is not what it should be; `mistakes` has every field that is wrong",
    401: "no key, or a wrong one",
    404: "there is none of this id",
    409: "it is in a file, or its state does not allow this: the message says which",
    412: "If-Match names another state than it has",
    413: f"more than {MAX_DOCUMENT_BYTES} bytes",
    429: "too many wrong keys from this address; Retry-After says when to try again",
    503: "Kafka is away, or the audit log cannot be written; Retry-After says when to try again",
}
_CONTENT = {"application/json": {"schema": ERROR}}
_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "this state of it", "required": True}}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "required": True}}
_PATIENCE = (429, 503)

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="an ETag: only if it is still so; *: if there is one")
]


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of errors."""
    return {
        status: {
            "description": _WHY[status],
            "content": _CONTENT,
            **({"headers": _RETRY} if status in _PATIENCE else {}),
        }
        for status in statuses
    }


def shows(schema: Schema, status: int = 200, *, tagged: bool = True) -> dict[int | str, dict[str, Any]]:
    """Return the description of an answer with a document, which is `tagged` if it has an ETag."""
    shown = {"description": "As it is now", "content": {"application/json": {"schema": schema}}}
    return {status: {**shown, "headers": _ETAG} if tagged else shown}


def etag(document: Document) -> str:
    """Return the ETag of a document."""
    return f'"{document.tag}"'


def shown(document: Document) -> Response:
    """Return the answer that shows a document."""
    return Response(document.encoded, headers={"etag": etag(document)}, media_type="application/json")


def missing(what: str, name: str) -> Refusal:
    """Return how it is told that there is none."""
    return Refusal(404, f"there is no {what} {name[:100]} that was set here", reason="http", param="id")


def check_match(what: str, name: str, known: Document | None, if_match: str | None) -> None:
    """Refuse a change of what is not as the caller believes."""
    if if_match is not None and (known is None or if_match not in ("*", etag(known))):
        found = etag(known) if known else f"no such {what}"
        raise Refusal(
            412, f"{what} {name[:100]} is not as expected: {found}", reason="conflict", param="If-Match"
        )


async def read_body(request: Request) -> bytes:
    """Return a request's body. Raises Refusal for one that is too long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_DOCUMENT_BYTES:
            raise Refusal(
                413,
                f"a document has at most {MAX_DOCUMENT_BYTES} bytes",
                reason="too_large",
                code="request_too_large",
            )
    return bytes(body)


async def answer_mistakes(_: Request, error: Exception) -> Response:
    """Answer a document that is wrong."""
    assert isinstance(error, ConfigError)  # noqa: S101 - what it is registered for
    by_field = error.by_field if isinstance(error, BadDocument) else [("document", str(error))]
    return _mistakes(str(error), by_field)


async def answer_parameters(_: Request, error: Exception) -> Response:
    """Answer an id that cannot be one: FastAPI has compared it with its pattern."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    by_field = [("id" if it["loc"][0] == "path" else str(it["loc"][-1]), it["msg"]) for it in error.errors()]
    return _mistakes("; ".join(f"{field}: {reason}" for field, reason in by_field), by_field)


async def answer_patience(_: Request, error: Exception) -> Response:
    """Answer what may succeed later."""
    assert isinstance(error, TransientError)  # noqa: S101 - what it is registered for
    refusal = Refusal(
        503, str(error), reason="unavailable", kind="server_error", retry_after=error.retry_after
    )
    return Response(refusal.encoded, refusal.status, refusal.headers, media_type="application/json")


def _mistakes(message: str, by_field: Sequence[tuple[str, str]]) -> Response:
    mistakes = [{"field": field, "reason": reason} for field, reason in by_field]
    refusal = Refusal(400, message, reason="invalid", param=by_field[0][0], code="invalid_document")
    return JSONResponse({**refusal.body, "mistakes": mistakes}, refusal.status)
