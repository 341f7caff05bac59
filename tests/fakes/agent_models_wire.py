"""What the four tools' providers send: a text, a call of the tool's shell, or a refusal.

Formats as the tools' own clients read them: Anthropic's messages, OpenAI's responses and chat
completions, Gemini's `streamGenerateContent`.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Input with the cached, cached, output."""

    taken: int
    cached: int
    given: int

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.taken + other.taken, self.cached + other.cached, self.given + other.given
        )


@dataclasses.dataclass(frozen=True)
class Say:
    """A text that ends the model's turn."""

    text: str


@dataclasses.dataclass(frozen=True)
class Shell:
    """A command for the tool's own shell; codex's comes back after `wait_s` and goes on."""

    command: str
    wait_s: float = 20.0


@dataclasses.dataclass(frozen=True)
class Poll(Shell):
    """Codex's way to wait for a command that goes on."""

    command: str = ""


@dataclasses.dataclass(frozen=True)
class Refused:
    """An error of the provider; `more` are further fields of it."""

    status: int
    message: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


UNAUTHORIZED = Refused(401, "invalid x-api-key")


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Form(Protocol):
    """One provider's format."""

    def has_shell(self, request: dict[str, Any]) -> bool: ...

    def say(self, request: dict[str, Any], step: Say | Shell, tokens: Tokens) -> Answer: ...

    def refuse(self, refused: Refused) -> Answer: ...


def tokens(number: int) -> Tokens:
    """Numbers that no two answers have in common."""
    return Tokens(1000 + number, 400 + number, 30 + number)


def form(path: str) -> "Form | None":
    """The format of requests to a path; None for one that no provider has."""
    for pattern, found in _FORMS.items():
        if re.search(pattern, path):
            return found
    return None


