"""Faults for `Models.fault`: what providers, gateways and the models themselves do on a bad day.

The bodies are the providers' own words, as quoted in bug reports and in their documentation.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes import models, models_wire
from tests.fakes.models_wire import Answer, Fault, Reply, Request, refusal

_REASONS = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


def slow(seconds: float) -> Fault:
    """The ordinary answer, that much later."""

    def answer(request: Request) -> None:
        time.sleep(seconds)

    return answer


def dripping(pause_s: float) -> Fault:
    """The ordinary answer in pieces, which a time-out between two reads never sees."""

    def answer(request: Request) -> Answer:
        ordinary = request.ordinary()
        ordinary.pause_s = pause_s
        return ordinary

    return answer


def cut(share: float = 0.5) -> Fault:
    """That share of the ordinary answer, then a closed connection; 0 is no answer at all."""

    def answer(request: Request) -> Answer:
        ordinary = request.ordinary()
        ordinary.kept = share
        return ordinary

    return answer


def unfinished() -> Fault:
    """Half of a stream's events, ended as if they were all; other answers are half a body."""

    def answer(request: Request) -> Answer:
        return _half(request.ordinary())

    return answer


def failing_stream() -> Fault:
    """An error between the events of a stream, which has begun with a 200."""

    def answer(request: Request) -> Answer:
        error = overloaded()(request)
        assert isinstance(error, Answer)
        if not request.streams:
            return error
        found = _half(request.ordinary())
        name = b"event: error\n" if request.dialect == "anthropic" else b""
        found.pieces.append(b"%sdata: %s\n\n" % (name, error.pieces[0]))
        return found

    return answer


def rate_limited(retry_after_s: float | None = None, reset_s: float | None = None) -> Fault:
    """A 429 with `retry-after`, with the provider's own reset headers, with both or with none."""

    def answer(request: Request) -> Answer:
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        openai = request.dialect == "openai"
        prefix = "x-ratelimit" if openai else "anthropic-ratelimit-requests"
        if reset_s is not None and openai:
            headers |= {f"{prefix}-limit-requests": "3", f"{prefix}-remaining-requests": "0"}
            headers |= {f"{prefix}-reset-requests": f"{reset_s:g}s"}
        elif reset_s is not None:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + reset_s))
            headers |= {f"{prefix}-limit": "50", f"{prefix}-remaining": "0", f"{prefix}-reset": at}
        if openai:
            message = (
                f"Rate limit reached for {request.model} in organization org-1 on requests per "
                "min (RPM): Limit 3, Used 3, Requested 1. Visit "
                "https://platform.openai.com/account/rate-limits to learn more."
            )
            code = "rate_limit_exceeded"
            return refusal(request, 429, "requests", message, code=code, headers=headers)
        message = (
            "This request would exceed your organization's rate limit of 50 requests per minute. "
            "For details, refer to: https://docs.claude.com/en/api/rate-limits."
        )
        return refusal(request, 429, "rate_limit_error", message, headers=headers)

    return answer


def no_quota() -> Fault:
    """OpenAI's 429 that no waiting helps; Anthropic's 400 for the same."""

    def answer(request: Request) -> Answer:
        if request.dialect == "anthropic":
            message = (
                "Your credit balance is too low to access the Anthropic API. Please go to Plans "
                "& Billing to upgrade or purchase credits."
            )
            return refusal(request, 400, "invalid_request_error", message)
        kind = "insufficient_quota"
        message = (
            "You exceeded your current quota, please check your plan and billing details. For "
            "more information on this error, read the docs: "
            "https://platform.openai.com/docs/guides/error-codes/api-errors."
        )
        return refusal(request, 429, kind, message, code=kind)

    return answer


def payment_required() -> Fault:
    """402, as Anthropic documents it and as OpenAI-compatible resellers send it."""

    def answer(request: Request) -> Answer:
        kind = "billing_error" if request.dialect == "anthropic" else "insufficient_credits"
        message = "There is an issue with your billing or payment information."
        return refusal(request, 402, kind, message)

    return answer


def unauthorized() -> Fault:
    return models.unauthorized


def forbidden() -> Fault:
    """403: the key is known, but may not."""

    def answer(request: Request) -> Answer:
        if request.dialect == "anthropic":
            message = "Your API key does not have permission to use the specified resource."
            return refusal(request, 403, "permission_error", message)
        message, code = "Country, region, or territory not supported", "unsupported_country"
        code = f"{code}_region_territory"
        return refusal(request, 403, "request_forbidden", message, code=code)

    return answer


def unknown_model() -> Fault:
    return lambda request: models_wire.unknown_model(request, request.model)


