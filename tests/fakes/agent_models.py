"""A model for coding agents on loopback: says the steps of a script, whoever of the four asks.

Which tool a request comes from is told by its path; `agent_models_wire` has the formats. Requests
without the tool's shell, such as those for a title, get a short text and use up no step.
"""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Sequence
from typing import Any, Self

from tests.fakes import agent_models_wire as wire
from tests.fakes import server
from tests.fakes.agent_models_wire import Poll, Refused, Say, Shell, Tokens

__all__ = ["AgentModel", "Asked", "Poll", "Refused", "Say", "Shell", "Tokens"]

Step = Say | Shell | Refused


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request that used up a step: everything in it, and the key it came with."""

    text: str
    key: str


class AgentModel:
    """A context manager that serves at `url` until it is left.

    Attributes:
        asked: The requests that used up a step, in their order.
        told: What all answers said about their tokens, summed.
        unknown: Requests of no known format, which the test should look at.
    """

    def __init__(self, steps: Sequence[Step], *, key: str = "sk-test-0123456789abcdef") -> None:
        self.key = key
        self.asked: list[Asked] = []
        self.told = Tokens(0, 0, 0)
        self.unknown: list[str] = []
        self._steps = list(steps)
        self._lock = threading.Lock()
        self._answering = threading.Event()
        self._answering.set()
        self._server = server.Server(_Handler, self)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.start("agent model")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop()

    def hang(self) -> None:
        """Answer nothing until `go_on`."""
        self._answering.clear()

    def go_on(self) -> None:
        self._answering.set()

    def relent(self) -> None:
        """Refuse no longer."""
        with self._lock:
            self._steps.pop(0)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> wire.Answer:
        """The next step in the format of the request, or a short text beside the script."""
        self._answering.wait()
        form = wire.form(path)
        try:
            request: dict[str, Any] = json.loads(body or b"{}")
        except ValueError:
            form = None
            request = {}
        if form is None:
            self.unknown.append(path)
            return wire.json_answer(404, {"error": {"message": "Not Found", "code": 404}})
        key = wire.key(headers)
        if key != self.key:
            return form.refuse(wire.UNAUTHORIZED)
        with self._lock:
            step: Step = Say("OK")
            if form.has_shell(request):
                self.asked.append(Asked(wire.texts(request), key))
                step = self._next()
            if isinstance(step, Refused):
                return form.refuse(step)
            tokens = wire.tokens(len(self.asked))
            self.told += tokens
            return form.say(request, step, tokens)

    def _next(self) -> Step:
        """The next step; a refusal is repeated until `relent`."""
        if not self._steps:
            return Say("Done.")
        return self._steps[0] if isinstance(self._steps[0], Refused) else self._steps.pop(0)


class _Handler(server.Handler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self._fake.answer(self.path, headers, body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(answer.body)
            self.wfile.flush()

    do_GET = do_POST
