"""What OpenAI and Anthropic refuse of a request, in their words, so that a wrong client shows.

Only the shape of a body is judged here; routes, keys and models are the business of `models`.
"""

import math
import re
from typing import Any

from tests.fakes.models_wire import ROLES, Answer, Request, refusal, text_of

#: What each API knows of a request's body; anything else is refused there too.
_OPENAI = frozenset(
    re.findall(
        r"\w+",
        "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens "
        "max_tokens messages metadata modalities model n parallel_tool_calls prediction "
        "presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort response_format "
        "safety_identifier seed service_tier stop store stream stream_options temperature "
        "tool_choice tools top_logprobs top_p user verbosity web_search_options",
    )
)
_ANTHROPIC = frozenset(
    re.findall(
        r"\w+",
        "cache_control container inference_geo max_tokens messages metadata model output_config "
        "service_tier stop_sequences stream system temperature thinking tool_choice tools top_k "
        "top_p",
    )
)
_FORMATS = ("json_object", "json_schema", "text")


def wrong_shape(request: Request) -> Answer | None:
    """The 400 of a body the API would refuse, with its words; None for one it takes."""
    if request.body is None:
        message = (
            "We could not parse the JSON body of your request. (HINT: This likely means you "
            "aren't using your HTTP library correctly.)"
        )
        if request.dialect == "anthropic":
            message = "The request body is not valid JSON"
        return refusal(request, 400, "invalid_request_error", message)
    found = (_wrong_openai if request.dialect == "openai" else _wrong_anthropic)(request)
    if found is None:
        return None
    message, code, param = found
    return refusal(request, 400, "invalid_request_error", message, code=code, param=param)


_Wrong = tuple[str, str | None, str | None]


def _wrong_openai(request: Request) -> _Wrong | None:
    body = request.body or {}
    if not isinstance(body.get("model"), str) or not body["model"]:
        return "you must provide a model parameter", None, None
    if "messages" not in body:
        return "Missing required parameter: 'messages'.", "missing_required_parameter", "messages"
    if extra := sorted(set(body) - _OPENAI):
        return f"Unrecognized request argument supplied: {extra[0]}", None, None
    if not _objects(body["messages"]):
        message = "Invalid type for 'messages': expected an array of objects."
        return message, "invalid_type", "messages"
    if not body["messages"]:
        message = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got "
            "an empty array instead."
        )
        return message, "empty_array", "messages"
    for number, said in enumerate(body["messages"]):
        if said.get("role") not in ROLES:
            known = ", ".join(f"'{role}'" for role in ROLES[:-1])
            message = f"Invalid value: '{said.get('role')}'. Supported values are: {known}, and "
            return f"{message}'{ROLES[-1]}'.", "invalid_value", f"messages[{number}].role"
        if said["role"] != "assistant" and not isinstance(said.get("content"), str | list):
            message = f"Invalid value for 'content': expected a string, got {said.get('content')}."
            return message, None, f"messages.[{number}].content"
    if (found := _wrong_number(body, "temperature", 0, 2)) or (
        found := _wrong_number(body, "max_tokens", 1, math.inf)
    ):
        return found
    return _wrong_format(request, body.get("response_format"))


def _wrong_number(body: dict[str, Any], name: str, least: float, most: float) -> _Wrong | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"Invalid type for '{name}': expected a number.", "invalid_type", name
    if least <= value <= most:
        return None
    bound, word = (least, "minimum") if value < least else (most, "maximum")
    side = "below" if value < least else "above"
    sign = ">=" if value < least else "<="
    message = f"Invalid '{name}': decimal {side} {word} value. Expected a value {sign} {bound}, "
    return f"{message}but got {value} instead.", f"decimal_{side}_{word}_value", name


def _wrong_format(request: Request, asked: Any) -> _Wrong | None:
    if asked is None:
        return None
    kind = asked.get("type") if isinstance(asked, dict) else None
    if kind not in _FORMATS:
        known = ", ".join(f"'{form}'" for form in _FORMATS)
        message = f"Invalid value: '{kind}'. Supported values are: {known}."
        return message, "invalid_value", "response_format.type"
    if kind == "json_object" and "json" not in request.prompt.lower():
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'."
        )
        return message, None, "messages"
    if kind != "json_schema":
        return None
    described = asked.get("json_schema") or {}
    schema = described.get("schema")
    if not isinstance(described.get("name"), str) or not isinstance(schema, dict):
        param = "response_format.json_schema"
        return f"Missing required parameter: '{param}'.", "missing_required_parameter", param
    if described.get("strict") and schema.get("additionalProperties") is not False:
        message = (
            f"Invalid schema for response_format '{described['name']}': In context=(), "
            "'additionalProperties' is required to be supplied and to be false."
        )
        return message, None, "response_format"
    return None


def _wrong_anthropic(request: Request) -> _Wrong | None:
    message = _anthropic_objection(request, request.body or {})
    return (message, None, None) if message else None


def _anthropic_objection(request: Request, body: dict[str, Any]) -> str | None:
    if not request.headers.get("anthropic-version"):
        return "anthropic-version: header is required"
    if missing := [name for name in ("model", "max_tokens", "messages") if name not in body]:
        return f"{missing[0]}: Field required"
    if extra := sorted(set(body) - _ANTHROPIC):
        return f"{extra[0]}: Extra inputs are not permitted"
    if not isinstance(body["model"], str) or not body["model"]:
        return "model: String should have at least 1 character"
    if type(body["max_tokens"]) is not int:
        return "max_tokens: Input should be a valid integer"
    if body["max_tokens"] < 1:
        return f"max_tokens: {body['max_tokens']}, must be greater than or equal to 1"
    if not 0 <= body.get("temperature", 0) <= 1:
        return "temperature: range: 0..1"
    if not _objects(body["messages"]):
        return "messages: Input should be a valid list"
    if not body["messages"]:
        return "messages: at least one message is required"
    asked = request.response_format
    if asked and asked.get("type") != "json_schema":
        return "output_config.format.type: Input should be 'json_schema'"
    if asked and (asked.get("schema") or {}).get("additionalProperties") is not False:
        return (
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be "
            "explicitly set to false"
        )
    return next(filter(None, (_wrong_turn(*turn) for turn in enumerate(body["messages"]))), None)


def _wrong_turn(number: int, said: dict[str, Any]) -> str | None:
    role = said.get("role")
    if role == "system":
        return (
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` '
            'parameter, not "system" as an input message role.'
        )
    if role not in ("user", "assistant"):
        return f"messages.{number}.role: Input should be 'user' or 'assistant'"
    if not text_of(said.get("content")).strip():
        return "messages: text content blocks must be non-empty"
    return None


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
