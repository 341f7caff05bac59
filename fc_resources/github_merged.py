"""Which pull requests were merged in a window: GitHub's searches, counted, packed and paged.

No short answer is taken for a whole one: a listing has to bring exactly the number it announced,
and what GitHub cannot bring in one request is asked in smaller ones.
"""

import asyncio
import dataclasses
import datetime
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeGuard, TypeVar

from fc_resources.errors import (
    FcError,
    InterruptedRunError,
    PermanentError,
    TransientError,
    UnavailableError,
)
from fc_resources.github import GitHub, closing
from fc_resources.github_answers import TRIES, Fault, GoneError, TooHeavyError
from fc_resources.github_queries import (
    Field,
    Node,
    error_of,
    in_halves,
    is_map,
    of_repository,
    together,
    tries,
)

T = TypeVar("T")
#: A search brings no more, however many it finds, and does not say so.
_CAP = 1000
_PAGE = 100
#: A page that is too heavy is halved; after a success pages grow to this again, no further.
_SAFE_PAGE = 25
_ATTEMPTS = 3
#: What a listing that came short waits before it is asked again; then twice as long.
_AGAIN_S = 2.0
#: GitHub runs the searches of a request one after the other, for ten seconds in all.
_COUNTS = 20
_LISTINGS = 4
#: Events of a pull request that are kept, how many come with it, and how many are added at once.
MAX_EVENTS = 250
_FIRST_EVENTS = 40
_OVERFLOWS = 10
#: GitHub lists no more files of a pull request.
_MAX_FILES = 3000


@dataclasses.dataclass(frozen=True)
class Page:
    """Merged pull requests of one repository, each as GraphQL's `PullRequest`."""

    repository: str
    nodes: Sequence[Node]


@dataclasses.dataclass(frozen=True)
class Unlisted:
    """A repository of which not everything could be listed; `GoneError` if it is no more."""

    repository: str
    error: FcError


async def merged(
    github: GitHub, names: Sequence[str], start: datetime.datetime, end: datetime.datetime
) -> AsyncIterator[Page | Unlisted]:
    """Pull requests of the repositories that were merged in [start, end), each once.

    A repository that cannot be listed whole comes as `Unlisted`, perhaps after some of its
    pages. Raises `UnavailableError` when asking on is useless.
    """
    # Both ends of GitHub's range are inside it, and its clock ticks in seconds.
    last = end - datetime.timedelta(seconds=1)
    leaves = [_Leaf(name, name, start, last) for name in dict.fromkeys(names)]
    counted = await in_halves(leaves, _COUNTS, lambda part: _count_named(github, part))
    listings, small = [], []
    by_name: dict[str, _Leaf] = {}
    for leaf, answer in zip(leaves, counted, strict=True):
        if isinstance(answer, FcError):
            yield Unlisted(leaf.repository, answer)
        elif answer.repository.lower() == answer.name.lower():
            by_name[answer.name.lower()] = answer
        else:  # perhaps it is tracked under the name of today as well
            by_name.setdefault(answer.name.lower(), answer)
    for leaf in by_name.values():
        if leaf.count > _PAGE:
            listings.append(_list_large(github, leaf))
        elif leaf.count:
            small.append(leaf)
    listings += [_list_small(github, pack) for pack in _packed(small)]
    found = _at_once(listings, _LISTINGS)
    async with closing(found):
        async for part in found:
            yield part


async def all_files(github: GitHub, node: str) -> list[Node]:
    """Changed files of the pull request with this node id, 3,000 at most, as GitHub lists them."""
    found: list[Node] = []
    after = None
    while True:
        data = await github.graphql(*together("Files", [_more_files(node, after)], _FILES))
        answer = data.values.get("n0")
        files = answer.get("files") if isinstance(answer, dict) else None
        if not _is_connection(files) or not all(files["nodes"]):
            raise error_of("the list of changed files", data.faults.get("n0", ()))
        found += files["nodes"]
        after = _next(files, after)
        if after is None or len(found) >= _MAX_FILES:
            return found


