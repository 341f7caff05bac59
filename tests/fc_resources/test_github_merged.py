"""Listing merged pull requests from a GitHub on loopback: each once, or the repository is named.

How single requests survive a bad day is tested with `github`.
"""

import asyncio
import base64
import datetime
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fc_assets import months
from fc_resources import github as client
from fc_resources import github_merged
from fc_resources.errors import PermanentError, TransientError
from fc_resources.github import GitHub
from fc_resources.github_answers import GoneError, RateLimitedError, TooHeavyError
from fc_resources.github_merged import MAX_EVENTS, Page, Unlisted
from fc_resources.ledger import Ledger
from tests.fakes import github, github_faults, github_wire
from tests.fakes.github_data import comment, cross_reference, review

pytestmark = pytest.mark.github

JAN = datetime.date(2026, 1, 1)
START, END = months.window(JAN)
#: The cursor that leads to the first page.
FIRST = base64.b64encode(b"cursor:0").decode()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[github.GitHub]:
    monkeypatch.setattr(client, "_BACKOFF_S", 0.01)
    monkeypatch.setattr(client, "_LOOK_S", 0.05)
    monkeypatch.setattr(github_merged, "_AGAIN_S", 0.01)
    monkeypatch.setitem(client._PACE, "graphql", 500.0)
    with github.GitHub() as running:
        yield running
        # A request that is cancelled half-way arrives without its query.
        assert [asked for asked in running.invalid_queries if not asked.endswith("\nNone")] == []


@pytest.fixture
def asked(fake: github.GitHub, tmp_path: Path) -> GitHub:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    return GitHub(["ghp_one"], ledger, url=fake.url, max_wait_s=1)


def listed(
    asked: GitHub, *names: str, start: datetime.datetime = START, end: datetime.datetime = END
) -> tuple[dict[str, list[Any]], dict[str, Exception]]:
    """Nodes and errors by repository, as tracked."""
    nodes: dict[str, list[Any]] = {}
    errors: dict[str, Exception] = {}
    for part in asked.stream(github_merged.merged(asked, names, start, end)):
        if isinstance(part, Page):
            assert part.nodes
            nodes.setdefault(part.repository, []).extend(part.nodes)
        else:
            assert part.repository not in errors
            errors[part.repository] = part.error
    for found in nodes.values():
        assert len({node["number"] for node in found}) == len(found)
    return nodes, errors


def numbers(nodes: Sequence[Any]) -> list[int]:
    return sorted(node["number"] for node in nodes)


def fill(
    fake: github.GitHub, name: str, count: int, minutes: int = 3, day: int = 2, **fields: Any
) -> None:
    """A repository with pull requests 1 to count, merged so many minutes apart."""
    fake.repository(name)
    at = datetime.datetime(2026, 1, day, tzinfo=datetime.UTC)
    for number in range(1, count + 1):
        merged = at + datetime.timedelta(minutes=minutes * number)
        created = merged - datetime.timedelta(days=1)
        fake.pull_request(name, number, mergedAt=merged, createdAt=created, **fields)


def named(kind: str) -> Callable[[github_wire.Request], bool]:
    return lambda request: request.operation == kind


def of(kind: str, fake: github.GitHub) -> list[github_wire.Request]:
    return [request for request in fake.requests if request.operation == kind]


def page_of(request: github_wire.Request) -> int:
    """The size of the first page in a request."""
    return int(str(request.query).partition("first: ")[2].partition(",")[0])


def edited(
    change: Callable[[dict[str, Any]], object],
) -> Callable[[github_wire.Request], github_wire.Answer]:
    """A fault: the ordinary answer with its data changed."""

    def answer(request: github_wire.Request) -> github_wire.Answer:
        ordinary = request.ordinary()
        body = json.loads(ordinary.body)
        change(body["data"])
        ordinary.body = json.dumps(body).encode()
        return ordinary

    return answer


# Windows.


