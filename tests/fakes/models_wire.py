"""What goes over the wire between a client and the fake models: OpenAI's and Anthropic's formats.

Nothing here knows keys, answers or faults; those are in `models` and `models_faults`.
"""

import dataclasses
import json
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

Dialect = Literal["openai", "anthropic"]
End = Literal["stop", "length", "refusal", "content_filter"]
ROLES = ("system", "assistant", "user", "function", "tool", "developer")

#: OpenAI tells of a refusal in the message and of a filter in the finish reason; Anthropic has
#: one stop reason for both.
_ANTHROPIC_ENDS = {"stop": "end_turn", "length": "max_tokens"}
_PIECES = 8


@dataclasses.dataclass(frozen=True)
class Usage:
    """Tokens; the input includes what came from the provider's cache."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the model says and why it stops; `cached_tokens` of the input cost it less."""

    text: str
    end: End = "stop"
    cached_tokens: int = 0


@dataclasses.dataclass
class Answer:
    """A response; several `pieces` are a stream of events.

    Attributes:
        usage: What it reports, counted when all of it has been sent.
        kept: The share of the body that is sent before the connection is closed; 0 leaves the
            request without any answer.
        pause_s: Between the pieces; a response of one piece is cut into eight for that.
    """

    status: int
    pieces: list[bytes]
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    usage: Usage | None = None
    streamed: bool = False
    kept: float = 1.0
    pause_s: float = 0.0


@dataclasses.dataclass
class Request:
    """One request as it arrived, header names in lower case; `status` and `usage` follow.

    Attributes:
        key: The bearer token, `x-api-key`, or a gateway's own key.
        body: The JSON object, None when it is none.
    """

    method: str
    path: str
    headers: dict[str, str]
    dialect: Dialect
    key: str | None = None
    body: dict[str, Any] | None = None
    at: float = dataclasses.field(default_factory=time.monotonic)
    status: int | None = None
    usage: Usage | None = None
    #: The answer without the fault, and what the test lets the model say in it.
    ordinary: Callable[[], Answer] = dataclasses.field(init=False, repr=False)
    said: Callable[[], Any] = dataclasses.field(init=False, repr=False)

    @property
    def model(self) -> str:
        return (self.body or {}).get("model", "")

    @property
    def streams(self) -> bool:
        return bool((self.body or {}).get("stream"))

    @property
    def system(self) -> str:
        """Anthropic's `system`, or OpenAI's system and developer messages."""
        own = text_of((self.body or {}).get("system"))
        return own or self._of("system", "developer")

    @property
    def user(self) -> str:
        """All that stands in the user's messages."""
        return self._of("user")

    @property
    def prompt(self) -> str:
        """All texts, the model's former ones included."""
        return "\n".join(filter(None, (text_of((self.body or {}).get("system")), self._of(*ROLES))))

    @property
    def response_format(self) -> dict[str, Any] | None:
        """What the answer must look like; Anthropic's has its schema in another place."""
        body = self.body or {}
        return body.get("response_format") or (body.get("output_config") or {}).get("format")

    @property
    def fields(self) -> tuple[str, ...]:
        """The output fields that one of DSPy's adapters asks for, none in other prompts."""
        _, _, asked = self.system.partition("Your output fields are:\n")
        asked, _, _ = asked.partition("All interactions will be structured")
        return tuple(re.findall(r"^\d+\. `(\w+)` \(", asked, re.MULTILINE))

    @property
    def wants_json(self) -> bool:
        """Whether the fields are asked for as a JSON object (JSONAdapter)."""
        return "Outputs will be a JSON object with the following fields." in self.system

    def _of(self, *roles: str) -> str:
        messages = (self.body or {}).get("messages") or []
        turns = (said for said in messages if isinstance(said, dict))
        found = (text_of(said.get("content")) for said in turns if said.get("role") in roles)
        return "\n".join(filter(None, found))


Fault = Callable[[Request], Answer | Reply | None]


def of_json(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, [body], {"Content-Type": "application/json", **(headers or {})})