_PULL_REQUEST = f"""
fragment pullRequest on PullRequest {{
    id number title body createdAt mergedAt author {{ login }}
    repository {{ nameWithOwner }} labels(first: 50) {{ nodes {{ name }} }}
    headRefOid changedFiles mergeCommit {{ oid parents(first: 1) {{ nodes {{ oid }} }} }}
    files(first: 100) {{ ...files }}
    timelineItems(first: {_FIRST_EVENTS}, itemTypes: $events) {{ ...events }}
}}
"""
_EVENTS = """
fragment events on PullRequestTimelineItemsConnection {
    totalCount pageInfo { hasNextPage endCursor }
    nodes {
        __typename
        ... on IssueComment { author { login } createdAt body }
        ... on PullRequestReview { author { login } createdAt body }
        ... on CrossReferencedEvent {
            actor { login } createdAt
            source {
                __typename
                ... on Issue { number repository { nameWithOwner } }
                ... on PullRequest { number repository { nameWithOwner } }
            }
        }
    }
}
"""
_FILES = """
fragment files on PullRequestChangedFileConnection {
    pageInfo { hasNextPage endCursor } nodes { path additions deletions }
}
"""
_EVENT_TYPES: tuple[str, Any] = (
    "[PullRequestTimelineItemsItemType!]",
    ["ISSUE_COMMENT", "PULL_REQUEST_REVIEW", "CROSS_REFERENCED_EVENT"],
)


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """A search that GitHub can answer: `repository` as tracked, `name` as it is called today.

    `start` and `last` are both inside; `count` is the number of pull requests announced.
    """

    repository: str
    name: str
    start: datetime.datetime
    last: datetime.datetime
    count: int = 0

    @property
    def search(self) -> str:
        # Oldest first: a page keeps its place while new ones are merged.
        window = f"{self.start:%Y-%m-%dT%H:%M:%SZ}..{self.last:%Y-%m-%dT%H:%M:%SZ}"
        return f"repo:{self.name} is:pr is:merged merged:{window} sort:created-asc"

    def field(self, i: int, first: int, fields: str, after: str | None = None) -> Field:
        text = (
            f"s{i}: search(query: $q{i}, type: ISSUE, first: {first}, after: $a{i}) {{ {fields} }}"
        )
        return text, {f"q{i}": ("String!", self.search), f"a{i}": ("String", after)}


async def _count_named(github: GitHub, leaves: Sequence[_Leaf]) -> list[_Leaf | FcError]:
    """Leaves with their counts, under the names of today, which search alone understands."""
    fields = [of_repository(i, leaf.name, "nameWithOwner") for i, leaf in enumerate(leaves)]
    fields += [leaf.field(i, 1, "issueCount") for i, leaf in enumerate(leaves)]
    data = await github.graphql(*together("Count", fields), tries=tries(leaves))
    answers: list[_Leaf | FcError] = []
    for i, leaf in enumerate(leaves):
        repository, search = data.values.get(f"r{i}"), data.values.get(f"s{i}")
        if not is_map(repository, nameWithOwner=str) or not is_map(search, issueCount=int):
            faults = data.faults.get(f"r{i}", ()) or data.faults.get(f"s{i}", ())
            answers.append(error_of(leaf.repository, faults))
        elif repository["nameWithOwner"].lower() == leaf.name.lower():
            answers.append(dataclasses.replace(leaf, count=search["issueCount"]))
        else:
            renamed = dataclasses.replace(leaf, name=repository["nameWithOwner"])
            answers += await _count(github, [renamed])
    return answers