def key(headers: Mapping[str, str]) -> str:
    """The key of a request, wherever its provider wants it."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or bearer


def texts(request: Any) -> str:
    """All texts of a request, one a line."""
    return "\n".join(_texts(request))


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict | list):
        for part in found.values() if isinstance(found, dict) else found:
            yield from _texts(part)


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON body."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    return Answer(status, json.dumps(body).encode(), sent)


def _stream(events: list[dict[str, Any]], *, named: bool = False, end: str = "") -> Answer:
    """Server-sent events, `named` by their type."""
    lines = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        lines.append(f"{name}data: {json.dumps(event)}\n\n")
    return Answer(200, "".join([*lines, end]).encode(), {"Content-Type": "text/event-stream"})


class _Anthropic:
    def has_shell(self, request: dict[str, Any]) -> bool:
        return any(tool.get("name") == "Bash" for tool in request.get("tools", []))

    def say(self, request: dict[str, Any], step: Say | Shell, tokens: Tokens) -> Answer:
        usage = {
            "input_tokens": tokens.taken - tokens.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": tokens.cached,
            "output_tokens": tokens.given,
        }
        number = f"msg_{tokens.taken}"
        message = {"id": number, "type": "message", "role": "assistant", "stop_sequence": None}
        message |= {"model": request.get("model", "claude")}
        if isinstance(step, Say):
            whole = {"type": "text", "text": step.text}
            empty, reason = {"type": "text", "text": ""}, "end_turn"
            delta = {"type": "text_delta", "text": step.text}
        else:
            given = {"command": step.command, "description": "work"}
            whole = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": given}
            empty, reason = {**whole, "input": {}}, "tool_use"
            delta = {"type": "input_json_delta", "partial_json": json.dumps(given)}
        if not request.get("stream"):
            return json_answer(
                200, {**message, "content": [whole], "stop_reason": reason, "usage": usage}
            )
        begun = {**message, "content": [], "stop_reason": None}
        ended = {"stop_reason": reason, "stop_sequence": None}
        return _stream(
            [
                {
                    "type": "message_start",
                    "message": begun | {"usage": usage | {"output_tokens": 1}},
                },
                {"type": "content_block_start", "index": 0, "content_block": empty},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": ended, "usage": usage},
                {"type": "message_stop"},
            ],
            named=True,
        )

    def refuse(self, refused: Refused) -> Answer:
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
            refused.status, "api_error"
        )
        error = {"type": kind, "message": refused.message, **refused.more}
        return json_answer(refused.status, {"type": "error", "error": error}, refused.headers)


class _Responses:
    def has_shell(self, request: dict[str, Any]) -> bool:
        return any(tool.get("name") == "exec_command" for tool in request.get("tools", []))

    def say(self, request: dict[str, Any], step: Say | Shell, tokens: Tokens) -> Answer:
        number = f"resp_{tokens.taken}"
        if isinstance(step, Say):
            content = [{"type": "output_text", "text": step.text, "annotations": []}]
            item = {"type": "message", "role": "assistant", "id": f"msg_{number}"}
            item |= {"content": content, "status": "completed"}
        else:
            name, wait = "exec_command", {"yield_time_ms": int(step.wait_s * 1000)}
            given = {"cmd": step.command, **wait}
            if isinstance(step, Poll):
                running = re.findall(r"running with session ID (\d+)", texts(request))
                name, given = "write_stdin", {"session_id": int(running[-1]), "chars": "", **wait}
            item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}"}
            item |= {"name": name, "arguments": json.dumps(given), "status": "completed"}
        usage = {
            "input_tokens": tokens.taken,
            "input_tokens_details": {"cached_tokens": tokens.cached},
            "output_tokens": tokens.given,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens.taken + tokens.given,
        }
        response = {"id": number, "object": "response", "model": request.get("model")}
        done = {**response, "status": "completed", "output": [item], "usage": usage}
        return _stream(
            [
                {"type": "response.created", "response": {**response, "status": "in_progress"}},
                {"type": "response.output_item.done", "output_index": 0, "item": item},
                {"type": "response.completed", "response": done},
            ],
            named=True,
        )

    def refuse(self, refused: Refused) -> Answer:
        error = {"type": None, "code": None, "message": refused.message, **refused.more}
        return json_answer(refused.status, {"error": error}, refused.headers)


class _Gemini:
    def has_shell(self, request: dict[str, Any]) -> bool:
        declared = (d for tool in request.get("tools", []) for d in tool["functionDeclarations"])
        return any(function["name"] == "run_shell_command" for function in declared)

    def say(self, request: dict[str, Any], step: Say | Shell, tokens: Tokens) -> Answer:
        part: dict[str, Any] = {"text": step.text} if isinstance(step, Say) else {}
        if isinstance(step, Shell):
            given = {"command": step.command, "description": "work"}
            part = {"functionCall": {"name": "run_shell_command", "args": given}}
        usage = {
            "promptTokenCount": tokens.taken,
            "cachedContentTokenCount": tokens.cached,
            "candidatesTokenCount": tokens.given,
            "totalTokenCount": tokens.taken + tokens.given,
        }
        content = {"role": "model", "parts": [part]}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return _stream([{"candidates": [candidate], "usageMetadata": usage}])

    def refuse(self, refused: Refused) -> Answer:
        status = {401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED"}.get(refused.status, "INTERNAL")
        error = {"code": refused.status, "message": refused.message, "status": status}
        body = {"error": {**error, **refused.more}}
        return json_answer(refused.status, body, refused.headers)


class _Completions:
    def has_shell(self, request: dict[str, Any]) -> bool:
        names = (tool.get("function", {}).get("name") for tool in request.get("tools", []))
        return "run_shell_command" in names

    def say(self, request: dict[str, Any], step: Say | Shell, tokens: Tokens) -> Answer:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if isinstance(step, Say):
            message["content"], reason = step.text, "stop"
        else:
            given = {"command": step.command, "is_background": False, "description": "work"}
            function = {"name": "run_shell_command", "arguments": json.dumps(given)}
            call = {"id": f"call_{tokens.taken}", "type": "function", "function": function}
            message["tool_calls"], reason = [{"index": 0, **call}], "tool_calls"
        usage = {
            "prompt_tokens": tokens.taken,
            "completion_tokens": tokens.given,
            "total_tokens": tokens.taken + tokens.given,
            "prompt_tokens_details": {"cached_tokens": tokens.cached},
        }
        whole = {"id": f"chatcmpl-{tokens.taken}", "created": 1, "model": request.get("model")}
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            body = {**whole, "object": "chat.completion", "choices": [choice], "usage": usage}
            return json_answer(200, body)
        whole["object"] = "chat.completion.chunk"
        return _stream(
            [
                {**whole, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
                {**whole, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
                {**whole, "choices": [], "usage": usage},
            ],
            end="data: [DONE]\n\n",
        )

    refuse = _Responses.refuse


_FORMS: dict[str, Form] = {
    r"/v1/messages(\?|$)": _Anthropic(),
    r"/v1/responses$": _Responses(),
    r":streamGenerateContent\?alt=sse$": _Gemini(),
    r"/v1/chat/completions$": _Completions(),
}
