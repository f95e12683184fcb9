"""The admin API: budgets are set, shown and deleted while everything runs. It exists only where it has a key.

It is an application of its own beneath `/admin`, with its own description in OpenAPI, so that nothing of it
can be reached, or read about, in a gateway without an admin key.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Annotated, Any, Protocol

import msgspec
import structlog
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.refusal import Refusal
from spendstream.budgets import BudgetFile
from spendstream.budgets.definition import DIMENSIONS, ENFORCEMENTS, ON_BREACH
from spendstream.budgets.documents import MAX_DOCUMENT_BYTES, BadBudget, BudgetDocument, decode
from spendstream.errors import TransientError

__all__ = ["Budgets", "create_admin"]

_log = structlog.get_logger()


class Budgets(Protocol):
    """Where budgets are kept; all methods raise TransientError while that does not answer."""

    file: BudgetFile

    async def documents(self) -> Mapping[str, BudgetDocument]:
        """Return the budgets that were set here, by id."""

    async def put(self, document: BudgetDocument) -> None:
        """Set a budget for good."""

    async def delete(self, budget_id: str) -> None:
        """Delete a budget for good."""


_VERSION = {
    "type": "object",
    "required": ["amount", "period"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "description": "as in the path, or left out"},
        "name": {"type": "string"},
        "owner": {"type": "string"},
        "scope": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in DIMENSIONS},
            "additionalProperties": False,
        },
        "amount": {"type": "string", "examples": ["4500.50 EUR"]},
        "period": {"type": "string", "examples": ["day", "week", "month", "quarter", "year", "24h", "30d"]},
        "time_zone": {"type": "string", "default": "UTC"},
        "week_start": {"type": "string", "default": "monday"},
        "roll_over": {"type": ["string", "boolean"], "examples": ["20%", "100 EUR", True], "default": False},
        "thresholds": {"type": "array", "items": {"type": ["number", "string"]}, "default": [50, 80, 100]},
        "burn_rate": {"type": "boolean", "default": True},
        "forecast": {"type": "boolean", "default": True},
        "enforce": {"type": "string", "enum": list(ENFORCEMENTS), "default": "none"},
        "on_breach": {"type": "string", "enum": list(ON_BREACH)},
        "downgrade_to": {"type": "string", "description": "a model, for on_breach: downgrade"},
        "throttle": {"type": "boolean", "default": False},
        "effective_from": {"type": "string", "format": "date"},
        "effective_until": {"type": "string", "format": "date"},
    },
}
_DOCUMENT = {
    "type": "object",
    "required": ["versions"],
    "additionalProperties": False,
    "properties": {"versions": {"type": "array", "minItems": 1, "items": _VERSION}},
}
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _DOCUMENT}}}}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")
            },
        },
        "mistakes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
_WHY = {
    400: "it is no budget; `mistakes` has every field that is wrong",
    401: "no key, or a wrong one",
    404: "there is no such budget",
    409: "the budget is in the budget file: change it there",
    412: "If-Match names another state than the budget has",
    413: f"more than {MAX_DOCUMENT_BYTES} bytes",
    503: "Kafka is away; Retry-After says when to try again",
}

_BEARER = HTTPBearer(auto_error=False, description="the admin key")

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="an ETag: only if the budget is still so")
]


def create_admin(key_sha256: str, budgets: Budgets) -> FastAPI:
    """Return the application for whoever has the key with this SHA-256 (hex)."""
    admin = FastAPI(
        title="Spendstream admin API",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(_keeper(key_sha256))],
        responses={
            status: {"description": why, "content": {"application/json": {"schema": _ERROR}}}
            for status, why in _WHY.items()
            if status in (401, 503)
        },
    )
    _add_reading(admin, budgets)
    _add_writing(admin, budgets)
    admin.add_exception_handler(BadBudget, _answer_mistakes)
    admin.add_exception_handler(TransientError, _answer_patience)
    return admin


def _add_reading(admin: FastAPI, budgets: Budgets) -> None:
    @admin.get("/budgets")
    async def list_budgets() -> Response:
        """Return all budgets that were set here, and the ids of those in the file."""
        found = [_shown(document) for _, document in sorted((await budgets.documents()).items())]
        in_file = sorted({budget.id for budget in budgets.file.budgets})
        return Response(
            msgspec.json.encode({"budgets": found, "in_file": in_file}), media_type="application/json"
        )

    @admin.get("/budgets/{budget_id}", responses=_answers(404))
    async def get_budget(budget_id: str) -> Response:
        """Return a budget as it was written; its ETag tells this state from any other."""
        return _answer(_found(await budgets.documents(), budget_id))


def _add_writing(admin: FastAPI, budgets: Budgets) -> None:
    @admin.put("/budgets/{budget_id}", openapi_extra=_BODY, responses=_answers(400, 409, 412, 413))
    async def put_budget(budget_id: str, request: Request, if_match: IfMatch = None) -> Response:
        """Set a budget with all its versions; the answer comes when Kafka has it."""
        document = await _read(request, budget_id, budgets)
        _check(await budgets.documents(), budgets.file, budget_id, if_match)
        await budgets.put(document)
        _log.info("budget set", budget=budget_id, etag=document.tag)
        return _answer(document)

    @admin.delete("/budgets/{budget_id}", status_code=204, responses=_answers(404, 409, 412))
    async def delete_budget(budget_id: str, if_match: IfMatch = None) -> Response:
        """Delete a budget; its alerts end."""
        documents = await budgets.documents()
        _check(documents, budgets.file, budget_id, if_match)
        _found(documents, budget_id)
        await budgets.delete(budget_id)
        _log.info("budget deleted", budget=budget_id)
        return Response(status_code=204)


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": _WHY[status], "content": {"application/json": {"schema": _ERROR}}}
        for status in statuses
    }


def _keeper(key_sha256: str) -> Callable[..., Awaitable[None]]:
    async def keep(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        digest = sha256((given.credentials if given else "").encode()).hexdigest()
        if not given or not hmac.compare_digest(digest, key_sha256):
            raise Refusal(
                401,
                "the admin API needs its key: send the header `Authorization: Bearer <key>`",
                reason="unauthorised",
                code="invalid_admin_key",
            )

    return keep


async def _read(request: Request, budget_id: str, budgets: Budgets) -> BudgetDocument:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_DOCUMENT_BYTES:
            raise Refusal(413, f"a budget has at most {MAX_DOCUMENT_BYTES} bytes", reason="too_large")
    return decode(budget_id, bytes(body), budgets.file.rates)


def _check(
    documents: Mapping[str, BudgetDocument], file: BudgetFile, budget_id: str, if_match: str | None
) -> None:
    """Refuse what would change a budget of the file, or one that is not as the caller believes."""
    if any(budget.id == budget_id for budget in file.budgets):
        raise Refusal(
            409, f"budget {budget_id} is in the budget file: change it there", reason="conflict", param="id"
        )
    known = documents.get(budget_id)
    if if_match is not None and (known is None or if_match not in ("*", _etag(known))):
        found = _etag(known) if known else "no such budget"
        raise Refusal(
            412, f"budget {budget_id} is not as expected: {found}", reason="conflict", param="If-Match"
        )


def _found(documents: Mapping[str, BudgetDocument], budget_id: str) -> BudgetDocument:
    if budget_id not in documents:
        raise Refusal(404, f"there is no budget {budget_id} that was set here", reason="http", param="id")
    return documents[budget_id]


def _shown(document: BudgetDocument) -> dict[str, Any]:
    return {"id": document.id, "etag": _etag(document), "budget": msgspec.Raw(document.encoded)}


def _answer(document: BudgetDocument) -> Response:
    return Response(document.encoded, headers={"etag": _etag(document)}, media_type="application/json")


def _etag(document: BudgetDocument) -> str:
    return f'"{document.tag}"'


async def _answer_mistakes(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadBudget)  # noqa: S101 - what it is registered for
    mistakes = [{"field": field, "reason": reason} for field, reason in error.by_field]
    refusal = Refusal(400, str(error), reason="invalid", param=mistakes[0]["field"], code="invalid_budget")
    return JSONResponse({**refusal.body, "mistakes": mistakes}, refusal.status)


async def _answer_patience(_: Request, error: Exception) -> Response:
    assert isinstance(error, TransientError)  # noqa: S101 - what it is registered for
    refusal = Refusal(
        503, str(error), reason="unavailable", kind="server_error", retry_after=error.retry_after
    )
    return Response(refusal.encoded, refusal.status, refusal.headers, media_type="application/json")
