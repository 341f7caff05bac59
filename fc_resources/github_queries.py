"""What GitHub is asked: which repositories have ASV benchmarks, what they are, a commit's diff.

Many things go into one request; what GitHub cannot answer together is asked in halves. Listing
what was merged is `github_merged`'s.
"""

import asyncio
import dataclasses
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar

from fc_resources.errors import FcError, PermanentError, TransientError, UnavailableError
from fc_resources.github import GitHub
from fc_resources.github_answers import (
    TRIES,
    Fault,
    GoneError,
    RefusedError,
    TooHeavyError,
)

T = TypeVar("T")
R = TypeVar("R")
Node = Mapping[str, Any]
#: A search brings no more, however many it finds.
_CAP = 1000
_PAGE = 100
_ATTEMPTS = 3
#: What an incomplete search waits before it is asked again; then twice as long.
_AGAIN_S = 2.0
_NAMES = 50
#: Requests of one question that are under way at once.
_AT_ONCE = 8
#: Where ASV's configuration usually is; code search finds the other places.
_CONFIGS = (
    "asv.conf.json",
    "benchmarks/asv.conf.json",
    "asv_bench/asv.conf.json",
    "benchmark/asv.conf.json",
)
_SEARCHES = ("filename:asv.conf.json", "filename:asv extension:json")
_ASV = re.compile(r"asv(\.[\w.-]+)?\.json")
#: Largest file that code search knows, in bytes.
_MAX_SIZE = 384 * 1024


async def asv_configs(github: GitHub) -> dict[str, list[str]]:
    """Repositories with an ASV configuration on their default branch, and its paths.

    Code search leaves forks out. Raises `UnavailableError` when it cannot search completely.
    """
    found: dict[str, set[str]] = {}
    for query in _SEARCHES:
        for hit in await _search_code(github, query, 0, _MAX_SIZE):
            if _ASV.fullmatch(hit.name):
                found.setdefault(hit.repository, set()).add(hit.path)
    return {name: sorted(paths) for name, paths in sorted(found.items())}


async def repositories(github: GitHub, names: Sequence[str]) -> dict[str, Node | FcError]:
    """GraphQL's `Repository` of each name, with `asvConfigs`; `GoneError` for what is no more.

    A renamed repository comes under the name asked for; its `nameWithOwner` is the new one.
    """
    answers = await in_halves(names, _NAMES, lambda part: _describe(github, part))
    return dict(zip(names, answers, strict=True))


async def commit_diff(github: GitHub, name: str, sha: str) -> str | None:
    """The diff of a commit to its first parent; None when GitHub finds it too large.

    Raises `GoneError` when there is no such commit, `UnavailableError`.
    """
    path = f"/repos/{name}/commits/{sha}"
    try:
        body = await github.rest(path, accept="application/vnd.github.diff", remember=False)
    except RefusedError as error:
        if error.status == 422 and "No commit found" in str(error):
            raise GoneError(str(error)) from None
        if error.status in (406, 422):
            return None
        raise
    return body.decode("utf-8", "replace")


# Code search.


@dataclasses.dataclass(frozen=True)
class _Hit:
    """A file that code search found, and in which repository (`owner/name`)."""

    repository: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class _Hits:
    """A page of code search; `total` is what it finds, `complete` whether it had the time."""

    total: int
    complete: bool
    hits: Sequence[_Hit]


async def _search_code(github: GitHub, query: str, low: int, high: int) -> list[_Hit]:
    """All hits among files of low to high bytes, by halving until a search can bring them."""
    sized = f"{query} size:{low}..{high}"
    first = await _code_page(github, sized, 1)
    total, complete = first.total, first.complete
    if complete and total <= _CAP:
        hits = list(first.hits)
        for page in range(2, math.ceil(total / _PAGE) + 1):
            answer = await _code_page(github, sized, page)
            if not answer.complete:
                raise UnavailableError(f"GitHub's code search gave up on page {page} of {sized}")
            hits += answer.hits
        return hits
    if low == high:
        why = "gave up on" if not complete else f"finds {total} and brings {_CAP} of"
        raise UnavailableError(f"GitHub's code search {why} {sized}, which cannot be split")
    # Most of these files are small: the middle of their sizes is the geometric one.
    middle = min(high - 1, max(low, int(math.sqrt((low + 1) * high))))
    return [
        *await _search_code(github, query, low, middle),
        *await _search_code(github, query, middle + 1, high),
    ]


async def _code_page(github: GitHub, query: str, page: int) -> _Hits:
    """A page of code search; asked for again a few times when GitHub ran out of time."""
    answer = _Hits(0, False, ())
    for attempt in range(_ATTEMPTS):
        if attempt:
            await github.sleep(_AGAIN_S * attempt)
        parameters = {"q": query, "per_page": str(_PAGE), "page": str(page)}
        body = await github.rest("/search/code", parameters, resource="code_search")
        answer = _hits(body)
        if answer.complete:
            break
    return answer


