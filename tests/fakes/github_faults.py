"""Faults for `GitHub.fault`: what GitHub and the network answer on a bad day.

The bodies are GitHub's own words, as quoted in bug reports and in its documentation.
"""

import time
from typing import Any

from tests.fakes.github_wire import (
    DOCS,
    LIMITS,
    Answer,
    Fault,
    Request,
    bad_credentials,
    graphql_limit_exceeded,
    of_json,
    rate_headers,
    refusal,
    request_id,
    rest_limit_exceeded,
)

_REASONS = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}
_SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "If you reach out to GitHub Support for help, please include the request ID {}."
)
_WENT_WRONG = (
    "Something went wrong while executing your query. This may be the result of a timeout, or it "
    "could be a GitHub bug. Please include `{}` when reporting this issue."
)


def status(code: int) -> Fault:
    """A page of the proxy in front (5xx), or GitHub's JSON with that status."""

    def answer(request: Request) -> Answer:
        if code < 500:
            return refusal(code, "Not Found" if code == 404 else "Validation Failed")
        title = f"{code} {_REASONS.get(code, 'Gateway Time-out')}"
        page = (
            f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
            f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n"
            "</html>\r\n"
        )
        return Answer(code, page.encode(), {"Content-Type": "text/html"})

    return answer


def timed_out() -> Fault:
    """GraphQL's own 502 after ten seconds: JSON, no rate limit headers, no type."""

    def answer(request: Request) -> Answer:
        error = {"message": _WENT_WRONG.format(request_id())}
        return of_json(502, {"data": None, "errors": [error]})

    return answer


def truncated(*, drop: bool = False) -> Fault:
    """Half of the ordinary answer as if it were all, or (`drop`) with the connection closed."""

    def answer(request: Request) -> Answer:
        ordinary = request.ordinary()
        half = len(ordinary.body) // 2
        if drop:
            ordinary.stop_after = half
        else:
            ordinary.body = ordinary.body[:half]
        return ordinary

    return answer


def stall(seconds: float) -> Fault:
    """The ordinary answer, that much later."""

    def answer(request: Request) -> None:
        time.sleep(seconds)

    return answer


def primary_graphql(reset_in_s: float, kind: str = "RATE_LIMITED") -> Fault:
    """200 with an error; its type is `RATE_LIMITED` in the documentation, `RATE_LIMIT` was seen."""

    def answer(request: Request) -> Answer:
        return graphql_limit_exceeded(_exhausted("graphql", reset_in_s), kind)

    return answer


def primary_rest(reset_in_s: float, code: int = 403, resource: str = "core") -> Fault:
    """403 or 429, both with nothing remaining."""

    def answer(request: Request) -> Answer:
        return rest_limit_exceeded(_exhausted(resource, reset_in_s), code)

    return answer


def secondary(retry_after_s: int | None, code: int = 403) -> Fault:
    """403 or 429 with or without `Retry-After`; 200 is GraphQL's variant. None tells of a reset."""

    def answer(request: Request) -> Answer:
        message = _SECONDARY.format(request_id())
        url = f"{DOCS}/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
        body: dict[str, Any] = {"documentation_url": url, "message": message}
        if code == 200:
            body = {"errors": [{"message": message}]}
        headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s}"}
        return of_json(code, body, headers)

    return answer


def unauthorized() -> Fault:
    return lambda request: bad_credentials()


def partial(path: tuple[str | int, ...], kind: str | None = None) -> Fault:
    """Null at the path of the ordinary data, or as near above it as the schema allows null.

    Without a type it is an internal time-out; `RESOURCE_LIMITS_EXCEEDED` is the other known one.
    """

    def answer(request: Request) -> Answer:
        message = _WENT_WRONG.format(request_id())
        if kind is not None:
            message = "Resource limits for this query exceeded."
        return request.ordinary(broken=(path, kind, message))

    return answer


def garbage() -> Fault:
    """200 with bytes that are no JSON, no text and not what the content type says."""
    body = b"\x1f\x8b\x08\x00\xff\xfe<html>\x00{]"
    return lambda request: Answer(200, body, {"Content-Type": "application/json; charset=utf-8"})


def _exhausted(resource: str, reset_in_s: float) -> dict[str, str]:
    return rate_headers(resource, LIMITS[resource][0], 0, time.time() + reset_in_s)
