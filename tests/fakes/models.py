"""Language models on loopback: a real HTTP server that speaks OpenAI's and Anthropic's formats.

Here are its keys, its answers and its accounts; `models_wire` holds both formats, `models_shapes`
what each API refuses of a request, `models_faults` what can go wrong.
"""

import contextlib
import functools
import json
import math
import select
import socket
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from tests.fakes import models_shapes, models_wire
from tests.fakes.models_wire import Answer, Fault, Reply, Request, refusal
from tests.fakes.server import Handler, Server

#: What a test lets the model say: a text, the values of the fields a DSPy prompt asks for, a
#: reply with another end, or a fault.
Said = str | Mapping[str, Any] | Reply | Fault


def filled(request: Request, values: Mapping[str, Any]) -> str:
    """The values a prompt asks for, as its adapter wants them.

    Raises:
        ValueError: A field that is asked for has no value, or no field is asked for.
    """
    missing = [name for name in request.fields if name not in values]
    if missing or not request.fields:
        raise ValueError(f"asked for {request.fields}, has no {missing}")
    return written(request, {name: values[name] for name in request.fields})


def written(request: Request, values: Mapping[str, Any]) -> str:
    """All values in the form of the prompt's adapter: a JSON object, or between markers."""
    if request.wants_json:
        return json.dumps(values)
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in values.items()}
    parts = [f"[[ ## {name} ## ]]\n{text}" for name, text in texts.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


class Models:
    """A context manager that serves at `url` until it is left.

    Attributes:
        url: Without a path; `api_base` is what a client of either provider is told.
        requests: In the order they arrived.
        invalid_requests: What the real API would refuse for its shape, and where the fake failed.
        answered: How many answers reported a usage and were sent whole.
        input_tokens: Summed over those, with what came from the provider's cache.
        output_tokens: Summed over those.
        cached_tokens: The part of the input that came from the cache.
    """

    def __init__(
        self,
        answer: Callable[[Request], Said] = lambda request: "OK",
        tokens: Sequence[str] = ("sk-1",),
        *,
        models: Sequence[str] = (),
        portkey: Sequence[str] | None = None,
        latency_s: float = 0.0,
    ) -> None:
        """Start listening.

        Args:
            answer: Called by several threads at once, for each request that is in order.
            tokens: The keys either provider accepts.
            models: The names it knows; without any, every name is known.
            portkey: Keys of a gateway, which then stands before the OpenAI route.
            latency_s: What every answer takes.
        """
        self.requests: list[Request] = []
        self.invalid_requests: list[str] = []
        self.answered = self.input_tokens = self.output_tokens = self.cached_tokens = 0
        self._say = answer
        self._models, self._tokens = list(models), set(tokens)
        self._portkey = None if portkey is None else set(portkey)
        self._latency_s = latency_s
        self._faults: list[_Due] = []
        self._lock = threading.Lock()
        self._server = Server(_Handler, self)
        self.url = self._server.url
        self.api_base = f"{self.url}/v1"

    def __enter__(self) -> Self:
        self._server.start("models")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop()

    def accept(self, token: str) -> None:
        self._tokens.add(token)

    def revoke(self, token: str) -> None:
        self._tokens.discard(token)
        if self._portkey is not None:
            self._portkey.discard(token)

    def fault(
        self,
        fault: Fault,
        *,
        times: float = 1,
        after: int = 0,
        when: Callable[[Request], bool] | str = "",
    ) -> None:
        """Let `fault` answer matching requests; None from it means the ordinary answer.

        Args:
            fault: One of `models_faults`, or any function of a request.
            times: How many of them; `math.inf` for all.
            after: How many matching requests are answered before it begins.
            when: A condition, or a text that the prompt contains.
        """
        matches = (lambda request: when in request.prompt) if isinstance(when, str) else when
        with self._lock:
            self._faults.append(_Due(fault, matches, times, after))

    def answer(self, request: Request) -> Answer:
        """Record a request and answer it, with a fault if one is due."""
        with self._lock:
            self.requests.append(request)
            due = next((due for due in self._faults if due.now(request)), None)
        if self._latency_s:
            time.sleep(self._latency_s)
        request.said = functools.partial(self._say, request)
        try:
            refused = self._refused(request)
            request.ordinary = lambda: refused or self._ordinary(request)
            found = due.fault(request) if due else None
            if isinstance(found, Reply):
                # A list of models is no place for it, nor is a refused request.
                silent = refused or request.method == "GET"
                found = None if silent else models_wire.completion(request, found)
            answer = found or request.ordinary()
        except Exception:  # told to the test in `invalid_requests`, to the client as a 500
            self.invalid_requests.append(traceback.format_exc())
            answer = refusal(request, 500, "api_error", "The fake failed.")
        request.status = answer.status
        return answer

    def count(self, request: Request, answer: Answer, times: int = 1) -> None:
        """Add what an answer reports to the accounts, or take it back (-1)."""
        if answer.usage is None:
            return
        with self._lock:
            self.answered += times
            self.input_tokens += times * answer.usage.input_tokens
            self.output_tokens += times * answer.usage.output_tokens
            self.cached_tokens += times * answer.usage.cached_tokens
        request.usage = answer.usage if times > 0 else None

    def _ordinary(self, request: Request) -> Answer:
        if request.method == "GET":
            return models_wire.catalogue(request, self._models or ["gpt-4o-mini"])
        said: Any = request.said()
        if callable(said):
            said = said(request)
        if isinstance(said, Mapping):
            said = filled(request, said)
        if isinstance(said, str):
            said = Reply(said)
        if not isinstance(said, Answer | Reply):
            raise TypeError(f"{said!r} is no answer")
        return models_wire.completion(request, said) if isinstance(said, Reply) else said

    def _refused(self, request: Request) -> Answer | None:
        """Why this request gets no answer: its address, its key, its shape or its model."""
        refused = self._no_route(request) or self._no_key(request)
        if refused or request.method == "GET":
            return refused
        if refused := models_shapes.wrong_shape(request):
            self.invalid_requests.append(refused.pieces[0].decode())
            return refused
        if self._models and request.model not in self._models:
            return models_wire.unknown_model(request, request.model)
        return None

    def _no_route(self, request: Request) -> Answer | None:
        routes = {"GET": "/v1/models", "POST": "/v1/chat/completions"}
        if request.dialect == "anthropic":
            routes["POST"] = "/v1/messages"
        listed = request.method == "GET" and request.path.startswith("/v1/models/")
        if listed or request.path == routes.get(request.method):
            return None
        self.invalid_requests.append(f"{request.method} {request.path}")
        if request.dialect == "anthropic":
            return refusal(request, 404, "not_found_error", "Not Found")
        message = f"Invalid URL ({request.method} {request.path})"
        return refusal(request, 404, "invalid_request_error", message)

    def _no_key(self, request: Request) -> Answer | None:
        if self._portkey is not None and request.dialect == "openai":
            if (request.key or "") in self._portkey:
                return None
            message = "Portkey Error: Invalid API Key. Error Code: 03"
            error = {"message": message, "code": "03"}
            body = {"status": "failure", "message": message, "error": error}
            return models_wire.of_json(401, body)
        return None if request.key in self._tokens else unauthorized(request)

    def read(self, handler: BaseHTTPRequestHandler) -> Request:
        """The request a connection brings."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        path = urllib.parse.urlsplit(handler.path).path
        foreign = path.startswith("/v1/messages") or "anthropic-version" in headers
        request = Request(handler.command, path, headers, "anthropic" if foreign else "openai")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        request.key = token.strip() if scheme.lower() == "bearer" else None
        if foreign:
            request.key = headers.get("x-api-key", request.key)
        elif self._portkey is not None:
            request.key = headers.get("x-portkey-api-key")
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        with contextlib.suppress(ValueError):
            found = json.loads(body)
            request.body = found if isinstance(found, dict) else None
        return request


def unauthorized(request: Request) -> Answer:
    """What a key that is unknown gets, and OpenAI's other words when there is none."""
    if request.dialect == "anthropic":
        message = "invalid x-api-key" if request.key else "x-api-key header is required"
        return refusal(request, 401, "authentication_error", message)
    if request.key is None:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an "
            "API key from https://platform.openai.com/account/api-keys."
        )
        return refusal(request, 401, "invalid_request_error", message)
    # The real one shows the ends of a key too; this is what must not get into a log.
    hidden = f"{request.key[:3]}{'*' * 8}{request.key[-4:]}"
    message = (
        f"Incorrect API key provided: {hidden}. You can find your API key at "
        "https://platform.openai.com/account/api-keys."
    )
    return refusal(request, 401, "invalid_request_error", message, code="invalid_api_key")


