"""What goes over the wire between a client and the fake GitHub, and the rate limits it tells of.

Nothing here knows repositories or queries.
"""

import dataclasses
import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

#: Requests or points a token has in a window of so many seconds.
LIMITS = {
    "core": (5_000, 3_600),
    "graphql": (5_000, 3_600),
    "search": (30, 60),
    "code_search": (10, 60),
}
_ANONYMOUS = LIMITS | {"core": (60, 3_600)}
DOCS = "https://docs.github.com"
JSON = "application/json; charset=utf-8"


@dataclasses.dataclass
class Answer:
    """A response; `stop_after` closes the connection after so many bytes of the body."""

    status: int
    body: bytes
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    stop_after: int | None = None


@dataclasses.dataclass
class Request:
    """One request as it arrived, header names in lower case; `status` follows with the answer.

    REST requests carry `params`; GraphQL requests `query`, `operation` (its name) and `variables`.
    """

    method: str
    path: str
    token: str | None
    headers: dict[str, str]
    params: dict[str, str]
    query: str | None = None
    operation: str | None = None
    variables: dict[str, Any] = dataclasses.field(default_factory=dict)
    at: float = dataclasses.field(default_factory=time.monotonic)
    status: int | None = None
    #: The answer without the fault; `broken` is a path of GraphQL data that fails on its own.
    ordinary: Callable[..., Answer] = dataclasses.field(init=False, repr=False)


Fault = Callable[[Request], Answer | None]


def of_json(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, body, {"Content-Type": JSON, **(headers or {})})


def refusal(status: int, message: str, documentation: str = "/rest", **more: Any) -> Answer:
    """REST's errors, which carry the status as text."""
    documentation_url = f"{DOCS}{documentation}"
    return of_json(
        status,
        {"message": message, **more, "documentation_url": documentation_url, "status": f"{status}"},
    )


def request_id() -> str:
    digits = uuid.uuid4().hex.upper()
    return f"{digits[:4]}:{digits[4:10]}:{digits[10:17]}:{digits[17:24]}:{digits[24:]}"


def bad_credentials() -> Answer:
    return refusal(401, "Bad credentials")


def rate_headers(resource: str, limit: int, remaining: int, reset: float) -> dict[str, str]:
    return {
        "x-ratelimit-limit": f"{limit}",
        "x-ratelimit-remaining": f"{remaining}",
        "x-ratelimit-used": f"{limit - remaining}",
        "x-ratelimit-reset": f"{math.ceil(reset)}",
        "x-ratelimit-resource": resource,
    }


def rest_limit_exceeded(headers: Mapping[str, str], status: int = 403) -> Answer:
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    answer = refusal(
        status,
        "API rate limit exceeded for user ID 1. If you reach out to GitHub Support for help, "
        f"please include the request ID {request_id()} and timestamp {now}.",
        "/rest/overview/rate-limits-for-the-rest-api",
    )
    answer.headers.update(headers)
    return answer


def graphql_limit_exceeded(headers: Mapping[str, str], kind: str = "RATE_LIMITED") -> Answer:
    error = {
        "type": kind,
        "code": "graphql_rate_limit",
        "message": "API rate limit already exceeded for user ID 1.",
    }
    return of_json(200, {"errors": [error]}, headers)


class Budgets:
    """What each token has left of each resource; a window starts anew when its reset is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[tuple[str | None, str], tuple[int, float]] = {}

    def set(self, token: str | None, resource: str, remaining: int, reset_in_s: float) -> None:
        if resource not in LIMITS:
            raise ValueError(f"{resource} is none of {', '.join(LIMITS)}")
        with self._lock:
            self._left[token, resource] = (remaining, time.time() + reset_in_s)

    def take(self, token: str | None, resource: str, cost: int = 1) -> bool:
        """Whether anything was left; a request may cost more than that, as on GitHub."""
        with self._lock:
            _, remaining, reset = self._window(token, resource)
            self._left[token, resource] = (max(0, remaining - cost), reset)
            return remaining > 0

    def give_back(self, token: str | None, resource: str) -> None:
        with self._lock:
            limit, remaining, reset = self._window(token, resource)
            self._left[token, resource] = (min(limit, remaining + 1), reset)

    def window(self, token: str | None, resource: str) -> tuple[int, int, float]:
        """Limit, what is left of it, and when it starts anew (seconds since the epoch)."""
        with self._lock:
            return self._window(token, resource)

    def headers(self, token: str | None, resource: str) -> dict[str, str]:
        return rate_headers(resource, *self.window(token, resource))

    def _window(self, token: str | None, resource: str) -> tuple[int, int, float]:
        limit, seconds = (_ANONYMOUS if token is None else LIMITS)[resource]
        remaining, reset = self._left.get((token, resource), (limit, 0.0))
        if reset <= time.time():
            remaining, reset = limit, time.time() + seconds
            self._left[token, resource] = (remaining, reset)
        return limit, remaining, reset
