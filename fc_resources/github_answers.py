"""What an HTTP answer of GitHub means: an answer, a limit, a refusal, or a server in trouble.

Pure functions of status, headers and body; what is done about it is the client's, `github`.
"""

import dataclasses
import email.utils
import functools
import json
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx

from fc_resources.errors import PermanentError, TransientError, UnavailableError, one_line

TRIES = 5


class RateLimitedError(UnavailableError):
    """Every token has to wait longer than this process is willing to; try again later."""


class GoneError(PermanentError):
    """GitHub says that there is no such thing, or none that these tokens may see."""


class RefusedError(PermanentError):
    """GitHub understood and will not; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooHeavyError(UnavailableError):
    """GitHub gave up on a query time and again, or answers too much: a smaller one may pass."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """One entry of a GraphQL answer's `errors`: its type (may be empty), message and path."""

    type: str
    message: str
    path: tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    resource: str
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = None
    tries: int = TRIES

    @property
    def kind(self) -> str:
        return "graphql" if self.resource == "graphql" else "rest"

    def exhausted(self, why: str) -> TransientError:
        error = TooHeavyError if self.kind == "graphql" else UnavailableError
        return error(f"GitHub {self.method} {self.path} {why}")


_BROKEN = object()


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes

    @functools.cached_property
    def json(self) -> Any:
        """The parsed body, `_BROKEN` if it says that it is JSON and is not, else None."""
        if "json" not in self.headers.get("content-type", ""):
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return _BROKEN

    @functools.cached_property
    def faults(self) -> list[Fault]:
        """The `errors` of a GraphQL answer."""
        found = self.json.get("errors") if isinstance(self.json, dict) else None
        return [
            Fault(
                str(error.get("type") or ""),
                one_line(PermanentError(str(error.get("message")))),
                tuple(path) if isinstance(path := error.get("path"), list) else (),
            )
            for error in (found if isinstance(found, list) else [])
            if isinstance(error, dict)
        ]

    @property
    def message(self) -> str:
        """What it says of an error, on one line; nothing of what it answers."""
        said = self.json.get("message") if isinstance(self.json, dict) else None
        texts = [said, *(fault.message for fault in self.faults)]
        words = [word for text in texts if isinstance(text, str) for word in text.split()]
        return " ".join(words)[:300]


@dataclasses.dataclass(frozen=True)
class Limited:
    """A limit was met: `wait_s` as the server says, None when it does not."""

    why: str
    wait_s: float | None
    secondary: bool = False
    resource: str | None = None


class Unauthorized:
    """The token is not, or no longer, valid."""


@dataclasses.dataclass(frozen=True)
class Failing:
    """The server, the network or the answer is broken; trying again may help."""

    why: str


#: The year 2286; and what says more, or is no number, says nothing.
_MAX_S = 1e10
_RATE_LIMITED = ("RATE_LIMITED", "RATE_LIMIT")
_SECONDARY = re.compile(r"secondary rate limit|abuse detection", re.IGNORECASE)
#: GitHub's words or types when a query took too long, asks too much, or a server stumbled.
_STUMBLED = re.compile(
    r"something went wrong|timeout|timed out|loading|(RESOURCE|NODE)_LIMITS?_EXCEEDED|^INTERNAL",
    re.IGNORECASE,
)


def judge(
    request: Request, answer: Answer, token: str
) -> Limited | Unauthorized | Failing | PermanentError | None:
    """What is wrong with an answer, or None; `token` is the short id of the one asked with."""
    status = answer.status
    if status == 401:
        return Unauthorized()
    if answer.json is _BROKEN:
        return Failing(f"status {status} with incomplete JSON")
    limited = _limited(request, answer)
    if limited is not None:
        return limited
    if status == 304:
        asked = "if-none-match" in request.headers
        return None if asked else Failing("status 304 without having been asked")
    if "text/html" in answer.headers.get("content-type", ""):
        # What comes as a page is said by a proxy, whatever it says.
        return Failing(f"status {status} with a page instead of an answer")
    if status == 200:
        return _judge_graphql(answer) if request.kind == "graphql" else None
    if status >= 500 or status == 408:
        return Failing(f"status {status}")
    said = f" ({answer.message})" if answer.message else ""
    why = f"GitHub {request.method} {request.path} answers {status}{said} to token {token}"
    return GoneError(why) if status in (404, 410, 451) else RefusedError(why, status)


def _judge_graphql(answer: Answer) -> Failing | PermanentError | None:
    """Refused parts of data that is there are the caller's; parts that failed are not kept."""
    if not isinstance(answer.json, dict):
        return Failing("an answer that is not GraphQL's")
    has_data = isinstance(answer.json.get("data"), dict)
    whole = [fault for fault in answer.faults if not has_data or not fault.path]
    for fault in answer.faults:
        if _STUMBLED.search(fault.message) or _STUMBLED.search(fault.type):
            return Failing(fault.message)
    if all(fault.type == "NOT_FOUND" for fault in whole) and answer.faults:
        return None
    if whole:
        return PermanentError(f"GitHub does not accept a query: {whole[0].message}")
    return None if has_data else Failing("an answer without data")


def _limited(request: Request, answer: Answer) -> Limited | None:
    status, after = answer.status, _number(answer.headers.get("retry-after"))
    if status not in (403, 429) and not (status == 200 and request.kind == "graphql"):
        return None
    if _SECONDARY.search(answer.message):
        return Limited(f"secondary limit, status {status}", after, secondary=True)
    named = any(fault.type in _RATE_LIMITED for fault in answer.faults)
    if named or (status != 200 and answer.headers.get("x-ratelimit-remaining") == "0"):
        resource = answer.headers.get("x-ratelimit-resource")
        why = f"primary {resource or request.resource} limit, status {status}"
        return Limited(why, until_reset(answer.headers) or after, resource=resource)
    if status == 429 or (status == 403 and after is not None):
        return Limited(f"unnamed limit, status {status}", after, secondary=True)
    return None


def _number(text: str | None) -> float | None:
    """A number of seconds that a date can be made of, or None."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 0 <= found < _MAX_S else None


def until_reset(headers: httpx.Headers) -> float | None:
    """Seconds until the budget is renewed, a second at least; by the server's own clock."""
    reset = _number(headers.get("x-ratelimit-reset"))
    if reset is None:
        return None
    try:
        now = email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        now = time.time()
    return max(1.0, reset - now)
