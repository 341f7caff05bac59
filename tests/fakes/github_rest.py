"""The REST routes of the fake GitHub: code search, diffs of commits, rate limits."""

import hashlib
import re
import urllib.parse
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tests.fakes.github_wire import (
    LIMITS,
    Answer,
    Request,
    bad_credentials,
    of_json,
    refusal,
    rest_limit_exceeded,
)

if TYPE_CHECKING:
    from tests.fakes.github import GitHub

_COMMIT = re.compile(r"/(?:repos/([^/]+/[^/]+)|repositories/(\d+))/commits/([^/]+)")
_COMMIT_DOCS = "/rest/commits/commits#get-a-commit"
_SEARCH_DOCS = "/v3/search/"
_UNSEARCHABLE = (
    "The listed users and repositories cannot be searched either because the resources do not "
    "exist or you do not have permission to view them."
)


def answer(fake: "GitHub", request: Request) -> Answer:
    """Authorize, charge and route; an answer the client has already costs nothing."""
    if request.token is not None and not fake.accepts(request.token):
        return bad_credentials()
    searching = request.path == "/search/code"
    if searching and request.token is None:
        return refusal(401, "Requires authentication", "/rest/search/search#search-code")
    if request.path == "/rate_limit":
        return _finished(fake, request, _rate_limit(fake, request), "core")
    resource = "code_search" if searching else "core"
    if not fake.budgets.take(request.token, resource):
        return rest_limit_exceeded(fake.budgets.headers(request.token, resource))
    if searching:
        found = _search(fake, request)
    elif commit := _COMMIT.fullmatch(request.path):
        found = _commit(fake, request, *commit.groups())
    else:
        found = refusal(404, "Not Found")
    finished = _finished(fake, request, found, resource)
    if finished.status == 304:
        fake.budgets.give_back(request.token, resource)
        finished.headers.update(fake.budgets.headers(request.token, resource))
    return finished


def _finished(fake: "GitHub", request: Request, found: Answer, resource: str) -> Answer:
    found.headers.update(fake.budgets.headers(request.token, resource))
    if found.status == 200:
        tag = f'W/"{hashlib.sha256(found.body).hexdigest()}"'
        found.headers["ETag"] = tag
        if request.headers.get("if-none-match") == tag:
            found.headers.pop("Content-Type", None)
            return Answer(304, b"", found.headers)
    return found


def _rate_limit(fake: "GitHub", request: Request) -> Answer:
    resources = {}
    for resource in LIMITS:
        limit, remaining, reset = fake.budgets.window(request.token, resource)
        used = limit - remaining
        counts = {"limit": limit, "used": used, "remaining": remaining, "reset": int(reset) + 1}
        resources[resource] = counts
    return of_json(200, {"resources": resources, "rate": resources["core"]})


def _commit(
    fake: "GitHub", request: Request, name: str | None, number: str | None, sha: str
) -> Answer:
    known = fake.repositories.values()
    if name is None:
        ids = (found for found in known if f"{found['databaseId']}" == number)
        repository = next(ids, None)
    else:
        repository = fake.find(name)
    if repository is None:
        return refusal(404, "Not Found", _COMMIT_DOCS)
    if name is not None and repository["nameWithOwner"].lower() != name.lower():
        url = f"{fake.url}/repositories/{repository['databaseId']}/commits/{sha}"
        redirects = "/rest/guides/best-practices-for-using-the-rest-api#follow-redirects"
        moved = refusal(301, "Moved Permanently", redirects, url=url)
        moved.headers["Location"] = url
        return moved
    if "diff" not in request.headers.get("accept", ""):
        fake.invalid_queries.append(f"the fake gives commits as diffs only: {request.path}")
        return refusal(415, "Unsupported 'Accept' header", _COMMIT_DOCS)
    diff = fake.diffs.get(sha, 422)
    if isinstance(diff, bytes):
        return Answer(200, diff, {"Content-Type": "application/vnd.github.diff; charset=utf-8"})
    if diff == 406:
        error = {"resource": "Commit", "field": "diff", "code": "too_large"}
        message = "Sorry, the diff exceeded the maximum number of lines (20000)"
        return refusal(406, message, _COMMIT_DOCS, errors=[error])
    messages = {404: "Not Found", 422: f"No commit found for SHA: {sha}"}
    return refusal(diff, messages.get(diff, "Server Error"), _COMMIT_DOCS)