def test_a_window_has_its_start_and_not_its_end(fake: github.GitHub, asked: GitHub) -> None:
    fake.repository("o/r")
    for number, at in enumerate(
        (
            "2025-12-31T23:59:59Z",
            "2026-01-01T00:00:00Z",
            "2026-01-31T23:59:59Z",
            "2026-02-01T00:00:00Z",
        )
    ):
        fake.pull_request("o/r", number, mergedAt=at, createdAt="2024-01-01T00:00:00Z")
    fake.pull_request("o/r", 8, mergedAt=None, createdAt="2026-01-03T00:00:00Z")
    closed = "2026-01-05T00:00:00Z"
    fake.pull_request("o/r", 9, mergedAt=None, closedAt=closed, createdAt="2026-01-03T00:00:00Z")
    nodes, errors = listed(asked, "o/r")
    assert numbers(nodes["o/r"]) == [1, 2]
    assert errors == {}


def test_every_pull_request_is_in_exactly_one_month(fake: github.GitHub, asked: GitHub) -> None:
    fake.repository("o/r")
    draw = random.Random(7)
    wanted = [datetime.date(2023 + m // 12, m % 12 + 1, 1) for m in range(10, 16)]
    number = 0
    expected: dict[datetime.date, list[int]] = {month: [] for month in wanted}
    for month in wanted:
        start, end = months.window(month)
        last = int((end - start).total_seconds()) - 1
        for second in (0, 1, last - 1, last, draw.randrange(last), draw.randrange(last)):
            number += 1
            expected[month].append(number)
            merged = start + datetime.timedelta(seconds=second)
            created = merged - datetime.timedelta(days=draw.randrange(400))
            fake.pull_request("o/r", number, mergedAt=merged, createdAt=created)
    for month in wanted:
        start, end = months.window(month)
        nodes, errors = listed(asked, "o/r", start=start, end=end)
        assert numbers(nodes["o/r"]) == expected[month]
        assert errors == {}


def test_nothing_merged_is_no_error_and_no_page(fake: github.GitHub, asked: GitHub) -> None:
    fake.repository("o/r")
    assert listed(asked, "o/r") == ({}, {})
    assert listed(asked) == ({}, {})


# Many.


def test_many_small_repositories_share_requests(fake: github.GitHub, asked: GitHub) -> None:
    names = [f"o/r{i}" for i in range(60)]
    for name in names:
        fill(fake, name, 3)
    nodes, errors = listed(asked, *names)
    assert {name: numbers(found) for name, found in nodes.items()} == {
        name: [1, 2, 3] for name in names
    }
    assert errors == {}
    assert len(of("Count", fake)) <= 3
    assert len(of("PullRequests", fake)) <= 4


def test_more_than_a_page_arrives_in_pages(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "o/r", 250)
    fill(fake, "o/few", 2)
    nodes, errors = listed(asked, "o/r", "o/few")
    assert numbers(nodes["o/r"]) == list(range(1, 251))
    assert numbers(nodes["o/few"]) == [1, 2]
    assert errors == {}
    assert len(of("PullRequests", fake)) == 4


def test_more_than_a_search_brings_is_split(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "o/r", 1_200)
    nodes, errors = listed(asked, "o/r")
    assert numbers(nodes["o/r"]) == list(range(1, 1_201))
    assert errors == {}


@pytest.mark.slow
def test_ten_thousand_in_a_month_arrive_once(fake: github.GitHub, asked: GitHub) -> None:
    fake.repository("o/r")
    for number in range(1, 10_001):
        at = START + datetime.timedelta(seconds=number * 200 if number % 2 else number)
        fake.pull_request("o/r", number, mergedAt=at, files=[])
    seen: list[int] = []
    for part in asked.stream(github_merged.merged(asked, ["o/r"], START, END)):
        assert isinstance(part, Page)
        assert len(part.nodes) <= 100
        seen += [node["number"] for node in part.nodes]
    assert sorted(seen) == list(range(1, 10_001))


def test_too_many_in_one_second_are_named_and_the_others_go_on(
    fake: github.GitHub, asked: GitHub
) -> None:
    fake.repository("o/r")
    for number in range(1, 1_002):
        fake.pull_request("o/r", number, mergedAt="2026-01-15T12:00:00Z", files=[])
    fill(fake, "o/other", 2)
    nodes, errors = listed(asked, "o/r", "o/other")
    assert numbers(nodes["o/other"]) == [1, 2]
    assert list(nodes) == ["o/other"]
    assert isinstance(errors["o/r"], PermanentError)
    assert str(errors["o/r"]) == "o/r: 1001 pull requests merged in one second"


@pytest.mark.parametrize("names", [("o/new", "o/new", "o/old"), ("o/old", "o/new")])
def test_a_repository_named_twice_is_listed_once(
    fake: github.GitHub, asked: GitHub, names: Sequence[str]
) -> None:
    fill(fake, "o/old", 3)
    fake.rename("o/old", "o/new")
    nodes, errors = listed(asked, *names)
    assert {name: numbers(found) for name, found in nodes.items()} == {"o/new": [1, 2, 3]}
    assert errors == {}


# Changes while it is asked.


@pytest.mark.parametrize("place", ["early", "late"])
def test_one_that_is_merged_meanwhile_pushes_none_out(
    fake: github.GitHub, asked: GitHub, place: str
) -> None:
    fill(fake, "o/r", 250)
    created = "2020-01-01T00:00:00Z" if place == "early" else "2026-01-30T00:00:00Z"

    def merge(request: github_wire.Request) -> None:
        fake.pull_request("o/r", 999, createdAt=created, mergedAt="2026-01-31T00:00:00Z")

    pages = iter(range(10))
    fake.fault(merge, when=lambda r: r.operation == "PullRequests" and next(pages) == 1)
    nodes, errors = listed(asked, "o/r")
    assert set(numbers(nodes["o/r"])) == {*range(1, 251), 999}
    assert errors == {}


def test_one_that_is_deleted_meanwhile_takes_none_along(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "o/r", 250)

    def delete(request: github_wire.Request) -> None:
        del fake.repositories["o/r"]["pullRequests"][4]

    pages = iter(range(10))
    fake.fault(delete, when=lambda r: r.operation == "PullRequests" and next(pages) == 1)
    nodes, errors = listed(asked, "o/r")
    assert {*range(1, 251)} - {5} <= set(numbers(nodes["o/r"]))
    assert errors == {}


@pytest.mark.parametrize("count", [3, 150])
def test_what_never_comes_whole_is_named(fake: github.GitHub, asked: GitHub, count: int) -> None:
    fill(fake, "o/r", count)
    fill(fake, "o/other", 2)

    def short(data: dict[str, Any]) -> None:
        for found in data.values():
            if found["nodes"] and found["nodes"][0]["repository"]["nameWithOwner"] == "o/r":
                found["nodes"] = found["nodes"][1:]

    fake.fault(edited(short), times=50, when=named("PullRequests"))
    nodes, errors = listed(asked, "o/r", "o/other")
    assert numbers(nodes["o/other"]) == [1, 2]
    assert isinstance(errors["o/r"], TransientError)
    assert f"announced {count}" in str(errors["o/r"])
    assert len(fake.requests) < 20


@pytest.mark.parametrize("times", [1, 50])
def test_halves_that_count_less_than_the_whole_are_not_believed(
    fake: github.GitHub, asked: GitHub, times: int
) -> None:
    fill(fake, "o/r", 1_001)

    def fewer(data: dict[str, Any]) -> None:
        for found in data.values():
            found["issueCount"] //= 2

    def half(request: github_wire.Request) -> bool:
        return request.operation == "Count" and "r0" not in request.variables

    fake.fault(edited(fewer), times, half)
    nodes, errors = listed(asked, "o/r")
    if times == 1:
        assert numbers(nodes["o/r"]) == list(range(1, 1_002))
        assert errors == {}
    else:
        assert isinstance(errors["o/r"], TransientError)
        assert nodes == {}


@pytest.mark.parametrize("count", [3, 150, 1_050])
def test_renamed_before_or_while_it_is_listed_all_come_under_the_tracked_name(
    fake: github.GitHub, asked: GitHub, count: int
) -> None:
    fill(fake, "o/old", count)
    fill(fake, "o/other", 2)

    def rename(request: github_wire.Request) -> None:
        fake.rename("o/old", "new/name")

    fake.fault(rename, when=named("PullRequests"))
    for _ in range(2):
        nodes, errors = listed(asked, "o/old", "o/other")
        assert {name: numbers(found) for name, found in nodes.items()} == {
            "o/old": list(range(1, count + 1)),
            "o/other": [1, 2],
        }
        assert errors == {}


def test_the_case_of_a_name_does_not_matter(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "Org/Repo", 2)
    nodes, errors = listed(asked, "org/repo")
    assert numbers(nodes["org/repo"]) == [1, 2]
    assert errors == {}


def test_what_is_gone_is_named_as_gone(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "o/r", 2)
    fill(fake, "o/gone", 2)
    fake.vanish("o/gone")
    nodes, errors = listed(asked, "o/gone", "o/r")
    assert list(nodes) == ["o/r"]
    assert isinstance(errors["o/gone"], GoneError)


def test_an_answer_without_data_does_not_blame_the_others(
    fake: github.GitHub, asked: GitHub
) -> None:
    for name in ("o/a", "o/b", "o/c"):
        fill(fake, name, 2)
    error = {"type": "NOT_FOUND", "path": ["r1"], "message": "Could not resolve"}
    fake.fault(lambda request: github_wire.of_json(200, {"data": None, "errors": [error]}))
    nodes, errors = listed(asked, "o/a", "o/b", "o/c")
    assert sorted(nodes) == ["o/a", "o/b", "o/c"]
    assert errors == {}


def test_what_vanishes_meanwhile_is_named(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "o/r", 150)
    fake.fault(lambda request: fake.vanish("o/r"), when=named("PullRequests"))
    nodes, errors = listed(asked, "o/r")
    assert nodes == {}
    assert isinstance(errors["o/r"], GoneError)


# Answers in part, and too heavy ones.

KINDS = [None, "RESOURCE_LIMITS_EXCEEDED"]


@pytest.mark.parametrize(("times", "kind"), [(1, None), (3, None), (3, KINDS[1])])
@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("Count", ("r1",)),
        ("Count", ("s1",)),
        ("Count", ("s1", "issueCount")),
        ("PullRequests", ("s0",)),
        ("PullRequests", ("s0", "nodes")),
        ("PullRequests", ("s0", "nodes", 1)),
        ("PullRequests", ("s0", "nodes", 0, "files")),
        ("PullRequests", ("s0", "nodes", 0, "timelineItems", "nodes", 3)),
        ("Events", ("n0",)),
        ("Events", ("n0", "timelineItems")),
        ("Events", ("n0", "timelineItems", "nodes", 1)),
    ],
)
def test_what_is_answered_in_part_is_asked_again(
    fake: github.GitHub,
    asked: GitHub,
    operation: str,
    path: tuple[str | int, ...],
    times: int,
    kind: str | None,
) -> None:
    for name in ("o/a", "o/b"):
        fill(fake, name, 2, timelineItems=[comment(f"{i}") for i in range(50)])
    fake.fault(github_faults.partial(path, kind), times, named(operation))
    nodes, errors = listed(asked, "o/a", "o/b")
    assert errors == {}
    assert {name: numbers(found) for name, found in nodes.items()} == {
        "o/a": [1, 2],
        "o/b": [1, 2],
    }
    for node in (*nodes["o/a"], *nodes["o/b"]):
        assert [event["body"] for event in node["events"]] == [f"{i}" for i in range(50)]
        assert node["files"]["nodes"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_repository_that_always_fails_is_named_and_the_others_go_on(
    fake: github.GitHub, asked: GitHub, kind: str | None
) -> None:
    names = [f"o/r{i}" for i in range(25)]
    for name in names:
        fill(fake, name, 1)

    def broken(request: github_wire.Request) -> github_wire.Answer:
        at = [k for k, v in request.variables.items() if k[0] == "r" and v == "r7"]
        return github_faults.partial((at[0],), kind)(request)  # pyright: ignore[reportReturnType] -- a fault may be None

    fake.fault(broken, 100, lambda r: r.operation == "Count" and "r7" in r.variables.values())
    nodes, errors = listed(asked, *names)
    assert sorted(nodes) == sorted(set(names) - {"o/r7"})
    assert list(errors) == ["o/r7"]
    assert isinstance(errors["o/r7"], TransientError)
    assert len(fake.requests) < 40


@pytest.mark.parametrize("fault", [github_faults.status(502), github_faults.timed_out()])
@pytest.mark.parametrize("largest", [1, 30])
def test_pages_that_are_too_heavy_are_made_smaller(
    fake: github.GitHub, asked: GitHub, fault: github_wire.Fault, largest: int
) -> None:
    names = [f"o/r{i}" for i in range(5)]
    for name in names:
        fill(fake, name, 101)
    fill(fake, "o/small", 40)

    def heavy(request: github_wire.Request) -> bool:
        return request.operation == "PullRequests" and page_of(request) > largest

    fake.fault(fault, 10_000, heavy)
    wanted = [*names, "o/small"] if largest > 1 else ["o/small"]
    nodes, errors = listed(asked, *wanted)
    assert errors == {}
    assert sorted(nodes) == sorted(wanted)
    assert all(len(found) in (101, 40) for found in nodes.values())


def test_four_listings_that_are_too_heavy_are_not_the_end(
    fake: github.GitHub, asked: GitHub
) -> None:
    names = [f"o/r{i}" for i in range(4)]
    for name in names:
        fill(fake, name, 101)
    poisoned = {"o/r0", "o/r1", "o/r2"}

    def heavy(request: github_wire.Request) -> bool:
        about = str(request.variables)
        return request.operation == "PullRequests" and (
            page_of(request) > 3 or any(name in about for name in poisoned)
        )

    fake.fault(github_faults.timed_out(), 10_000, heavy)
    nodes, errors = listed(asked, *names)
    assert set(errors) == poisoned
    assert all(isinstance(error, TooHeavyError) for error in errors.values())
    assert len(nodes["o/r3"]) == 101


def test_counts_that_are_too_heavy_together_are_asked_in_halves(
    fake: github.GitHub, asked: GitHub
) -> None:
    names = [f"o/r{i}" for i in range(400)]
    for name in names:
        fake.repository(name)
    fill(fake, "o/r", 2)

    def heavy(request: github_wire.Request) -> bool:
        return request.operation == "Count" and len(request.variables) > 4 * 12

    fake.fault(github_faults.timed_out(), 10_000, heavy)
    nodes, errors = listed(asked, *names, "o/r")
    assert errors == {}
    assert numbers(nodes["o/r"]) == [1, 2]


def test_a_pull_request_that_stays_null_costs_its_repository_only(
    fake: github.GitHub, asked: GitHub
) -> None:
    fill(fake, "o/r", 3)
    fill(fake, "o/other", 2)

    def null(data: dict[str, Any]) -> None:
        for found in data.values():
            found["nodes"] = [
                None
                if (node["repository"]["nameWithOwner"], node["number"]) == ("o/r", 2)
                else node
                for node in found["nodes"]
            ]

    fake.fault(edited(null), 1_000, named("PullRequests"))
    nodes, errors = listed(asked, "o/r", "o/other")
    assert numbers(nodes["o/other"]) == [1, 2]
    assert list(errors) == ["o/r"]
    assert len(fake.requests) < 20


def test_a_mention_that_is_hidden_from_us_is_left_out(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "o/r", 2, timelineItems=[comment(f"{i}") for i in range(3)])

    def hide(request: github_wire.Request) -> github_wire.Answer:
        ordinary = request.ordinary()
        body = json.loads(ordinary.body)
        body["data"]["s0"]["nodes"][0]["timelineItems"]["nodes"][1] = None
        path = ["s0", "nodes", 0, "timelineItems", "nodes", 1, "source"]
        error = {"type": "FORBIDDEN", "path": path, "message": "Resource protected by SAML"}
        ordinary.body = json.dumps({**body, "errors": [error]}).encode()
        return ordinary

    fake.fault(hide, 100, named("PullRequests"))
    nodes, errors = listed(asked, "o/r")
    assert errors == {}
    by_number = {node["number"]: node for node in nodes["o/r"]}
    assert [event["body"] for event in by_number[1]["events"]] == ["0", "2"]
    assert by_number[1]["timelineItems"]["totalCount"] == 3


SHAPES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no nodes": lambda found: found.update(nodes=None),
    "nodes that are a text": lambda found: found.update(nodes="nodes"),
    "a node that is a text": lambda found: found.update(nodes=["node"]),
    "no page info": lambda found: found.update(pageInfo=None),
    "no count": lambda found: found.update(issueCount=None),
    "a count that is a text": lambda found: found.update(issueCount="2"),
    "no time": lambda found: found["nodes"][0].update(mergedAt=None),
    "a time that is none": lambda found: found["nodes"][0].update(mergedAt="soon"),
    "a time without a zone": lambda found: found["nodes"][0].update(mergedAt="2026-01-15"),
    "no repository": lambda found: found["nodes"][0].update(repository=None),
    "a number that is a text": lambda found: found["nodes"][0].update(number="1"),
    "no timeline": lambda found: found["nodes"][0].update(timelineItems=None),
    "no events": lambda found: found["nodes"][0]["timelineItems"].update(nodes=None),
    "doubled nodes": lambda found: found.update(nodes=[*found["nodes"][:1]] * 2),
    "pages without an end": lambda found: found.update(
        pageInfo={"hasNextPage": True, "endCursor": FIRST}, issueCount=99
    ),
    "pages without a cursor": lambda found: found.update(
        pageInfo={"hasNextPage": True, "endCursor": None}, issueCount=99
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_another_shape_costs_its_repository_only(
    fake: github.GitHub, asked: GitHub, shape: str
) -> None:
    fill(fake, "o/r", 2)
    fill(fake, "o/other", 101)

    def change(data: dict[str, Any]) -> None:
        for found in data.values():
            if any(node["repository"]["nameWithOwner"] == "o/r" for node in found["nodes"]):
                SHAPES[shape](found)

    fake.fault(edited(change), 200, named("PullRequests"))
    nodes, errors = listed(asked, "o/other", "o/r")
    assert len(nodes["o/other"]) == 101
    assert list(errors) == ["o/r"]
    assert len(fake.requests) < 40


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(s0=None),
        lambda data: data.update(s0={}),
        lambda data: data.update(s0="x"),
        lambda data: data["s0"].update(issueCount="many"),
        lambda data: data.update(r0="x"),
        lambda data: data["r0"].update(nameWithOwner=None),
    ],
)
def test_a_count_of_another_shape_costs_its_repository_only(
    fake: github.GitHub, asked: GitHub, change: Callable[[dict[str, Any]], object]
) -> None:
    fill(fake, "o/r", 2)
    fill(fake, "o/other", 2)
    fake.fault(edited(change), 100, named("Count"))
    nodes, errors = listed(asked, "o/r", "o/other")
    assert numbers(nodes["o/other"]) == [1, 2]
    assert list(errors) == ["o/r"]


