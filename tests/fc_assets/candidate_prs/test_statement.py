"""From linked issues to a problem statement that does not tell the solution."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from fc_assets import sample
from fc_assets.candidate_prs import asset, links, rules
from fc_assets.candidate_prs import issues as linked_issues
from fc_resources.github import GitHub
from fc_resources.ledger import Ledger

_MERGED = datetime.datetime(2026, 1, 20, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Fixes #12 and closes #7, again #12", [12, 7]),
        ("see o/r#5, O/R#6 but not other/r#8", [5, 6]),
        ("https://github.com/o/r/issues/31.", [31]),
        ("https://github.com/o/other/issues/31", []),
        ("`#1` and\n```\nx = y  #2\n```\nand\n~~~\n#3", []),
        ("mail a#4@example.org, colour &#123; word#9", []),
        ("", []),
        ("#" + "9" * 5000, []),
    ],
)
def test_references_in_prose_count_and_others_do_not(text: str, numbers: list[int]) -> None:
    assert links.references(text, "o", "r") == numbers


def _issue(**changes: Any) -> dict[str, Any]:
    return {
        "repo_name": "o/r",
        "issue_number": 3,
        "title": "Parsing takes minutes",
        "body": "Reading a file takes 3 minutes.",
        "author": "ana",
        "created_at": "2026-01-02T00:00:00Z",
        "comments": [],
        **changes,
    }


def _row(**changes: Any) -> dict[str, Any]:
    return {
        "owner": "o",
        "repo": "r",
        "issue_number": 9,
        "title": "perf: parse once",
        "body": "Fixes #3. Keeps `parsed_cache` between calls, 5x faster.",
        "merged_at": _MERGED,
        "merge_commit_sha": "a" * 40,
        "patch": "+++ b/r.py\n+parsed_cache = {}\n-old_name = 1\n context_name\n",
        "issues": [_issue()],
        "unknown": None,
        **changes,
    }


def _state(**changes: Any) -> dict[str, Any]:
    return dict(asset.state(_row(**changes), asset.template()).rows[0])


def test_the_statement_holds_the_problem_and_not_the_pull_request() -> None:
    row = _state()
    assert "Reading a file takes 3 minutes." in row["statement"]
    assert "parsed_cache" not in row["statement"]
    assert "parsed_cache" in row["solution"]
    assert (row["linked_issues"], row["leak_suspected"], row["reason"]) == ([3], False, None)


def test_without_an_issue_there_is_no_statement_and_never_the_raw_body() -> None:
    row = _state(issues=[])
    assert row["statement"] is None
    assert "no linked issue" in row["reason"]


def test_issues_and_comments_after_the_merge_do_not_count() -> None:
    late = {"author": "ana", "created_at": "2026-02-01T00:00:00Z", "body": "Thanks, fast now!"}
    early = {"author": "ana", "created_at": "2026-01-03T00:00:00Z", "body": "Also on Windows."}
    row = _state(issues=[_issue(comments=[early, late])])
    assert "Also on Windows." in row["statement"]
    assert "fast now" not in row["statement"]
    assert _state(issues=[_issue(created_at="2026-02-01T00:00:00Z")])["statement"] is None


@pytest.mark.parametrize(
    "text",
    [
        "We could keep the parsed files in a dictionary.",
        "My branch makes it 12x faster.",
        "See https://github.com/o/r/pull/9 for it.",
        "This is #9 again.",
    ],
)
def test_what_tells_or_links_the_solution_goes_to_its_side(text: str) -> None:
    row = _state(issues=[_issue(body=f"It is slow.\n\n{text}")])
    assert text not in row["statement"]
    assert text in row["solution"]
    assert "It is slow." in row["statement"]


def test_null_bodies_and_times_without_a_zone_are_read() -> None:
    comments = [
        {"author": "ana", "created_at": "2026-01-03T00:00:00", "body": None},
        {"author": "bob", "created_at": "2026-01-03T00:00:00", "body": None},
    ]
    row = _state(issues=[_issue(body=None, created_at="2026-01-02T00:00:00", comments=comments)])
    assert "Parsing takes minutes" in row["statement"]


def test_what_others_say_in_the_thread_is_not_shown() -> None:
    comment = {"author": "maintainer", "created_at": "2026-01-03T00:00:00Z", "body": "Keep rows."}
    row = _state(issues=[_issue(comments=[comment])])
    assert "Keep rows." not in row["statement"]


def test_a_name_that_only_the_solution_has_is_a_suspected_leak() -> None:
    row = _state(issues=[_issue(body="Why is there no parsed_cache here? old_name is slow.")])
    assert row["leak_suspected"]
    assert row["reason"] == "names only the solution has: parsed_cache"


def test_people_are_anonymized_and_code_is_not() -> None:
    text = (
        "@ana and @bob (bob@example.com), see /home/bob/data\n\n"
        "```python\n@property\ndef x(self): return a @ b\n```\nand `@cached` by @Ana"
    )
    masked = rules.anonymize(text)
    assert masked == (
        "@user_1 and @user_2 (user@example.org), see /home/user/data\n\n"
        "```python\n@property\ndef x(self): return a @ b\n```\nand `@cached` by @user_1"
    )


def test_text_of_others_is_not_a_template() -> None:
    row = _state(issues=[_issue(body="{{ 7 * 7 }} {% raw %}")])
    assert "{{ 7 * 7 }} {% raw %}" in row["statement"]


def test_no_statement_of_the_sample_links_its_solution(tmp_path: Path) -> None:
    nobody = GitHub([], Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    issues = {(i["repo_name"], i["issue_number"]): i for i in sample.load("issues")}
    performance = {r["pr_number"] for r in sample.load("labels") if r["is_performance_commit"]}
    stated = 0
    for raw in sample.load("pull_requests"):
        row = _row(
            owner="formulacode",
            repo="wordmill",
            issue_number=raw["pr_number"],
            title=raw["pr_title"],
            body=raw["pr_body"],
            merged_at=datetime.datetime.fromisoformat(raw["pr_merged_at"]),
            patch=None,
        )
        if raw["pr_number"] not in performance:
            continue
        [linked] = linked_issues.find([row], issues, nobody)
        row["issues"] = linked.issues
        [answer] = asset.state(row, asset.template()).rows
        if answer["statement"] is not None:
            stated += 1
            assert f"#{raw['pr_number']}" not in answer["statement"]
            assert raw["pr_body"] not in answer["statement"]
    assert stated >= 8