def refusal(
    request: Request,
    status: int,
    kind: str,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An error in the request's own format; Anthropic's has no code and no parameter."""
    if request.dialect == "openai":
        error = {"message": message, "type": kind, "param": param, "code": code}
        return of_json(status, {"error": error}, headers)
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return of_json(status, {**body, "request_id": request_id(request)}, headers)


def request_id(request: Request) -> str:
    return f"req_{uuid.uuid5(uuid.NAMESPACE_OID, f'{id(request)} {request.at}').hex}"


def tokens(text: str) -> int:
    """Four characters each, which is near enough to what either provider counts."""
    return math.ceil(len(text) / 4)


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else ()
    return "\n".join(block.get("text", "") for block in blocks if isinstance(block, dict))


def completion(request: Request, reply: Reply) -> Answer:
    """What the model says, in the request's format and as a stream if it asks for one."""
    usage = Usage(tokens(request.prompt), tokens(reply.text), reply.cached_tokens)
    build = _openai if request.dialect == "openai" else _anthropic
    whole, events, reports = build(request, reply, usage)
    if not request.streams:
        answer = of_json(200, whole)
        answer.usage = usage
        return answer
    named = request.dialect == "anthropic"
    pieces = [_event(event, named=named) for event in events]
    pieces += [] if named else [b"data: [DONE]\n\n"]
    headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    return Answer(200, pieces, headers, usage if reports else None, streamed=True)


def _event(event: dict[str, Any], *, named: bool) -> bytes:
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def _split(text: str) -> list[str]:
    step = max(1, math.ceil(len(text) / _PIECES))
    return [text[start : start + step] for start in range(0, len(text), step)]


_Built = tuple[dict[str, Any], list[dict[str, Any]], bool]


def _openai(request: Request, reply: Reply, usage: Usage) -> _Built:
    refused = reply.end == "refusal"
    finish = "stop" if refused else reply.end
    said = "refusal" if refused else "content"
    counted = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    common = {
        "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
        "created": int(time.time()),
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }
    message = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message | {said: reply.text}, "logprobs": None}
    whole = {
        **common,
        "object": "chat.completion",
        "choices": [choice | {"finish_reason": finish}],
        "usage": counted,
    }
    reports = bool(((request.body or {}).get("stream_options") or {}).get("include_usage"))
    common |= {"object": "chat.completion.chunk"} | ({"usage": None} if reports else {})

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**common, "choices": [choice]}

    events = [chunk({"role": "assistant", "content": "", "refusal": None})]
    events += [chunk({said: piece}) for piece in _split(reply.text)]
    events += [chunk({}, finish)]
    events += [{**common, "choices": [], "usage": counted}] if reports else []
    return whole, events, reports


def _anthropic(request: Request, reply: Reply, usage: Usage) -> _Built:
    counted = {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    ended = {"stop_reason": _ANTHROPIC_ENDS.get(reply.end, "refusal"), "stop_sequence": None}
    message = {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        # No block at all when there is nothing to say, as after a refusal.
        "content": [{"type": "text", "text": reply.text}] if reply.text else [],
    }
    whole = {**message, **ended, "usage": {**counted, "service_tier": "standard"}}
    started = {"stop_reason": None, "stop_sequence": None, "usage": {**counted, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], **started}}
    ]
    if reply.text:
        block = {"type": "text", "text": ""}
        events += [{"type": "content_block_start", "index": 0, "content_block": block}]
        events += [{"type": "ping"}]
        for piece in _split(reply.text):
            delta = {"type": "text_delta", "text": piece}
            events += [{"type": "content_block_delta", "index": 0, "delta": delta}]
        events += [{"type": "content_block_stop", "index": 0}]
    events += [{"type": "message_delta", "delta": ended, "usage": counted}]
    return whole, [*events, {"type": "message_stop"}], True


def catalogue(request: Request, names: list[str]) -> Answer:
    """`GET /v1/models`, or one of them."""
    _, _, wanted = request.path.partition("/v1/models/")
    if request.dialect == "openai":
        found = [{"id": n, "object": "model", "created": 1, "owned_by": "openai"} for n in names]
        whole: dict[str, Any] = {"object": "list", "data": found}
    else:
        made = "2026-01-01T00:00:00Z"
        found = [{"type": "model", "id": n, "display_name": n, "created_at": made} for n in names]
        ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
        whole = {"data": found, "has_more": False, "first_id": None, "last_id": None} | ends
    if not wanted:
        return of_json(200, whole)
    one = [model for model in found if model["id"] == wanted]
    return of_json(200, one[0]) if one else unknown_model(request, wanted)


def unknown_model(request: Request, name: str) -> Answer:
    if request.dialect == "anthropic":
        return refusal(request, 404, "not_found_error", f"model: {name}")
    message = f"The model `{name}` does not exist or you do not have access to it."
    return refusal(request, 404, "invalid_request_error", message, code="model_not_found")