@pytest.mark.parametrize(
    "change",
    [{"repository": {"nameWithOwner": "evil/other"}}, {"mergedAt": "2026-02-01T00:00:00Z"}],
)
@pytest.mark.parametrize("count", [2, 120])
def test_what_was_not_asked_for_is_refused(
    fake: github.GitHub, asked: GitHub, change: dict[str, Any], count: int
) -> None:
    fill(fake, "o/r", count)
    fake.fault(edited(lambda data: data["s0"]["nodes"][1].update(change)), 9, named("PullRequests"))
    nodes, errors = listed(asked, "o/r")
    assert nodes == {}
    assert isinstance(errors["o/r"], PermanentError)
    assert "#2, merged" in str(errors["o/r"])


# What a pull request brings.


def test_nobody_and_nothing_are_null(fake: github.GitHub, asked: GitHub) -> None:
    fake.repository("o/r")
    items = [comment(author=None), review(author=None)]
    fake.pull_request("o/r", 1, author=None, mergeCommit=None, timelineItems=items)
    nodes, _ = listed(asked, "o/r")
    [node] = nodes["o/r"]
    assert node["author"] is None
    assert node["mergeCommit"] is None
    assert [event["author"] for event in node["events"]] == [None, None]


def test_text_of_any_kind_passes_through(fake: github.GitHub, asked: GitHub) -> None:
    body = "\0\ud800 \u2028 😀" + "x" * (1 << 20)
    fill(fake, "o/r", 3, body=body, title='"}) { id } #')
    nodes, errors = listed(asked, "o/r")
    assert [node["body"] == body for node in nodes["o/r"]] == [True] * 3
    assert errors == {}


