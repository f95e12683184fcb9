"""OpenAI's chat, asked of a provider that speaks Anthropic's messages: there and back.

So that a route or a fallback can lead from the one to the other. What Anthropic has no word for and would
change the answer is refused; hints that it has no word for (seed, penalties, logit bias) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import convert

from gateway.dialects.events import DONE, event
from gateway.dialects.openai_chat import OpenAIUsage
from gateway.upstream.client import Answer
from gateway.usage import Usage

__all__ = [
    "NotTranslatable",
    "StreamTranslation",
    "TranslatedAnswer",
    "error_to_chat",
    "request_to_messages",
    "whole_to_chat",
]

_SUCCESS = range(200, 300)

_MAX_TOKENS = 4096  # Anthropic wants a limit, and OpenAI's clients need not set one
_PLAIN = ("temperature", "top_p", "stream")
_UNKNOWN = ("logprobs", "top_logprobs", "audio", "functions", "function_call", "web_search_options")
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class NotTranslatable(ValueError):
    """A request that means something which the other API cannot say."""


def request_to_messages(body: bytes) -> bytes:
    """Return a chat request as one for messages. Raises NotTranslatable."""
    chat = _decode(body)
    _refuse_unknown(chat)
    asked: dict[str, Any] = {"model": chat["model"], "messages": _turns(chat["messages"])}
    asked["max_tokens"] = chat.get("max_completion_tokens") or chat.get("max_tokens") or _MAX_TOKENS
    system = [_text(one.get("content")) for one in chat["messages"] if one["role"] in ("system", "developer")]
    if system:
        asked["system"] = "\n\n".join(system)
    asked |= {name: chat[name] for name in _PLAIN if chat.get(name) is not None}
    if "temperature" in asked:
        asked["temperature"] = min(asked["temperature"], 1)
    if stop := chat.get("stop"):
        asked["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if user := chat.get("user"):
        asked["metadata"] = {"user_id": user}
    if tools := chat.get("tools"):
        asked["tools"] = [_tool(tool) for tool in tools]
        if choice := _tool_choice(chat):
            asked["tool_choice"] = choice
    return _encode(asked)


def whole_to_chat(body: bytes) -> bytes:
    """Return a whole answer as a chat completion; what is none, as it is."""
    try:
        message = _decode(body)
        blocks = message["content"]
    except (msgspec.DecodeError, TypeError, KeyError):
        return body
    told: dict[str, Any] = {"role": "assistant", "content": _joined(blocks, "text"), "refusal": None}
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    if calls:
        told["tool_calls"] = calls
    reason = _REASONS.get(message.get("stop_reason") or "", "stop")
    choice = {"index": 0, "message": told, "logprobs": None, "finish_reason": reason}
    head = _head(message, "chat.completion")
    return _encode({**head, "choices": [choice], "usage": _usage(message.get("usage") or {})})


def error_to_chat(body: bytes) -> bytes:
    """Return an error in OpenAI's shape; what is none, as it is."""
    try:
        told = _decode(body)["error"]
        error = {"message": told["message"], "type": told["type"], "param": None, "code": told["type"]}
    except (msgspec.DecodeError, TypeError, KeyError):
        return body
    return _encode({"error": error})