async def _count(github: GitHub, leaves: Sequence[_Leaf]) -> list[_Leaf | FcError]:
    fields = [leaf.field(i, 1, "issueCount") for i, leaf in enumerate(leaves)]
    data = await github.graphql(*together("Count", fields))
    return [
        dataclasses.replace(leaf, count=found["issueCount"])
        if is_map(found := data.values.get(f"s{i}"), issueCount=int)
        else error_of(leaf.repository, data.faults.get(f"s{i}", ()))
        for i, leaf in enumerate(leaves)
    ]


def _packed(leaves: Sequence[_Leaf]) -> list[list[_Leaf]]:
    """Small leaves together, up to a page of pull requests in one request."""
    packs: list[list[_Leaf]] = []
    room = 0
    for leaf in sorted(leaves, key=lambda leaf: leaf.count):
        if leaf.count > room or len(packs[-1]) == _COUNTS:
            packs.append([])
            room = _PAGE
        packs[-1].append(leaf)
        room -= leaf.count
    return packs


async def _list_small(github: GitHub, pack: Sequence[_Leaf]) -> AsyncIterator[Page | Unlisted]:
    """Leaves of one request; what does not come whole that way is listed by itself."""
    connections: Sequence[Node | None]
    try:
        connections = await _pages(github, [(leaf, leaf.count, None) for leaf in pack])
    except TooHeavyError:
        connections = [None] * len(pack)
    for leaf, connection in zip(pack, connections, strict=True):
        numbers = {node["number"] for node in connection["nodes"]} if connection else ()
        # Fewer than were announced: perhaps it was renamed, and nothing is found any more.
        if connection and leaf.count <= connection["issueCount"] == len(numbers):
            try:
                yield Page(leaf.repository, await _checked(github, leaf, connection["nodes"]))
            except FcError as error:
                yield Unlisted(leaf.repository, _of_one(error))
        else:
            async for part in _list_large(github, leaf):
                yield part


async def _list_large(github: GitHub, leaf: _Leaf) -> AsyncIterator[Page | Unlisted]:
    """A leaf in pages; a window with more than a search can bring is split first."""
    try:
        for part in await _split(github, leaf):
            async for page in _list(github, part):
                yield page
    except FcError as error:
        yield Unlisted(leaf.repository, _of_one(error))


