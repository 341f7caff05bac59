"""One pull request of an offline source, completed from its git mirror."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fc_assets import work
from fc_assets.pull_requests import prefilter
from fc_resources.errors import UnavailableError
from fc_resources.git import DiffTooLargeError, FileChange, Mirrors

_SUMMARY_ROW = re.compile(
    r"^\| *([^|\n]+?) *\| *(\d{1,9}) *\| *(\d{1,9}) *\| *\d{1,9} *\|$", re.MULTILINE
)


def describe(raw: Mapping[str, Any], mirrors: Mirrors) -> work.Answer:
    """The row of a pull request: a diff the source brings is taken, else git is asked.

    Raises `PermanentError` when the merge commit is not in its repository. With the repository
    out of reach, the row has no diff, says so, and is completed another time.
    """
    owner, _, repo = raw["repo_name"].partition("/")
    sha = raw["pr_merge_commit_sha"]
    base = (raw["pr_base"] or {}).get("sha") or None
    files = summary(raw["file_change_summary"] or "")
    patch, source, unknown = raw["original_patch"] or None, "source", None
    if patch is None:
        try:
            mirror = mirrors.mirror(owner, repo, [sha])
        except UnavailableError as error:
            base, source, unknown = None, "unreachable", str(error)
        else:
            base = mirror.first_parent(sha)
            files = mirror.changes(base, sha)
            try:
                patch, source = mirror.diff(base, sha), "git"
            except DiffTooLargeError:
                source = "too_large"
    title, body = _text(raw["pr_title"]), _text(raw["pr_body"])
    labels = [_text(label["name"]) for label in raw["pr_labels"] or []]
    passes, reason = prefilter.judge(title, body, labels, files, patch)
    row = {
        "owner": owner,
        "repo": repo,
        "issue_number": raw["pr_number"],
        "title": title,
        "body": body,
        "labels": labels,
        "created_at": _time(raw["pr_created_at"]),
        "merged_at": _time(raw["pr_merged_at"]),
        "merge_commit_sha": sha,
        "base_sha": base,
        "head_sha": (raw["pr_head"] or {}).get("sha") or None,
        "patch": patch,
        "diff_source": source,
        "files": [vars(change) for change in files],
        "additions": sum(change.additions or 0 for change in files),
        "deletions": sum(change.deletions or 0 for change in files),
        "passes_prefilter": passes,
        "prefilter_reason": reason,
        "origin": "offline",
    }
    return work.Answer([row], unknown=unknown)


def summary(markdown: str) -> Sequence[FileChange]:
    """The changed files of an offline source's `file_change_summary` table."""
    return [FileChange(path, int(a), int(d)) for path, a, d in _SUMMARY_ROW.findall(markdown)]


def _text(value: str | None) -> str:
    """Text of others without NUL, which neither DuckDB nor PostgreSQL keeps."""
    return (value or "").replace("\0", "\ufffd")


def _time(value: str | None) -> datetime.datetime | None:
    return None if value is None else datetime.datetime.fromisoformat(value)
