"""Code search, what repositories are like, and diffs of commits, from a GitHub on loopback.

Listing merged pull requests is tested with `github_merged`, single requests with `github`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fc_resources import github as client
from fc_resources import github_queries
from fc_resources.errors import FcError, PermanentError, TransientError, UnavailableError
from fc_resources.github import GitHub
from fc_resources.github_answers import GoneError, RefusedError, TooHeavyError
from fc_resources.ledger import Ledger
from tests.fakes import github, github_faults, github_wire

pytestmark = pytest.mark.github

SHA = "a" * 40


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[github.GitHub]:
    monkeypatch.setattr(client, "_BACKOFF_S", 0.01)
    monkeypatch.setattr(client, "_LOOK_S", 0.05)
    monkeypatch.setitem(client._PACE, "rest", 500.0)
    monkeypatch.setitem(client._PACE, "graphql", 500.0)
    monkeypatch.setattr(github_queries, "_AGAIN_S", 0.01)
    with github.GitHub() as running:
        running.budget("ghp_one", "code_search", 10_000, 3_600)
        yield running
        assert running.invalid_queries == []


@pytest.fixture
def asked(fake: github.GitHub, tmp_path: Path) -> GitHub:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    return GitHub(["ghp_one"], ledger, url=fake.url, max_wait_s=1)


def search(asked: GitHub) -> dict[str, list[str]]:
    return asked.ask(github_queries.asv_configs(asked))


def put(fake: github.GitHub, name: str, path: str, size: int = 900) -> None:
    fake.code.append({"repository": name, "path": path, "size": size})


def edited(change: Callable[[dict[str, Any]], object]) -> github_wire.Fault:
    """A fault: the ordinary answer with its JSON changed."""

    def answer(request: github_wire.Request) -> github_wire.Answer:
        ordinary = request.ordinary()
        body = json.loads(ordinary.body)
        change(body)
        ordinary.body = json.dumps(body).encode()
        ordinary.headers.pop("ETag", None)
        return ordinary

    return answer


def incomplete(body: dict[str, Any]) -> None:
    body.update(incomplete_results=True, items=body["items"][:1])


def sized(request: github_wire.Request) -> tuple[int, int]:
    low, _, high = request.params["q"].rpartition("size:")[2].partition("..")
    return int(low), int(high)


# Code search.


def test_only_configurations_of_asv_are_found(fake: github.GitHub, asked: GitHub) -> None:
    paths = {
        "asv.conf.json": True,
        "benchmarks/asv.conf.json": True,
        "b/asv.pypy.json": True,
        "b/asv.ci-3.12.json": True,
        "b/asv.json": True,
        "b/asvfoo.json": False,
        "b/asv-conf.json": False,
        "notasv.json": False,
        "my.asv.conf.json": False,
        "asv.conf.json/readme.txt": False,
        "asv.conf.jsonc": False,
    }
    for path in paths:
        put(fake, "o/r", path)
    put(fake, "o/other", "asv.conf.json")
    fake.code.append({"repository": "o/fork", "path": "asv.conf.json", "size": 9, "fork": True})
    found = search(asked)
    assert found == {
        "o/other": ["asv.conf.json"],
        "o/r": sorted(path for path, wanted in paths.items() if wanted),
    }


def test_nothing_found_is_nothing(fake: github.GitHub, asked: GitHub) -> None:
    assert search(asked) == {}
    assert len(fake.requests) == 2


@pytest.mark.parametrize("count", [100, 101, 1_000, 1_001, 2_300])
def test_all_that_is_found_comes_whatever_its_number(
    fake: github.GitHub, asked: GitHub, count: int
) -> None:
    for number in range(count):
        put(fake, f"o/r{number}", "asv.conf.json", number * 97 % 393_216)
    put(fake, "o/r0", "asv.conf.json", 0)
    put(fake, "o/large", "asv.conf.json", 393_216)
    found = search(asked)
    assert found == {
        **{f"o/r{number}": ["asv.conf.json"] for number in range(count)},
        "o/large": ["asv.conf.json"],
    }


def test_too_many_of_one_size_cannot_be_searched(fake: github.GitHub, asked: GitHub) -> None:
    for number in range(1_001):
        put(fake, f"o/r{number}", "asv.conf.json", 900)
    with pytest.raises(UnavailableError, match=r"finds 1001 and brings 1000 of .* be split"):
        search(asked)


def test_an_incomplete_search_is_asked_again(fake: github.GitHub, asked: GitHub) -> None:
    for number in range(250):
        put(fake, f"o/r{number}", "asv.conf.json", number)
    fake.fault(edited(incomplete), 2)
    fake.fault(edited(incomplete), 2, lambda request: request.params.get("page") == "3")
    assert len(search(asked)) == 250
    assert {sized(request) for request in fake.requests} == {(0, github_queries._MAX_SIZE)}


def test_a_search_that_stays_incomplete_is_split(fake: github.GitHub, asked: GitHub) -> None:
    for number in range(50):
        put(fake, f"o/r{number}", "asv.conf.json", number * 10)

    def wide(request: github_wire.Request) -> bool:
        low, high = sized(request)
        return high - low > 100_000

    fake.fault(edited(incomplete), 1_000, wide)
    assert len(search(asked)) == 50


def test_a_search_that_is_never_complete_is_no_answer(fake: github.GitHub, asked: GitHub) -> None:
    for number in range(50):
        put(fake, f"o/r{number}", "asv.conf.json", number * 10)
    fake.fault(edited(incomplete), 1_000)
    with pytest.raises(UnavailableError, match=r"gave up on .* cannot be split"):
        search(asked)
    assert len(fake.requests) < 100


def test_a_page_that_is_never_complete_is_no_answer(fake: github.GitHub, asked: GitHub) -> None:
    for number in range(150):
        put(fake, f"o/r{number}", "asv.conf.json", number)
    fake.fault(edited(incomplete), 1_000, lambda request: request.params.get("page") == "2")
    with pytest.raises(UnavailableError, match="gave up on page 2"):
        search(asked)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(items=None),
        lambda body: body.update(items="x"),
        lambda body: body.update(total_count=None),
        lambda body: body.update(total_count="2"),
        lambda body: body.pop("incomplete_results"),
        lambda body: body["items"][0].pop("repository"),
        lambda body: body["items"][0].update(repository=None),
        lambda body: body["items"][0].update(path=None),
        lambda body: body["items"][0]["repository"].update(full_name=None),
    ],
)
def test_a_search_of_another_shape_is_no_answer(
    fake: github.GitHub, asked: GitHub, change: Callable[[dict[str, Any]], object]
) -> None:
    put(fake, "o/r", "asv.conf.json")
    fake.fault(edited(change))
    with pytest.raises(UnavailableError):
        search(asked)


def test_a_search_that_is_known_costs_nothing(fake: github.GitHub, asked: GitHub) -> None:
    for number in range(120):
        put(fake, f"o/r{number}", "asv.conf.json", number)
    fake.budget("ghp_one", "code_search", 9, 3_600)
    first = search(asked)
    _, left, _ = fake.budgets.window("ghp_one", "code_search")
    assert search(asked) == first
    assert fake.budgets.window("ghp_one", "code_search")[1] == left


# Repositories.


def describe(asked: GitHub, *names: str) -> dict[str, Any]:
    return asked.ask(github_queries.repositories(asked, names))


def test_repositories_are_described_many_at_once(fake: github.GitHub, asked: GitHub) -> None:
    names = [f"o/r{i}" for i in range(120)]
    for i, name in enumerate(names):
        fake.repository(name, stargazerCount=i)
    found = describe(asked, *names)
    assert list(found) == names
    assert [answer["stargazerCount"] for answer in found.values()] == list(range(120))
    assert len(fake.requests) == 3
    assert describe(asked) == {}


def test_what_a_repository_is_like(fake: github.GitHub, asked: GitHub) -> None:
    fake.repository(
        "o/r",
        files=["asv.conf.json", "asv_bench/asv.conf.json", "x/asv.conf.json"],
        repositoryTopics=["fast", "numbers"],
        primaryLanguage=None,
        licenseInfo=None,
        description=None,
        defaultBranchRef=None,
    )
    fake.repository("o/plain")
    found = describe(asked, "o/r", "o/plain")
    node = found["o/r"]
    assert node["asvConfigs"] == ["asv.conf.json", "asv_bench/asv.conf.json"]
    topics = [topic["topic"]["name"] for topic in node["repositoryTopics"]["nodes"]]
    assert topics == ["fast", "numbers"]
    nothing = ("primaryLanguage", "licenseInfo", "description", "defaultBranchRef", "archivedAt")
    assert [node[field] for field in nothing] == [None] * 5
    assert found["o/plain"]["asvConfigs"] == []
    assert found["o/plain"]["primaryLanguage"] == {"name": "Python"}


def test_renamed_and_gone_ones_come_under_the_name_asked_for(
    fake: github.GitHub, asked: GitHub
) -> None:
    fake.repository("o/old")
    fake.rename("o/old", "new/name")
    fake.repository("o/r")
    found = describe(asked, "o/gone", "o/old", "o/r", "no slash", 'o/"} evil')
    assert isinstance(found["o/gone"], GoneError)
    assert "o/gone" in str(found["o/gone"])
    assert found["o/old"]["nameWithOwner"] == "new/name"
    assert found["o/r"]["nameWithOwner"] == "o/r"
    assert isinstance(found["no slash"], GoneError)
    assert isinstance(found['o/"} evil'], GoneError)


@pytest.mark.parametrize(
    "fault",
    [
        github_faults.status(502),
        github_faults.timed_out(),
        github_faults.truncated(),
        github_faults.partial(("r0",)),
        github_faults.partial(("r0",), "RESOURCE_LIMITS_EXCEEDED"),
        github_faults.partial(("r0", "c1")),
        github_faults.partial(("r0", "stargazerCount")),
    ],
)
def test_what_fails_together_is_asked_in_halves(
    fake: github.GitHub, asked: GitHub, fault: github_wire.Fault
) -> None:
    names = [f"o/r{i}" for i in range(30)]
    for name in names:
        fake.repository(name)
    fake.fault(fault, 1_000, lambda request: "r17" in request.variables.values())
    found = describe(asked, *names)
    failed = {name for name, answer in found.items() if isinstance(answer, FcError)}
    assert failed == {"o/r17"}
    assert isinstance(found["o/r17"], TooHeavyError)
    fake._faults.clear()
    fake.fault(fault, 2)
    assert not any(isinstance(answer, FcError) for answer in describe(asked, *names).values())


def test_a_hidden_one_is_a_permanent_error_and_the_others_come(
    fake: github.GitHub, asked: GitHub
) -> None:
    for name in ("o/a", "o/b"):
        fake.repository(name)

    def hide(body: dict[str, Any]) -> None:
        body["data"]["r0"] = None
        body["errors"] = [{"type": "FORBIDDEN", "path": ["r0"], "message": "SAML enforcement"}]

    fake.fault(edited(hide))
    found = describe(asked, "o/a", "o/b")
    assert isinstance(found["o/a"], PermanentError)
    assert "SAML enforcement" in str(found["o/a"])
    assert found["o/b"]["nameWithOwner"] == "o/b"


@pytest.mark.parametrize("answer", [None, {}, "x", [], {"nameWithOwner": None}, 5])
def test_a_description_of_another_shape_is_no_answer(
    fake: github.GitHub, asked: GitHub, answer: Any
) -> None:
    for name in ("o/a", "o/b"):
        fake.repository(name)
    fake.fault(edited(lambda body: body["data"].update(r0=answer)), 100)
    found = describe(asked, "o/a", "o/b")
    assert isinstance(found["o/a"], TransientError)
    assert not isinstance(found["o/a"], GoneError)
    assert found["o/b"]["nameWithOwner"] == "o/b"


# Diffs.


def diff(asked: GitHub) -> str | None:
    return asked.ask(github_queries.commit_diff(asked, "o/r", SHA))


@pytest.fixture
def commit(fake: github.GitHub) -> None:
    fake.repository("o/r")
    fake.diffs[SHA] = "diff --git a/ä b/ä\r\n+\0".encode() + b"\xff\n"


@pytest.mark.usefixtures("commit")
def test_a_diff_is_text_whatever_its_bytes(fake: github.GitHub, asked: GitHub) -> None:
    assert diff(asked) == "diff --git a/ä b/ä\r\n+\0\ufffd\n"
    fake.diffs[SHA] = b""
    assert diff(asked) == ""


@pytest.mark.usefixtures("commit")
def test_a_diff_is_followed_to_another_name(fake: github.GitHub, asked: GitHub) -> None:
    before = diff(asked)
    fake.rename("o/r", "new/name")
    assert diff(asked) == before


@pytest.mark.usefixtures("commit")
def test_a_diff_that_is_too_large_is_none(fake: github.GitHub, asked: GitHub) -> None:
    fake.diffs[SHA] = 406
    assert diff(asked) is None


@pytest.mark.usefixtures("commit")
def test_a_commit_that_is_not_there_is_gone(fake: github.GitHub, asked: GitHub) -> None:
    del fake.diffs[SHA]
    with pytest.raises(GoneError, match="No commit found"):
        diff(asked)
    fake.vanish("o/r")
    with pytest.raises(GoneError, match="404"):
        diff(asked)


@pytest.mark.usefixtures("commit")
@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_in_trouble_is_no_answer(fake: github.GitHub, asked: GitHub, status: int) -> None:
    fake.diffs[SHA] = status
    with pytest.raises(UnavailableError, match=f"status {status}"):
        diff(asked)


@pytest.mark.usefixtures("commit")
def test_a_refused_diff_is_an_error_and_not_none(fake: github.GitHub, asked: GitHub) -> None:
    fake.diffs[SHA] = 409
    with pytest.raises(RefusedError, match="409"):
        diff(asked)


@pytest.mark.usefixtures("commit")
def test_diffs_are_not_remembered(fake: github.GitHub, asked: GitHub) -> None:
    diff(asked)
    diff(asked)
    assert [request.status for request in fake.requests] == [200, 200]


# Pure parts.


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_answers_keep_their_order_however_they_are_asked(asked: GitHub, size: int) -> None:
    async def ask(part: Any) -> list[int]:
        if len(part) > 1 and 5 in part:
            raise TooHeavyError("five is heavy")
        if part == [8]:
            raise TooHeavyError("eight alone is too")
        return [item * 10 for item in part]

    found = asked.ask(github_queries.in_halves(list(range(8)), size, ask))
    assert found == [item * 10 for item in range(8)]
    [heavy] = asked.ask(github_queries.in_halves([8], size, ask))
    assert isinstance(heavy, TooHeavyError)