class _Due:
    """A fault that waits for its requests."""

    def __init__(
        self, fault: Fault, matches: Callable[[Request], bool], times: float, after: int
    ) -> None:
        self.fault = fault
        self._matches, self._times, self._after = matches, times, after

    def now(self, request: Request) -> bool:
        """Whether this request is one of its; asking uses one up."""
        if self._times <= 0 or not self._matches(request):
            return False
        if self._after:
            self._after -= 1
            return False
        self._times -= 1
        return True


class _Handler(Handler):
    server_version = "models"
    _fake: Models

    def do_POST(self) -> None:
        request = self._fake.read(self)
        answer = self._fake.answer(request)
        if not answer.kept:
            self.close_connection = True
            return
        self.send_response(answer.status)
        name = "request-id" if request.dialect == "anthropic" else "x-request-id"
        sent = {name: models_wire.request_id(request), **answer.headers}
        if answer.streamed:
            sent["Transfer-Encoding"] = "chunked"
        else:
            sent["Content-Length"] = f"{sum(map(len, answer.pieces))}"
        for header, value in sent.items():
            self.send_header(header, value)
        self.end_headers()
        self._send(request, answer)

    do_GET = do_POST

    def _send(self, request: Request, answer: Answer) -> None:
        pieces = answer.pieces
        if answer.pause_s and not answer.streamed:
            step = math.ceil(len(pieces[0]) / 8)
            pieces = [pieces[0][at : at + step] for at in range(0, len(pieces[0]), step)]
        if answer.streamed:
            pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
        if answer.kept < 1:
            self.close_connection = True
            whole = b"".join(pieces)
            pieces, answer.usage = [whole[: int(len(whole) * answer.kept)]], None
        for number, piece in enumerate(pieces):
            if number and answer.pause_s:
                time.sleep(answer.pause_s)
            if number < len(pieces) - 1:
                self.wfile.write(piece)
                self.wfile.flush()
        if self._gone():
            self.close_connection = True
            return
        # Before the last byte, for the client may compare the accounts as soon as it has it.
        self._fake.count(request, answer)
        try:
            self.wfile.write(pieces[-1])
            self.wfile.flush()
        except ConnectionError:
            self._fake.count(request, answer, -1)
            raise

    def _gone(self) -> bool:
        """Whether the client hung up, which a write into the socket's buffer does not tell."""
        ready = select.poll()  # `select` takes no descriptor above 1,024
        ready.register(self.connection, select.POLLIN)
        if not ready.poll(0):
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return True
