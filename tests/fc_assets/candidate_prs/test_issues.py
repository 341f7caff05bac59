"""Issues that pull requests refer to: from files, from a loopback GitHub, or not to be had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fc_assets.candidate_prs import asset, issues
from fc_resources.errors import UnavailableError
from fc_resources.github import GitHub
from fc_resources.ledger import Ledger
from tests.fakes import github as fake_github
from tests.fakes import github_data, github_faults


def _issue(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "repo_name": "o/r",
        "issue_number": number,
        "title": "Slow",
        "body": "It takes minutes.",
        "author": "ana",
        "created_at": "2026-01-02T00:00:00Z",
        "comments": [],
        **changes,
    }


def _row(**changes: Any) -> dict[str, Any]:
    return {"owner": "o", "repo": "r", "issue_number": 9, "title": "perf", "body": "", **changes}


@pytest.fixture
def nobody(tmp_path: Path) -> GitHub:
    return GitHub([], Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))


@pytest.fixture
def fake() -> Iterator[fake_github.GitHub]:
    with fake_github.GitHub() as fake:
        fake.repository("o/r")
        yield fake
        assert fake.invalid_queries == []


@pytest.fixture
def github(fake: fake_github.GitHub, tmp_path: Path) -> GitHub:
    return GitHub(["ghp_one"], Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), url=fake.url)


def test_a_pull_request_is_not_its_own_issue(nobody: GitHub) -> None:
    known = {("o/r", 3): _issue(3), ("o/r", 9): _issue(9)}
    [linked] = issues.find([_row(title="o/r#9", body="Fixes #9, #3")], known, nobody)
    assert [issue["issue_number"] for issue in linked.issues] == [3]


@pytest.mark.github
def test_issues_of_github_have_the_form_of_an_offline_source(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    comment = github_data.comment("Me\0 too.", author="bob", createdAt="2026-01-03T00:00:00Z")
    fake.issue(
        "o/r",
        3,
        title="Slow",
        body="It takes minutes.",
        author="ana",
        createdAt="2026-01-02T00:00:00Z",
        comments=[comment],
    )
    [linked] = issues.find([_row(body="Fixes #3")], {}, github)
    said = {"author": "bob", "created_at": "2026-01-03T00:00:00Z", "body": "Me\ufffd too."}
    assert linked == issues.Linked([_issue(3, comments=[said])])


@pytest.mark.github
def test_many_references_share_a_request_and_known_ones_need_none(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    for number in range(1, 31):
        fake.issue("o/r", number)
    rows = [_row(issue_number=100 + n, body=f"Fixes #{n} and #1") for n in range(1, 31)]
    linked = issues.find(rows, {("o/r", 1): _issue(1)}, github)
    assert [len(found.issues) for found in linked] == [1, *[2] * 29]
    assert len(fake.requests) == 2


@pytest.mark.github
def test_a_pull_request_and_a_number_that_is_nothing_are_no_issues(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    fake.pull_request("o/r", 4)
    [linked] = issues.find([_row(body="Follows #4, see #77")], {}, github)
    assert linked == issues.Linked([])


@pytest.mark.github
def test_an_issue_that_did_not_come_is_unknown_not_absent(
    fake: fake_github.GitHub, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    fake.issue("o/r", 3)
    fake.issue("o/r", 5)
    fake.fault(github_faults.partial(("i0",)), times=99, when=lambda r: 5 in r.variables.values())
    one, other = issues.find([_row(body="Fixes #3"), _row(body="Fixes #5")], {}, github)
    assert (len(one.issues), one.unknown) == (1, None)
    assert other.issues == []
    assert "Something went wrong" in str(other.unknown)
    row = _row(issues=[], patch=None, unknown=other.unknown, merged_at=None, merge_commit_sha="")
    answer = asset.state(row, asset.template())
    assert answer.unknown == other.unknown


@pytest.mark.github
def test_an_outage_is_no_answer_at_all(fake: fake_github.GitHub, github: GitHub) -> None:
    fake.revoke("ghp_one")
    with pytest.raises(UnavailableError):
        issues.find([_row(body="Fixes #3")], {}, github)