class StreamTranslation:
    """Turns the events of a streamed message into the chunks of a chat, however they are cut."""

    def __init__(self) -> None:
        self._held = b""
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._calls = -1
        self._events: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
            "message_start": self._start,
            "content_block_start": self._open,
            "content_block_delta": lambda told: self._delta(told["delta"]),
            "message_delta": self._end,
            "message_stop": self._stop,
            "error": self._fail,
        }

    @property
    def usage(self) -> Usage | None:
        """What the message has used as far as it has said; None if it has said nothing that makes sense."""
        if not self._usage:
            return None
        try:
            return convert(_usage(self._usage), OpenAIUsage).usage()
        except (msgspec.ValidationError, TypeError):
            return None

    def feed(self, data: bytes) -> bytes:
        """Return the chunks that are complete now."""
        joined = (self._held + data).replace(b"\r\n", b"\n")
        whole, end, self._held = joined.rpartition(b"\n\n")
        return b"".join(map(self._translated, whole.split(b"\n\n"))) if end else b""

    def _translated(self, block: bytes) -> bytes:
        lines = [line[5:] for line in block.split(b"\n") if line.startswith(b"data:")]
        try:
            told = _decode(b"\n".join(lines))
            translate = self._events.get(told["type"])
            return b"" if translate is None else translate(told)
        except (msgspec.DecodeError, TypeError, KeyError):  # what no provider should send
            return b""

    def _start(self, told: Mapping[str, Any]) -> bytes:
        self._head = _head(told["message"], "chat.completion.chunk")
        self._usage = told["message"].get("usage") or {}
        return self._chunk({"role": "assistant", "content": ""})

    def _open(self, told: Mapping[str, Any]) -> bytes:
        block = told["content_block"]
        if block["type"] != "tool_use":
            return b""
        self._calls += 1
        return self._chunk({"tool_calls": [{"index": self._calls, **_call(block, "")}]})

    def _end(self, told: Mapping[str, Any]) -> bytes:
        self._usage = {**self._usage, **(told.get("usage") or {})}
        return self._chunk({}, _REASONS.get(told["delta"].get("stop_reason") or "", "stop"))

    def _stop(self, _: Mapping[str, Any]) -> bytes:
        return event({**self._head, "choices": [], "usage": _usage(self._usage)}) + DONE

    def _fail(self, told: Mapping[str, Any]) -> bytes:
        return b"data: " + error_to_chat(_encode(told)) + b"\n\n"

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        if delta.get("type") == "text_delta":
            return self._chunk({"content": delta["text"]})
        if delta.get("type") == "input_json_delta":
            part = {"index": self._calls, "function": {"arguments": delta["partial_json"]}}
            return self._chunk({"tool_calls": [part]})
        return b""

    def _chunk(self, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return event({**self._head, "choices": [choice], "usage": None})


def _refuse_unknown(chat: Mapping[str, Any]) -> None:
    found = [name for name in _UNKNOWN if chat.get(name)]
    if (chat.get("n") or 1) > 1:
        found.append("n")
    if (chat.get("response_format") or {}).get("type", "text") != "text":
        found.append("response_format")
    if found:
        raise NotTranslatable(
            f"Anthropic's API has no {', '.join(found)}: leave it out, or ask another model"
        )


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the turns; what tools have said is the user's, and turns of one side become one."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if role in ("system", "developer"):
            continue
        side = "assistant" if role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == side:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": side, "content": blocks})
    return turns


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if message["role"] == "tool":
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id", "")}
        return [{**result, "content": _text(content)}]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    blocks = [_part(part) for part in parts if part.get("type") != "text" or part.get("text")]
    for call in message.get("tool_calls") or ():
        given = call["function"].get("arguments") or "{}"
        try:
            arguments = _decode(given.encode())
        except msgspec.DecodeError as error:
            raise NotTranslatable("tool_calls: the arguments are no JSON") from error
        name = call["function"]["name"]
        blocks.append({"type": "tool_use", "id": call["id"], "name": name, "input": arguments})
    return blocks


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "image_url":
        url = part["image_url"]["url"]
        kind, encoded, data = url.partition(";base64,")
        if encoded and kind.startswith("data:"):
            source = {"type": "base64", "media_type": kind.removeprefix("data:"), "data": data}
        else:
            source = {"type": "url", "url": url}
        return {"type": "image", "source": source}
    raise NotTranslatable(f"Anthropic's API has no content of type {part.get('type')!r}")


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict):
        raise NotTranslatable(f"Anthropic's API has no tool of type {tool.get('type')!r}")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    found = {"name": function["name"], "input_schema": schema}
    return {**found, "description": function["description"]} if function.get("description") else found


def _tool_choice(chat: Mapping[str, Any]) -> dict[str, Any]:
    choice = chat.get("tool_choice")
    if isinstance(choice, dict):
        found = {"type": "tool", "name": choice["function"]["name"]}
    else:
        found = {"type": _CHOICES.get(choice or "auto", "auto")}
    if chat.get("parallel_tool_calls") is False and found["type"] != "none":
        return {**found, "disable_parallel_tool_use": True}
    return found if choice is not None else {}


def _text(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part.get("text", "") for part in content)


def _joined(blocks: Iterable[Mapping[str, Any]], kind: str) -> str | None:
    texts = [block[kind] for block in blocks if block.get("type") == kind]
    return "".join(texts) if texts else None


def _call(block: Mapping[str, Any], arguments: str | None = None) -> dict[str, Any]:
    given = _encode(block.get("input") or {}).decode() if arguments is None else arguments
    function = {"name": block["name"], "arguments": given}
    return {"id": block["id"], "type": "function", "function": function}


def _head(message: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what all parts of a chat begin with; Anthropic does not say when it was made."""
    return {"id": message.get("id", ""), "object": kind, "created": 0, "model": message.get("model", "")}


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return OpenAI's usage, with what Anthropic's cache wrote beside what it read."""
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    an_hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + read + written
    output = usage.get("output_tokens") or 0
    details = {"cached_tokens": read, "cache_write_tokens": written, "cache_write_1h_tokens": an_hour}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": details,
    }


class TranslatedAnswer:
    """An answer of Anthropic's, as one of OpenAI's chat."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._stream = StreamTranslation()
        self.status = answer.status
        self.headers = answer.headers

    @property
    def usage(self) -> Usage | None:
        """What a stream has said of its usage, which its chunks only say at their end."""
        return self._stream.usage

    async def read(self) -> bytes:
        """Return what has come since the last read, waiting for some; nothing at the end.

        Raises BrokenOff.
        """
        while data := await self._answer.read():
            if chunks := self._stream.feed(data):
                return chunks
        return b""

    async def read_all(self) -> bytes:
        """Return the rest of the answer. Raises BrokenOff."""
        body = await self._answer.read_all()
        return whole_to_chat(body) if self.status in _SUCCESS else error_to_chat(body)

    def close(self) -> None:
        """Let go of it."""
        self._answer.close()