def _search(fake: "GitHub", request: Request) -> Answer:
    """Code search; unlike the search of issues it refuses the page that reaches past 1,000.

    Forks are found only when asked for, as in GitHub's index.
    """
    try:
        size = min(int(request.params.get("per_page", 30)), 100)
        page = int(request.params.get("page", 1))
    except ValueError:
        return refusal(422, "Validation Failed", _SEARCH_DOCS)
    if page * size > 1_000:
        message = "Only the first 1000 search results are available"
        return refusal(422, message, _SEARCH_DOCS)
    if not request.params.get("q", "").strip():
        error = {"resource": "Search", "field": "q", "code": "missing"}
        return refusal(422, "Validation Failed", _SEARCH_DOCS, errors=[error])
    tests: list[Callable[[dict[str, Any]], bool]] = []
    names, forks = [], False
    for term in request.params["q"].split():
        key, colon, value = term.partition(":")
        if key == "repo":
            names.append(value.lower())
        elif key == "fork":
            forks = value in ("true", "only")
        elif colon:
            test = _test(key, value)
            if test is None:
                fake.invalid_queries.append(f"code search: the fake does not know {term!r}")
                return refusal(422, "Validation Failed", _SEARCH_DOCS)
            tests.append(test)
        else:
            word = term.strip('"')
            tests.append(lambda entry, word=word: word in entry.get("text", entry["path"]))
    known = {entry["repository"].lower() for entry in fake.code}
    if any(name not in known and fake.find(name, follow=False) is None for name in names):
        error = {"message": _UNSEARCHABLE, "resource": "Search", "field": "q", "code": "invalid"}
        return refusal(422, "Validation Failed", _SEARCH_DOCS, errors=[error])
    found = [entry for entry in fake.code if all(test(entry) for test in tests)]
    if names:
        found = [entry for entry in found if entry["repository"].lower() in names]
    items = [_item(fake, entry) for entry in found]
    if not forks:
        items = [item for item in items if not item["repository"]["fork"]]
    shown = items[(page - 1) * size : page * size]
    body = {"total_count": len(items), "incomplete_results": False, "items": shown}
    headers = {}
    if page * size < len(items):
        query = urllib.parse.urlencode({**request.params, "page": page + 1})
        headers["Link"] = f'<{fake.url}/search/code?{query}>; rel="next"'
    return of_json(200, body, headers)


def _test(key: str, value: str) -> Callable[[dict[str, Any]], bool] | None:
    if key == "filename":
        return lambda entry: _words(value) <= _words(PurePosixPath(entry["path"]).name)
    if key == "extension":
        return lambda entry: PurePosixPath(entry["path"]).suffix == f".{value.lstrip('.')}"
    if key == "path":
        folder = value.strip("/")
        return lambda entry: entry["path"].startswith(f"{folder}/" if folder else "")
    if key == "size":
        return lambda entry: _sized(entry["size"], value)
    return None


def _words(text: str) -> set[str]:
    """GitHub's index knows the words of a name: `filename:asv` finds `asv.conf.json`."""
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def _sized(size: int, value: str) -> bool:
    first, dots, last = value.partition("..")
    if dots:
        return (first == "*" or int(first) <= size) and (last == "*" or size <= int(last))
    bound = int(value.lstrip("<>="))
    if value.startswith("<"):
        return size <= bound if value.startswith("<=") else size < bound
    if value.startswith(">"):
        return size >= bound if value.startswith(">=") else size > bound
    return size == bound


def _item(fake: "GitHub", entry: dict[str, Any]) -> dict[str, Any]:
    name, path = entry["repository"], entry["path"]
    repository = fake.find(name, follow=False) or {}
    sha = hashlib.sha1(f"{name}:{path}".encode()).hexdigest()
    return {
        "name": PurePosixPath(path).name,
        "path": path,
        "sha": sha,
        "url": f"{fake.url}/repos/{name}/contents/{path}?ref=main",
        "html_url": f"https://github.com/{name}/blob/main/{path}",
        "repository": {
            "id": repository.get("databaseId", 0),
            "name": name.partition("/")[2],
            "full_name": name,
            "private": False,
            "fork": entry.get("fork", repository.get("isFork", False)),
            "html_url": f"https://github.com/{name}",
        },
        "score": 1.0,
    }