@pytest.mark.parametrize("count", [0, 40, 41, 140, 250, 400])
def test_events_come_as_far_as_they_are_kept(
    fake: github.GitHub, asked: GitHub, count: int
) -> None:
    fake.repository("o/r")
    fake.repository("o/else")
    issue = fake.issue("o/else", 5)
    kinds = (comment, review, lambda body: cross_reference(issue))
    items = [kinds[i % 3](f"{i}") for i in range(count)]
    fake.pull_request("o/r", 1, timelineItems=items)
    fake.pull_request("o/r", 2, timelineItems=items[:7])
    nodes, errors = listed(asked, "o/r")
    assert errors == {}
    by_number = {node["number"]: node for node in nodes["o/r"]}
    events = by_number[1]["events"]
    assert len(events) == min(count, MAX_EVENTS)
    assert by_number[1]["timelineItems"]["totalCount"] == count
    for i, event in enumerate(events):
        if i % 3 == 2:
            assert event["source"]["repository"] == {"nameWithOwner": "o/else"}
        else:
            assert event["body"] == f"{i}"
    assert len(by_number[2]["events"]) == min(7, count)


def test_a_timeline_without_an_end_ends(fake: github.GitHub, asked: GitHub) -> None:
    fill(fake, "o/r", 1, timelineItems=[comment(f"{i}") for i in range(50)])

    def endless(data: dict[str, Any]) -> None:
        data["n0"]["timelineItems"] |= {
            "nodes": [],
            "pageInfo": {"hasNextPage": True, "endCursor": "same"},
        }

    fake.fault(edited(endless), 100, named("Events"))
    nodes, errors = listed(asked, "o/r")
    assert errors == {}
    assert len(nodes["o/r"][0]["events"]) == 40