def _hits(body: bytes) -> _Hits:
    try:
        answer = json.loads(body)
        hits = [_Hit(item["repository"]["full_name"], item["path"]) for item in answer["items"]]
        total, complete = answer["total_count"], not answer["incomplete_results"]
    except (ValueError, KeyError, TypeError):
        raise UnavailableError("GitHub's code search answers in a form of its own") from None
    texts = [text for hit in hits for text in (hit.repository, hit.path)]
    if not isinstance(total, int) or not all(isinstance(text, str) for text in texts):
        raise UnavailableError("GitHub's code search answers in a form of its own")
    return _Hits(total, complete, hits)


# Requests that ask many things at once: a field per thing, each with variables of its own.

Field = tuple[str, Mapping[str, tuple[str, Any]]]


def together(
    operation: str, fields: Sequence[Field], fragments: str = ""
) -> tuple[str, dict[str, Any]]:
    """A query of all fields, and its variables: text of others never becomes part of a query."""
    variables = {name: typed for _, own in fields for name, typed in own.items()}
    declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in variables.items())
    asked = "\n".join(field for field, _ in fields)
    text = f"query {operation}({declared}) {{\n{asked}\n}}\n{fragments}"
    return text, {name: value for name, (_, value) in variables.items()}


def of_repository(i: int, name: str, fields: str) -> Field:
    owner, _, repo = name.partition("/")
    text = f"r{i}: repository(owner: $o{i}, name: $r{i}) {{ {fields} }}"
    return text, {f"o{i}": ("String!", owner), f"r{i}": ("String!", repo)}


def tries(part: Sequence[Any]) -> int:
    """What can be asked in smaller parts is not asked for long."""
    return 2 if len(part) > 1 else TRIES


async def in_halves(
    items: Sequence[T], size: int, ask: Callable[[Sequence[T]], Awaitable[Sequence[R | FcError]]]
) -> list[R | FcError]:
    """Answers to all items, `size` in a request, and in halves where that is too heavy."""
    # All of the parts at once would fail so often in a row that nobody gets to the halves.
    lines = asyncio.Semaphore(_AT_ONCE)

    async def of(part: Sequence[T]) -> list[R | FcError]:
        try:
            async with lines:
                answers = list(await ask(part))
            # Without any answer the fault of one may have taken the others with it.
            nothing = all(isinstance(answer, FcError) for answer in answers)
            unclear = any(isinstance(answer, TransientError) for answer in answers)
            if len(part) == 1 or not (nothing and unclear):
                return answers
        except TooHeavyError as error:
            if len(part) == 1:
                return [error]
        middle = len(part) // 2
        return await of(part[:middle]) + await of(part[middle:])

    parts = [items[start : start + size] for start in range(0, len(items), size)]
    asked = [asyncio.ensure_future(of(part)) for part in parts]
    try:
        return [answer for part in await asyncio.gather(*asked) for answer in part]
    finally:
        for task in asked:  # when one of them fails nobody waits for the others
            task.cancel()


def error_of(what: str, faults: Sequence[Fault]) -> FcError:
    """What a part of an answer that is not there means."""
    if any(fault.type == "NOT_FOUND" for fault in faults):
        return GoneError(f"{what} is not on GitHub, or not visible with these tokens")
    said = faults[0].message if faults else "GitHub says nothing about why"
    permanent = any(fault.type in ("FORBIDDEN", "INSUFFICIENT_SCOPES") for fault in faults)
    kind = PermanentError if permanent else TransientError
    return kind(f"{what} was not answered: {said}")


def is_map(found: Any, **fields: type) -> TypeGuard[Node]:
    """Whether it is an object with these fields of these types; null is no answer."""
    return isinstance(found, dict) and all(
        isinstance(found.get(name), kind) for name, kind in fields.items()
    )


# Repositories.

_METADATA = """
    nameWithOwner description stargazerCount createdAt archivedAt isArchived isDisabled isFork
    isPrivate primaryLanguage { name } defaultBranchRef { name } licenseInfo { spdxId }
    repositoryTopics(first: 20) { nodes { topic { name } } }
""" + " ".join(
    f'c{i}: object(expression: "HEAD:{path}") {{ __typename }}' for i, path in enumerate(_CONFIGS)
)


async def _describe(github: GitHub, names: Sequence[str]) -> list[Node | FcError]:
    fields = [of_repository(i, name, _METADATA) for i, name in enumerate(names)]
    data = await github.graphql(*together("Repositories", fields), tries=tries(names))
    answers: list[Node | FcError] = []
    for i, name in enumerate(names):
        found, faults = data.values.get(f"r{i}"), data.faults.get(f"r{i}", ())
        if not is_map(found, nameWithOwner=str) or faults:
            answers.append(error_of(name, faults))
        else:
            configs = [path for c, path in enumerate(_CONFIGS) if found.get(f"c{c}")]
            answers.append({**found, "asvConfigs": configs})
    return answers
