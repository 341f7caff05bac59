"""Issues that pull requests refer to: from files, from a loopback GitHub, or not to be had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fc_assets.candidate_prs import issues
from fc_resources.errors import UnavailableError
from fc_resources.github import GitHub
from fc_resources.ledger import Ledger
from tests.fakes import github as fake_github
from tests.fakes import github_data, github_faults
from tests.fc_assets.candidate_prs.material import (
    EARLY,
    LATE,
    answer,
    comment,
    issue,
    nobody,
    offline,
    row,
)


@pytest.fixture
def fake() -> Iterator[fake_github.GitHub]:
    with fake_github.GitHub() as fake:
        fake.repository("o/r")
        yield fake
        assert fake.invalid_queries == []


@pytest.fixture
def github(fake: fake_github.GitHub, tmp_path: Path) -> GitHub:
    return GitHub(["ghp_one"], Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), url=fake.url)


def _find(body: str, *known: dict[str, Any], **more: Any) -> issues.Linked:
    [linked] = issues.find([row(title="perf", body=body)], offline(*known), nobody(), **more)
    return linked


def _numbers(linked: issues.Linked) -> list[tuple[str, int, int]]:
    return [(found["repository"], found["number"], found["depth"]) for found in linked.issues]


def test_a_pull_request_is_not_its_own_issue_at_any_depth() -> None:
    known = (issue(3, body="It is #9, o/r#9 and #4."), issue(4), issue(9))
    linked = _find("Fixes #9, #3, https://github.com/o/r/issues/9", *known)
    assert _numbers(linked) == [("o/r", 3, 1), ("o/r", 4, 2)]


def test_other_pull_requests_are_not_followed_even_if_a_source_takes_them_for_issues() -> None:
    known = (issue(3), issue(4, body="See #5."), issue(5))
    linked = _find("Fixes #3, #4", *known, pulls=frozenset({("o/r", 4)}))
    assert _numbers(linked) == [("o/r", 3, 1)]
    assert linked.left_out == ["o/r#4 is a pull request"]


def test_issues_are_followed_breadth_first_to_depth_two() -> None:
    known = (
        issue(3, body="Like #5.", comments=[comment("And x/y#6, `#7`")]),
        issue(4, body="Like #5."),
        issue(5, body="Like #8."),
        issue(6, repo_name="X/Y", body="Like #4."),
        issue(8),
    )
    linked = _find("Fixes #3, #4", *known)
    assert _numbers(linked) == [("o/r", 3, 1), ("o/r", 4, 1), ("o/r", 5, 2), ("x/y", 6, 2)]


def test_a_number_in_another_repository_means_one_of_that() -> None:
    known = (issue(6, repo_name="x/y", body="Like #7."), issue(7), issue(7, repo_name="x/y"))
    assert _numbers(_find("See x/y#6", *known)) == [("x/y", 6, 1), ("x/y", 7, 2)]


def test_what_is_written_or_changed_after_the_merge_does_not_count() -> None:
    said = [comment("Early."), comment("Late."), comment("Like #4."), comment("Changed.")]
    said[1]["created_at"] = said[2]["created_at"] = LATE
    said[3]["edited_at"] = LATE
    known = (
        issue(3, comments=said),
        issue(4),
        issue(5, created_at=LATE),
        issue(6, edited_at=LATE, body="Now I know. #4"),
        issue(7, edited_at=EARLY),
    )
    linked = _find("Fixes #3, #5, #6, #7", *known)
    assert [(i["number"], i["body"][:4]) for i in linked.issues] == [
        (3, "Read"),
        (6, ""),
        (7, "Read"),
    ]
    assert [c["body"] for c in linked.issues[0]["comments"]] == ["Early."]
    assert linked.left_out == [
        "o/r#3: 3 comments after the merge",
        "o/r#5 is younger than the merge",
        "o/r#6: its text was changed after the merge",
    ]


@pytest.mark.parametrize(
    ("text", "announces"),
    [
        ("Fixed by #12.", True),
        ("This was closed in o/r#12, thanks!", True),
        ("Taken back in #30.", True),
        ("fixed in 1.2.0", True),
        ("Should be fixed now.", True),
        ("I opened a PR", True),
        ("My pull request does that", True),
        ("PR: https://example.org", True),
        ("Proposal in #26.", True),
        ("See https://github.com/x/y/pull/3", True),
        ("Is it like #9?", True),  # the pull request itself
        ("Is it like #8?", False),
        ("It was added in 1.2 and is slow since.", False),
        ("A PR would be welcome.", False),
        ("This is fixed.", True),
        ("A fixed size helps nobody, the size is fixed.", False),
    ],
)
def test_comments_that_announce_the_solution_are_left_out(text: str, announces: bool) -> None:
    linked = _find("Fixes #3", issue(comments=[comment(text, "bob")]))
    assert (linked.issues[0]["comments"] == []) == announces
    said = ["o/r#3: 1 comment announcing the solution"] if announces else []
    assert [text for text in linked.left_out if "comment" in text] == said


def test_issues_have_no_names_of_people() -> None:
    said = [
        comment("@ANA see /home/bob/x, #9", "bob"),
        comment("@bob: 3 s", "ana"),
        comment("x", None),
    ]
    linked = _find("By @carl. Fixes #3", issue(body="Ask @bob, b@x.org", comments=said[1:]))
    [found] = linked.issues
    assert found["body"] == "Ask @user_2, user@example.org"
    assert found["author"] == found["comments"][0]["author"] == "user_3"
    assert found["comments"][0]["body"] == "@user_2: 3 s"
    assert found["comments"][1]["author"] is None


def test_a_pull_request_that_names_hundreds_is_bounded_in_a_stable_order() -> None:
    known = [issue(n, body="x\0" * 50_000) for n in range(100, 400)]
    body = " ".join(f"#{n}" for n in range(399, 99, -1))
    linked = _find(body, *known)
    assert [found["number"] for found in linked.issues] == list(range(399, 389, -1))
    assert "280 more references" in linked.left_out
    assert "o/r#389 is one too many" in linked.left_out
    assert len(linked.issues[0]["body"]) == 20_000
    assert linked == _find(body, *known)


def test_null_texts_and_times_without_a_zone_are_read() -> None:
    said = [comment(None, at="2026-01-03T00:00:00"), comment(None, None)]
    [found] = _find("#3", issue(body=None, created_at="2026-01-02T00:00:00", comments=said)).issues
    assert (found["body"], [c["body"] for c in found["comments"]]) == ("", ["", ""])
    assert _find("#3", issue(comments=None)).issues[0]["comments"] == []


@pytest.mark.github
def test_issues_of_github_have_the_form_of_an_offline_source(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    comments = [github_data.comment("Me\0 too.", author="bob", createdAt=EARLY)]
    later = github_data.comment("Later.", author="bob", createdAt=EARLY, lastEditedAt=LATE)
    known = {key: issue()[key] for key in ("title", "body", "author")}
    fake.issue("o/r", 3, **known, createdAt="2026-01-02T00:00:00Z", comments=[*comments, later])
    [linked] = issues.find([row(body="Fixes #3")], {}, github)
    said = [comment("Me\ufffd too.", "bob"), {**comment("Later.", "bob"), "edited_at": LATE}]
    assert linked == _find("Fixes #3", issue(comments=said))


@pytest.mark.github
def test_what_is_beyond_the_first_hundred_comments_is_said(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    comments = [github_data.comment(f"Slow {n}.", createdAt=EARLY) for n in range(120)]
    fake.issue("o/r", 3, createdAt=EARLY, comments=comments)
    [linked] = issues.find([row(body="Fixes #3")], {}, github)
    assert len(linked.issues[0]["comments"]) == 100
    assert linked.left_out == ["o/r#3: 20 comments too many"]


@pytest.mark.github
def test_a_month_takes_a_request_for_twenty_references_of_a_depth(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    fake.repository("x/y")
    for number in range(1, 31):
        fake.issue("o/r", number, createdAt=EARLY, body=f"Like x/y#{number % 9 + 1}, #1 and #30")
        fake.issue("x/y", number, createdAt=EARLY)
    rows = [row(issue_number=100 + n, body=f"Fixes #{n} and #1") for n in range(1, 31)]
    linked = issues.find(rows, offline(issue(1)), github)
    assert [len(found.issues) for found in linked[1:]] == [4] * 28 + [3]
    # 29 of depth 1 and 9 of depth 2; what is known, or was asked for, is not asked again.
    assert len(fake.requests) == 3
    assert issues.find(rows[:1], offline(issue(1)), github)[0].issues == linked[0].issues
    assert len(fake.requests) == 3


@pytest.mark.github
def test_a_pull_request_and_a_number_that_is_nothing_are_no_issues(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    fake.pull_request("o/r", 4)
    [linked] = issues.find([row(body="Follows #4, see #77")], {}, github)
    assert linked == issues.Linked([], ["o/r#4 is no issue", "o/r#77 is no issue"])
    assert _find("#77").left_out == ["o/r#77 is not in the offline source"]


@pytest.mark.github
@pytest.mark.parametrize("body", ["Fixes #5", "Fixes #3"])
def test_an_issue_that_did_not_come_is_unknown_not_absent(
    fake: fake_github.GitHub, github: GitHub, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    fake.issue("o/r", 3, createdAt=EARLY, body="Like #5")
    fake.issue("o/r", 4, createdAt=EARLY)
    fake.issue("o/r", 5, createdAt=EARLY)
    fake.fault(github_faults.partial(("i0",)), times=99, when=lambda r: 5 in r.variables.values())
    one, other = issues.find([row(body="Fixes #4"), row(body=body)], {}, github)
    assert (len(one.issues), one.unknown) == (1, None)
    assert "Something went wrong" in str(other.unknown)
    made = answer(github=github, body=body)
    assert made.unknown is not None
    assert made.rows[0]["unknown"] == made.unknown


@pytest.mark.github
def test_an_outage_is_no_answer_at_all(fake: fake_github.GitHub, github: GitHub) -> None:
    fake.revoke("ghp_one")
    with pytest.raises(UnavailableError):
        issues.find([row(body="Fixes #3")], {}, github)


def test_a_stored_issue_outlasts_an_outage_a_deletion_and_a_late_edit(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    known = fake.issue("o/r", 3, body="It is slow.", createdAt=EARLY)
    of_nine = row(title="perf", body="Fixes #3.")
    [first] = issues.find([of_nine], {}, github)
    assert [found["body"] for found in first.issues] == ["It is slow."]

    def late_edit() -> None:
        known.update(body="Solved by a cache.", lastEditedAt=LATE)

    def outage() -> None:
        fake.fault(github_faults.status(502), 40)

    for change in (late_edit, lambda: fake.vanish("o/r"), outage):
        change()
        [again] = issues.find([of_nine], {}, github, stored=[first.issues])
        assert list(again.issues) == list(first.issues)
        assert (again.unknown, again.left_out) == (None, ["o/r#3 is as it was seen before"])
