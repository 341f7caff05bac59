"""Rows for tests of stage 5: a merged pull request, and an issue as a source has it."""

import datetime
from typing import Any

from fc_assets import work
from fc_assets.candidate_prs import candidates, issues, own, rules, statement
from fc_assets.candidate_prs.sides import Extractor
from fc_resources.github import GitHub
from fc_resources.ledger import Ledger

MERGED = datetime.datetime(2026, 1, 20, tzinfo=datetime.UTC)
EARLY, LATE = "2026-01-03T00:00:00Z", "2026-02-01T00:00:00Z"


def issue(number: int = 3, **changes: Any) -> dict[str, Any]:
    """An issue of o/r as an offline source has it."""
    return {
        "repo_name": "o/r",
        "issue_number": number,
        "title": "Parsing takes minutes",
        "body": "Reading a file takes 3 minutes.",
        "author": "ana",
        "created_at": "2026-01-02T00:00:00Z",
        "comments": [],
        **changes,
    }


def comment(body: str | None, author: str | None = "ana", at: str = EARLY) -> dict[str, Any]:
    return {"author": author, "created_at": at, "body": body}


def row(**changes: Any) -> dict[str, Any]:
    """Pull request o/r#9 as `pull_requests` has it."""
    return {
        "owner": "o",
        "repo": "r",
        "issue_number": 9,
        "title": "perf: parse once",
        "body": "Fixes #3. Keeps `parsed_cache` between calls, 5x faster.",
        "merged_at": MERGED,
        "merge_commit_sha": "a" * 40,
        "patch": "+++ b/r.py\n+parsed_cache = {}\n-old_name = 1\n context_name\n",
        "events": None,
        **changes,
    }


def nobody() -> GitHub:
    """GitHub without a token."""
    return GitHub([], Ledger("sqlite:///:memory:"))


def offline(*known: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(found["repo_name"].lower(), found["issue_number"]): found for found in known}


def candidate(
    *known: dict[str, Any], github: GitHub | None = None, **changes: Any
) -> candidates.Candidate:
    """The pull request with what is linked of the known issues."""
    found = row(**changes)
    [linked] = issues.find([found], offline(*known), github or nobody())
    return candidates.Candidate(found, own.texts(found), linked, "asked", "inputs", None)


def answer(
    *known: dict[str, Any], extractor: Extractor | None = None, **changes: Any
) -> work.Answer:
    made = candidate(*known, **changes)
    return candidates.state(made, extractor or rules.Rules(), statement.template())


def state(
    *known: dict[str, Any], extractor: Extractor | None = None, **changes: Any
) -> dict[str, Any]:
    """The row of a pull request whose issues are these; its own body names #3."""
    return dict(answer(*known, extractor=extractor, **changes).rows[0])
