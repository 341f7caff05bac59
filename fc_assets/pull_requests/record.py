"""A merged pull request as GitHub or an offline source tells of it, in one form.

Which diff it has and whether it is worth judging is `describe`'s.
"""

import dataclasses
import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fc_assets import months
from fc_assets.texts import storable
from fc_resources.git_diffs import FileChange

_SUMMARY_ROW = re.compile(
    r"^\| *([^|\n]+?) *\| *(\d{1,9}) *\| *(\d{1,9}) *\| *\d{1,9} *\|$", re.MULTILINE
)
_KINDS = {
    "IssueComment": "comment",
    "PullRequestReview": "review",
    "CrossReferencedEvent": "reference",
}


@dataclasses.dataclass(frozen=True)
class PullRequest:
    """What is known before git is asked; `owner` and `repo` as the repository is tracked.

    `base_sha` is the merge commit's first parent if `origin` is github; the base branch's tip, as
    a rule, if it is offline. `patch` and `files` are what the source brings, `all_files` is False
    when there are more. `node` is GitHub's id.
    """

    owner: str
    repo: str
    number: int
    origin: str
    title: str
    body: str
    labels: Sequence[str]
    author: str | None
    created_at: datetime.datetime | None
    merged_at: datetime.datetime | None
    merge_commit_sha: str | None
    base_sha: str | None
    head_sha: str | None
    patch: str | None
    files: Sequence[FileChange]
    all_files: bool = True
    events: Sequence[Mapping[str, Any]] | None = None
    event_count: int | None = None
    node: str | None = None

    @property
    def key(self) -> str:
        return f"{self.owner}/{self.repo}#{self.number}"


def of_offline(raw: Mapping[str, Any], name: str) -> PullRequest:
    """From a row of an offline source, for the repository tracked as `name`."""
    owner, _, repo = name.partition("/")
    return PullRequest(
        owner=owner,
        repo=repo,
        number=raw["pr_number"],
        origin="offline",
        title=storable(raw["pr_title"]),
        body=storable(raw["pr_body"]),
        labels=[storable(label["name"]) for label in raw["pr_labels"] or []],
        author=None,
        created_at=months.moment(raw["pr_created_at"]),
        merged_at=months.moment(raw["pr_merged_at"]),
        merge_commit_sha=raw["pr_merge_commit_sha"],
        base_sha=(raw["pr_base"] or {}).get("sha") or None,
        head_sha=(raw["pr_head"] or {}).get("sha") or None,
        patch=raw["original_patch"] or None,
        files=summary(raw["file_change_summary"] or ""),
    )


def of_github(node: Mapping[str, Any], name: str) -> PullRequest:
    """From GraphQL's `PullRequest` with its events, for the repository tracked as `name`."""
    owner, _, repo = name.partition("/")
    commit = node["mergeCommit"] or {}
    parents = (commit.get("parents") or {}).get("nodes") or []
    return PullRequest(
        owner=owner,
        repo=repo,
        number=node["number"],
        origin="github",
        title=storable(node["title"]),
        body=storable(node["body"]),
        labels=[storable(label["name"]) for label in (node["labels"] or {}).get("nodes") or []],
        author=_login(node["author"]),
        created_at=months.moment(node["createdAt"]),
        merged_at=months.moment(node["mergedAt"]),
        merge_commit_sha=commit.get("oid"),
        base_sha=parents[0]["oid"] if parents else None,
        head_sha=node["headRefOid"],
        patch=None,
        files=changes((node["files"] or {}).get("nodes") or []),
        all_files=not node["files"] or not node["files"]["pageInfo"]["hasNextPage"],
        events=[event(found) for found in node["events"]],
        event_count=node["timelineItems"]["totalCount"],
        node=node["id"],
    )


def changes(nodes: Sequence[Mapping[str, Any]]) -> list[FileChange]:
    """From GraphQL's `PullRequestChangedFile`."""
    return [FileChange(storable(f["path"]), f["additions"], f["deletions"]) for f in nodes]


def event(node: Mapping[str, Any]) -> dict[str, Any]:
    """From an item of GraphQL's timeline."""
    source = node.get("source") or {}
    number = source.get("number")
    return {
        "kind": _KINDS[node["__typename"]],
        "author": _login(node.get("author") or node.get("actor")),
        "created_at": months.moment(node["createdAt"]),
        "body": storable(node["body"]) if "body" in node else None,
        "reference": f"{source['repository']['nameWithOwner']}#{number}" if number else None,
        "is_pull_request": source["__typename"] == "PullRequest" if number else None,
    }


def summary(markdown: str) -> list[FileChange]:
    """The changed files of an offline source's `file_change_summary` table."""
    return [FileChange(path, int(a), int(d)) for path, a, d in _SUMMARY_ROW.findall(markdown)]


def _login(actor: Mapping[str, Any] | None) -> str | None:
    """GitHub has no actor for an account that was deleted."""
    return actor["login"] if actor else None