async def _split(github: GitHub, leaf: _Leaf) -> list[_Leaf]:
    """Parts of the window, none with more pull requests than a search brings."""
    if leaf.count <= _CAP:
        return [leaf] if leaf.count else []
    seconds = int((leaf.last - leaf.start).total_seconds())
    if not seconds:
        raise PermanentError(f"{leaf.repository}: {leaf.count} pull requests merged in one second")
    middle = leaf.start + datetime.timedelta(seconds=seconds // 2)
    after = middle + datetime.timedelta(seconds=1)
    found = 0
    for attempt in range(_ATTEMPTS):
        leaf = await _again(github, leaf, attempt)
        halves = [dataclasses.replace(leaf, last=middle), dataclasses.replace(leaf, start=after)]
        counted: list[_Leaf] = []
        for half in await _count(github, halves):
            if isinstance(half, FcError):
                raise half
            counted.append(half)
        found = sum(half.count for half in counted)
        if found >= leaf.count:
            return [part for half in counted for part in await _split(github, half)]
    raise TransientError(
        f"{leaf.repository}: GitHub announced {leaf.count} pull requests merged from "
        f"{leaf.start:%F} to {leaf.last:%F} and counts {found} in the halves of that time"
    )


async def _again(github: GitHub, leaf: _Leaf, attempt: int) -> _Leaf:
    """The leaf as it is counted some time later, under the name it has by then."""
    if not attempt:
        return leaf
    await github.sleep(_AGAIN_S * attempt)
    [counted] = await _count_named(github, [leaf])
    if isinstance(counted, FcError):
        raise counted
    return counted


async def _list(github: GitHub, leaf: _Leaf) -> AsyncIterator[Page]:
    """All pages of a leaf; `TransientError` unless as many came as were announced.

    A place in the list is a number: whenever the announcement changes, a page may have skipped
    something, and all are asked again.
    """
    yielded: set[int] = set()
    seen: set[int] = set()
    told = leaf.count
    for attempt in range(_ATTEMPTS):
        # Under a former name nothing is found.
        leaf = await _again(github, leaf, attempt)
        size, after, more = _PAGE, None, True
        seen, announced = set(), set[int]()
        while more:
            try:
                [connection] = await _pages(github, [(leaf, size, after)])
            except TooHeavyError:
                if size == 1:
                    raise
                size //= 2
                continue
            size = max(size, min(2 * size, _SAFE_PAGE))
            told = connection["issueCount"]
            announced.add(told)
            after = _next(connection, after)
            more = after is not None
            numbered = {node["number"]: node for node in connection["nodes"]}
            # Without anything new the cursors may lead in a circle.
            more = more and not numbered.keys() <= seen
            seen |= numbered.keys()
            fresh = [node for number, node in numbered.items() if number not in yielded]
            yielded |= numbered.keys()
            if fresh:
                yield Page(leaf.repository, await _checked(github, leaf, fresh))
        if announced == {len(seen)} and len(seen) >= leaf.count:
            return
    raise TransientError(
        f"{leaf.repository}: GitHub announced {told} pull requests merged from {leaf.start:%F} to "
        f"{leaf.last:%F} and brought {len(seen)}"
    )


async def _pages(github: GitHub, wanted: Sequence[tuple[_Leaf, int, str | None]]) -> list[Node]:
    """A page of each leaf from one request; `TooHeavyError` unless all of it came."""
    fields = "issueCount pageInfo { hasNextPage endCursor } nodes { ...pullRequest }"
    asked = [leaf.field(i, first, fields, after) for i, (leaf, first, after) in enumerate(wanted)]
    asked[0] = asked[0][0], {**asked[0][1], "events": _EVENT_TYPES}
    query, variables = together("PullRequests", asked, _PULL_REQUEST + _EVENTS + _FILES)
    alone = len(wanted) == 1 and wanted[0][1] == 1
    data = await github.graphql(query, variables, tries=TRIES if alone else 2)
    found = [data.values.get(f"s{i}") for i in range(len(wanted))]
    # What a pull request is mentioned in may be hidden from us; the mention is then null.
    faults = [f for faults in data.faults.values() for f in faults if not _is_hidden(f)]
    whole = all(_is_connection(c, issueCount=int) and all(map(_is_pull, c["nodes"])) for c in found)
    if faults or not whole:
        said = faults[0].message if faults else "something is lacking, it does not say why"
        raise TooHeavyError(f"GitHub answered a page of pull requests in part: {said}")
    return [connection for connection in found if connection]


async def _checked(github: GitHub, leaf: _Leaf, nodes: Sequence[Node]) -> list[Node]:
    """Nodes with all their events; `PermanentError` for one that was not asked for."""
    for node in nodes:
        name, merged_at = node["repository"]["nameWithOwner"], _time(node["mergedAt"])
        inside = merged_at is not None and leaf.start <= merged_at <= leaf.last
        if name.lower() != leaf.name.lower() or not inside:
            raise PermanentError(
                f"GitHub answered {leaf.search!r} with {_label(node)}, merged {node['mergedAt']}"
            )
    return await _with_events(github, nodes)


async def _with_events(github: GitHub, nodes: Sequence[Node]) -> list[Node]:
    """Nodes with their further events, as far as `MAX_EVENTS`; many nodes in a request."""
    events = [_events(node) for node in nodes]
    after = [_next(node["timelineItems"], None) for node in nodes]

    async def more(part: Sequence[int]) -> list[Node | FcError]:
        fields = [_more_events(i, nodes[i]["id"], after[i]) for i in part]
        fields[0] = fields[0][0], {**fields[0][1], "events": _EVENT_TYPES}
        data = await github.graphql(*together("Events", fields, _EVENTS), tries=tries(part))
        found = [data.values.get(f"n{i}") for i in part]
        return [
            node
            if is_map(node) and _is_connection(node.get("timelineItems"))
            else error_of(_label(nodes[i]), data.faults.get(f"n{i}", ()))
            for i, node in zip(part, found, strict=True)
        ]

    def lacking() -> list[int]:
        found = range(len(nodes))
        return [i for i in found if after[i] is not None and len(events[i]) < MAX_EVENTS]

    while wanted := lacking():
        for i, answer in zip(wanted, await in_halves(wanted, _OVERFLOWS, more), strict=True):
            if isinstance(answer, GoneError):
                # The pull request; `Unlisted` with it would say so of its repository.
                raise TransientError(str(answer))
            if isinstance(answer, FcError):
                raise answer
            events[i] += _events(answer)
            after[i] = _next(answer["timelineItems"], after[i])
    return [{**node, "events": own[:MAX_EVENTS]} for node, own in zip(nodes, events, strict=True)]


def _more_events(i: int, node: str, after: str | None) -> Field:
    text = (
        f"n{i}: node(id: $n{i}) {{ ... on PullRequest {{ "
        f"timelineItems(first: 100, after: $a{i}, itemTypes: $events) {{ ...events }} }} }}"
    )
    return text, {f"n{i}": ("ID!", node), f"a{i}": ("String", after)}


def _more_files(node: str, after: str | None) -> Field:
    text = "n0: node(id: $n) { ... on PullRequest { files(first: 100, after: $a) { ...files } } }"
    return text, {"n": ("ID!", node), "a": ("String", after)}


def _of_one(error: FcError) -> FcError:
    """The error of one repository; raises what would meet the others just as well."""
    everybody = isinstance(error, (UnavailableError, InterruptedRunError))
    if everybody and not isinstance(error, TooHeavyError):
        raise error
    return error


def _is_connection(found: Any, **fields: type) -> TypeGuard[Node]:
    return is_map(found, nodes=list, pageInfo=dict, **fields)


def _is_pull(found: Any) -> bool:
    return (
        is_map(found, id=str, number=int, mergedAt=str)
        and is_map(found.get("repository"), nameWithOwner=str)
        and _is_connection(found.get("timelineItems"), totalCount=int)
    )


def _is_hidden(fault: Fault) -> bool:
    return fault.type in ("FORBIDDEN", "NOT_FOUND") and "timelineItems" in fault.path


def _events(node: Node) -> list[Node]:
    """Without what is null: the events whose source these tokens may not see."""
    return [found for found in node["timelineItems"]["nodes"] if found]


def _next(connection: Node, before: str | None) -> str | None:
    """Where the next page begins, None when there is none; a cursor that stands leads nowhere."""
    info, nodes = connection["pageInfo"], connection["nodes"]
    after = info.get("endCursor")
    more = info.get("hasNextPage") and nodes and isinstance(after, str) and after != before
    return after if more else None


def _time(text: str) -> datetime.datetime | None:
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _label(node: Node) -> str:
    return f"{node['repository']['nameWithOwner']}#{node['number']}"


async def _at_once(sources: Sequence[AsyncIterator[T]], limit: int) -> AsyncIterator[T]:
    """Parts of all sources as they come; `limit` sources run, and no part piles up."""
    queue: asyncio.Queue[tuple[T | None, Exception | None]] = asyncio.Queue(1)
    waiting = iter(sources)

    async def work() -> None:
        try:
            for source in waiting:
                async with closing(source):
                    async for part in source:
                        await queue.put((part, None))
            await queue.put((None, None))
        except Exception as error:  # raised where the parts are taken
            await queue.put((None, error))

    workers = [asyncio.create_task(work()) for _ in range(limit)]
    try:
        running = len(workers)
        while running:
            part, error = await queue.get()
            if error is not None:
                raise error
            if part is None:
                running -= 1
            else:
                yield part
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