def test_a_pull_request_that_vanishes_does_not_make_its_repository_gone(
    fake: github.GitHub, asked: GitHub
) -> None:
    fill(fake, "o/r", 2, timelineItems=[comment(f"{i}") for i in range(50)])

    def delete(request: github_wire.Request) -> None:
        fake._nodes.clear()

    fake.fault(delete, when=named("Events"))
    _, errors = listed(asked, "o/r")
    assert isinstance(errors["o/r"], TransientError)


def test_three_thousand_files_come_when_they_are_asked_for(
    fake: github.GitHub, asked: GitHub
) -> None:
    fake.repository("o/r")
    paths = [f"src/{i}.py" for i in range(3_000)]
    fake.pull_request("o/r", 1, files=paths)
    nodes, _ = listed(asked, "o/r")
    [node] = nodes["o/r"]
    assert node["files"]["pageInfo"]["hasNextPage"]
    assert node["changedFiles"] == 3_000
    fake.fault(github_faults.partial(("n0", "files", "nodes", 3)), 1, named("Files"))
    found = asked.ask(github_merged.all_files(asked, node["id"]))
    assert [file["path"] for file in found] == paths
    fake.vanish("o/r")
    with pytest.raises(GoneError):
        asked.ask(github_merged.all_files(asked, node["id"]))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["n0"].update(files=None),
        lambda data: data["n0"]["files"].update(nodes=None),
        lambda data: data["n0"]["files"].update(nodes=[None]),
        lambda data: data.update(n0={}),
    ],
)
def test_files_of_another_shape_are_no_answer(
    fake: github.GitHub, asked: GitHub, change: Callable[[dict[str, Any]], object]
) -> None:
    fake.repository("o/r")
    node = fake.pull_request("o/r", 1)
    fake.fault(edited(change), 10, named("Files"))
    with pytest.raises(TransientError):
        asked.ask(github_merged.all_files(asked, node["id"]))