def context_exceeded() -> Fault:
    """400: the prompt is longer than the model can read."""

    def answer(request: Request) -> Answer:
        if request.dialect == "anthropic":
            message = "prompt is too long: 217203 tokens > 200000 maximum"
            return refusal(request, 400, "invalid_request_error", message)
        message = (
            "This model's maximum context length is 128000 tokens. However, your messages "
            "resulted in 217203 tokens. Please reduce the length of the messages."
        )
        code = "context_length_exceeded"
        return refusal(request, 400, "invalid_request_error", message, code=code, param="messages")

    return answer


def server_error() -> Fault:
    """The provider's own 500."""

    def answer(request: Request) -> Answer:
        if request.dialect == "anthropic":
            return refusal(request, 500, "api_error", "Internal server error")
        message = "The server had an error while processing your request. Sorry about that!"
        return refusal(request, 500, "server_error", message)

    return answer


def overloaded() -> Fault:
    """Anthropic's 529, OpenAI's 503."""

    def answer(request: Request) -> Answer:
        if request.dialect == "anthropic":
            return refusal(request, 529, "overloaded_error", "Overloaded")
        message = "That model is currently overloaded with other requests."
        return refusal(request, 503, "server_error", message)

    return answer


def proxy(code: int) -> Fault:
    """The page of a proxy in front; 200 is one that thinks it should say something, too."""
    title = f"{code} {_REASONS.get(code, 'Welcome')}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\r\n"
    return lambda request: Answer(code, [page.encode()], {"Content-Type": "text/html"})


def redirect(to: str, code: int = 307) -> Fault:
    """Elsewhere: a key must not follow."""
    return lambda request: Answer(code, [b""], {"Location": to, "Content-Type": "text/html"})


def body(content: bytes) -> Fault:
    """200 with these bytes, whatever they are."""
    return lambda request: Answer(200, [content], {"Content-Type": "application/json"})


def invalid_json() -> Fault:
    """Half of the ordinary body as if it were all."""
    return unfinished()


def says(text: str, end: models_wire.End = "stop") -> Fault:
    """These words instead of the ordinary ones: without fields they are no answer to DSPy."""
    return lambda request: Reply(text, end)


def empty() -> Fault:
    return says("")


def refuses() -> Fault:
    """The model will not: OpenAI's `message.refusal`, Anthropic's stop reason without text."""

    def answer(request: Request) -> Reply:
        openai = request.dialect == "openai"
        return Reply("I'm sorry, I can't assist with that." if openai else "", "refusal")

    return answer


def content_filter() -> Fault:
    """OpenAI's finish reason in mid-sentence; Anthropic's 400."""

    def answer(request: Request) -> Answer | Reply:
        if request.dialect == "openai":
            return _halved(request, "content_filter")
        message = "Output blocked by content filtering policy"
        return refusal(request, 400, "invalid_request_error", message)

    return answer


def too_long() -> Fault:
    """Half of what it would say, then the limit of tokens."""
    return lambda request: _halved(request, "length")


def changed(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Fault:
    """The ordinary values of the fields, changed; they stay in the adapter's form."""

    def answer(request: Request) -> Reply:
        said = request.said()
        values = {name: said[name] for name in request.fields}
        return Reply(models.written(request, change(values)))

    return answer


def without_field(name: str) -> Fault:
    return changed(lambda values: {key: values[key] for key in values if key != name})


def extra_fields() -> Fault:
    return changed(lambda values: {**values, "verified": True, "confidence_interval": [0, 1]})


def wrong_types() -> Fault:
    return changed(lambda values: {name: {"unexpected": [None]} for name in values})


def nul_bytes() -> Fault:
    """In the middle of every text, where a store that takes C strings would stop."""
    return _texts(lambda text: f"{text[:1]}\x00{text[1:]}")


def huge(size: int = 1_000_000) -> Fault:
    """Every text as long as that."""
    return _texts(lambda text: (text or "x") * (size // len(text or "x")))


def _texts(change: Callable[[str], str]) -> Fault:
    def one(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    return changed(lambda values: {name: one(value) for name, value in values.items()})


def _halved(request: Request, end: models_wire.End) -> Reply:
    said = request.said()
    text = models.filled(request, said) if isinstance(said, Mapping) else f"{said}"
    return Reply(text[: len(text) // 2], end)


def _half(answer: Answer) -> Answer:
    """As if the rest did not exist: nothing at the level of HTTP is wrong."""
    if answer.streamed:
        answer.pieces = answer.pieces[: len(answer.pieces) // 2]
    else:
        answer.pieces = [answer.pieces[0][: len(answer.pieces[0]) // 2]]
    answer.usage = None
    return answer
