"""A GitHub on loopback for tests and benchmarks: a real HTTP server that speaks the real formats.

Here are its state, its tokens and its faults; `github_data` holds what it knows, `github_graphql`
and `github_rest` answer, `github_faults` is what can go wrong.
"""

import contextlib
import functools
import json
import multiprocessing
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Self

from tests.fakes import github_graphql, github_rest
from tests.fakes.github_data import Data
from tests.fakes.github_wire import (
    Answer,
    Budgets,
    Fault,
    Request,
    bad_credentials,
    refusal,
    request_id,
)
from tests.fakes.server import Handler, Server


class GitHub(Data):
    """A context manager that serves at `url` until it is left.

    Attributes:
        requests: In the order they arrived.
        invalid_queries: Whatever the real GitHub would refuse, and whatever this one cannot do.
    """

    def __init__(self, tokens: Sequence[str] = ("ghp_one",), latency_s: float = 0.0) -> None:
        super().__init__()
        self.latency_s = latency_s
        self.requests: list[Request] = []
        self.invalid_queries: list[str] = []
        self.budgets = Budgets()
        self._tokens = set(tokens)
        self._faults: list[tuple[Fault, Callable[[Request], bool]]] = []
        self._lock = threading.Lock()
        self._server = Server(_Handler, self)
        self.url = self._server.url

    def __enter__(self) -> Self:
        github_graphql.prepare()
        self._server.start("github")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop()

    def accepts(self, token: str | None) -> bool:
        return token in self._tokens

    def revoke(self, token: str) -> None:
        self._tokens.discard(token)

    def budget(self, token: str, resource: str, remaining: int, reset_in_s: float) -> None:
        """What a token has left of `graphql`, `core`, `search` or `code_search`, and until when."""
        self.budgets.set(token, resource, remaining, reset_in_s)

    def fault(
        self,
        answer: Fault,
        times: int = 1,
        when: Callable[[Request], bool] = lambda request: True,
    ) -> None:
        """Let `answer` answer the next `times` matching requests; None means the ordinary one."""
        with self._lock:
            self._faults += [(answer, when)] * times

    def answer(self, request: Request) -> Answer:
        """Record a request and answer it, with a fault if one is due."""
        with self._lock:
            self.requests.append(request)
            due = next((fault for fault in self._faults if fault[1](request)), None)
            if due is not None:
                self._faults.remove(due)
        if self.latency_s:
            time.sleep(self.latency_s)
        try:
            found = due[0](request) if due else None
            found = found or request.ordinary()
        except Exception:  # told to the test in `invalid_queries`, to the client as a 500
            self.invalid_queries.append(traceback.format_exc())
            found = refusal(500, "The fake failed; its invalid_queries say how.")
        request.status = found.status
        return found

    def ordinary(self, request: Request, broken: github_graphql.Broken | None = None) -> Answer:
        if request.path != "/graphql":
            if request.method in ("GET", "HEAD"):
                return github_rest.answer(self, request)
            return refusal(404, "Not Found")
        documentation = "/graphql/guides/forming-calls-with-graphql#authenticating-with-graphql"
        if request.token is None:
            message = "This endpoint requires you to be authenticated."
            return refusal(401, message, documentation)
        if not self.accepts(request.token):
            return bad_credentials()
        return github_graphql.answer(self, request, broken)


@contextlib.contextmanager
def elsewhere(build: Callable[[GitHub], object], **options: Any) -> Iterator[str]:
    """The URL of one in a process of its own, for measurements of ours.

    Args:
        build: A function of a module that adds the data there.
        options: Arguments of `GitHub`.

    Raises:
        AssertionError: At the end, when it was asked something invalid.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, build, options), daemon=True)
    process.start()
    there.close()
    try:
        yield here.recv()
        here.send(None)
        invalid = here.recv()
        assert not invalid, "\n".join(invalid)
    finally:
        process.kill()
        process.join()


def _serve(pipe: Connection, build: Callable[[GitHub], object], options: dict[str, Any]) -> None:
    with GitHub(**options) as fake:
        build(fake)
        pipe.send(fake.url)
        pipe.recv()
    pipe.send(fake.invalid_queries)


class _Handler(Handler):
    server_version = "github.com"
    _fake: GitHub

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        scheme, _, token = headers.get("authorization", "").partition(" ")
        request = Request(
            method=self.command,
            path=address.path,
            token=token.strip() if scheme.lower() in ("bearer", "token") else None,
            headers=headers,
            params=dict(urllib.parse.parse_qsl(address.query)),
        )
        _read(request, self.rfile.read(int(headers.get("content-length", 0))))
        request.ordinary = functools.partial(self._fake.ordinary, request)
        found = self._fake.answer(request)
        self.send_response(found.status)
        sent = {"Content-Length": f"{len(found.body)}", "x-github-request-id": request_id()}
        for name, value in {**sent, **found.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if found.stop_after is not None:
            self.close_connection = True
            self.wfile.write(found.body[: found.stop_after])
        elif self.command != "HEAD":
            self.wfile.write(found.body)

    do_POST = do_HEAD = do_GET


def _read(request: Request, body: bytes) -> None:
    """What a GraphQL request asks for; anything else has no body."""
    with contextlib.suppress(ValueError):
        found = json.loads(body) if body else None
        if isinstance(found, dict) and isinstance(found.get("query"), str):
            request.query = found["query"]
            request.variables = found.get("variables") or {}
            request.operation = found.get("operationName") or github_graphql.operation_name(
                found["query"]
            )