# The end of a listing.


def tasks(asked: GitHub) -> int:
    """How much is still running in the client's loop."""

    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return asked.ask(count())


def test_a_listing_that_is_left_leaves_nothing_running(fake: github.GitHub, asked: GitHub) -> None:
    names = [f"o/r{i}" for i in range(6)]
    for name in names:
        fill(fake, name, 150)
    source = github_merged.merged(asked, names, START, END)
    stream = asked.stream(source)
    assert isinstance(next(stream), Page)
    # As many as are ahead, and those that each worker holds.
    time.sleep(0.3)
    asking = len(fake.requests)
    assert asking < 2 + 12
    stream.close()  # pyright: ignore[reportAttributeAccessIssue] -- a generator, typed Iterator
    until = time.monotonic() + 5
    while tasks(asked) and time.monotonic() < until:
        time.sleep(0.01)
    assert tasks(asked) == 0
    nodes, errors = listed(asked, names[0])
    assert len(nodes[names[0]]) == 150
    assert errors == {}


@pytest.mark.parametrize("operation", ["Count", "PullRequests", "Events"])
def test_a_limit_that_is_too_long_ends_the_listing(
    fake: github.GitHub, asked: GitHub, operation: str
) -> None:
    names = [f"o/r{i}" for i in range(41)]
    for name in names:
        fill(fake, name, 3, timelineItems=[comment(f"{i}") for i in range(41)])
    fake.fault(github_faults.primary_graphql(3_000), when=named(operation))
    with pytest.raises(RateLimitedError):
        listed(asked, *names)
    until = time.monotonic() + 5
    while tasks(asked) and time.monotonic() < until:
        time.sleep(0.01)
    assert tasks(asked) == 0


def test_when_one_part_of_a_question_fails_nobody_asks_the_others(
    fake: github.GitHub, asked: GitHub
) -> None:
    names = [f"o/r{i}" for i in range(1_000)]
    for name in names:
        fake.repository(name)
    error = {"message": "Field 'x' doesn't exist on type 'Query'"}
    fake.fault(lambda request: github_wire.of_json(200, {"errors": [error]}))
    with pytest.raises(PermanentError):
        listed(asked, *names)
    time.sleep(0.3)
    assert len(fake.requests) < 30


def test_a_slow_consumer_gets_everything(fake: github.GitHub, asked: GitHub) -> None:
    for name in ("o/a", "o/b", "o/c"):
        fill(fake, name, 210)
    found = 0
    for part in asked.stream(
        github_merged.merged(asked, ["o/a", "o/b", "o/c"], START, END), ahead=1
    ):
        assert not isinstance(part, Unlisted)
        time.sleep(0.02)
        found += len(part.nodes)
    assert found == 630
