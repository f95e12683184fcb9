"""What many write first: FastAPI takes the request, httpx hands it on. No keys, no limits, no metering."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

_UPSTREAM = os.environ["BENCHMARK_UPSTREAM"]
_PORT = int(os.environ["BENCHMARK_PORT"])
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=256)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(limits=_LIMITS, timeout=60) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=_lifespan)


@app.post("/v1/chat/completions")
async def chat(request: Request, body: dict[str, Any] = Body()) -> Response:  # noqa: B008, FAST002
    """Hand a request on, and its answer back."""
    client: httpx.AsyncClient = request.app.state.client
    call = client.build_request("POST", f"{_UPSTREAM}/v1/chat/completions", json=body)
    if body.get("stream"):
        answer = await client.send(call, stream=True)
        return StreamingResponse(answer.aiter_bytes(), answer.status_code, media_type="text/event-stream")
    answer = await client.send(call)
    return JSONResponse(answer.json(), answer.status_code)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=_PORT, log_level="warning", access_log=False)
