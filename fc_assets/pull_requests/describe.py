"""Pull requests completed with their diffs: from git, many at once, else from GitHub.

What a diff could not be read from and what has none are different outcomes: `diff_source` says
which.
"""

import dataclasses
from collections.abc import Sequence

from fc_assets import work
from fc_assets.pull_requests import prefilter, record
from fc_assets.pull_requests.record import PullRequest
from fc_assets.texts import storable
from fc_resources import github_merged, github_queries
from fc_resources.errors import InterruptedRunError, TransientError, UnavailableError
from fc_resources.git import Mirrors
from fc_resources.git_diffs import Diff, DiffTooLargeError, FileChange
from fc_resources.git_objects import CommitGoneError
from fc_resources.github import GitHub
from fc_resources.github_answers import GoneError

_NO_DIFF = {
    "too_large": "its diff is too large to be stored and judged",
    "gone": "its merge commit is gone",
}


@dataclasses.dataclass(frozen=True)
class _Found:
    """What became known of a diff; `unknown` says why it has to be asked for again."""

    base: str | None
    files: Sequence[FileChange]
    patch: str | None
    source: str
    unknown: str | None = None


def describe(
    pulls: Sequence[PullRequest], mirrors: Mirrors, github: GitHub
) -> list[work.Answer | Exception]:
    """The row of each pull request, or why it has none.

    With its repository out of reach a row has no diff, says so, and is completed another time.
    """
    diffs: dict[str, _Found | Exception] = {}
    for name in dict.fromkeys((pull.owner, pull.repo) for pull in pulls):
        wanted = [p for p in pulls if (p.owner, p.repo) == name and not p.patch]
        diffs |= _diffs([p for p in wanted if p.merge_commit_sha], mirrors, github)
    return [_answer(pull, diffs.get(pull.key)) for pull in pulls]


def _diffs(
    pulls: Sequence[PullRequest], mirrors: Mirrors, github: GitHub
) -> dict[str, _Found | Exception]:
    """The diffs of pull requests of one repository, by key."""
    if not pulls:
        return {}
    shas = [pull.merge_commit_sha or "" for pull in pulls]
    try:
        found = mirrors.mirror(pulls[0].owner, pulls[0].repo, shas).diffs(shas)
    except TransientError as error:
        found = dict.fromkeys(shas, error)
    return {pull.key: _found(pull, found[pull.merge_commit_sha or ""], github) for pull in pulls}


def _found(pull: PullRequest, diff: Diff | Exception, github: GitHub) -> _Found | Exception:
    if isinstance(diff, Diff):
        source = "too_large" if diff.patch is None else "git"
        return _Found(diff.base, diff.files, diff.patch, source)
    # An offline source names the tip of the branch, not what the commit was made on.
    base = pull.base_sha if pull.origin == "github" else None
    if isinstance(diff, CommitGoneError):
        try:
            return _from_github(pull, base, github)
        except UnavailableError as error:
            diff = error
        except InterruptedRunError:
            raise
        except Exception as error:  # this pull request's failure, not that of its batch
            return error
    if isinstance(diff, DiffTooLargeError):
        return _Found(base, pull.files, None, "too_large")
    if isinstance(diff, UnavailableError):
        return _Found(base, pull.files, None, "unreachable", str(diff))
    return diff


def _from_github(pull: PullRequest, base: str | None, github: GitHub) -> _Found:
    """For a commit that no branch has any more: GitHub may still know it."""
    gone = _Found(base, pull.files, None, "gone")
    if not github or pull.merge_commit_sha is None:
        return gone
    name = f"{pull.owner}/{pull.repo}"
    try:
        patch = github.ask(github_queries.commit_diff(github, name, pull.merge_commit_sha))
        files = pull.files
        if not pull.all_files and pull.node:
            files = record.changes(github.ask(github_merged.all_files(github, pull.node)))
    except GoneError:
        return gone
    if patch is None:
        return _Found(base, files, None, "too_large")
    return _Found(base, files, storable(patch), "api")


def _answer(pull: PullRequest, found: _Found | Exception | None) -> work.Answer | Exception:
    if isinstance(found, Exception):
        return found
    if found is None:
        # Without a merge commit nobody can say what was merged.
        source = "source" if pull.patch else "gone"
        found = _Found(pull.base_sha, pull.files, pull.patch, source)
    if found.source in _NO_DIFF:
        passes, reason = False, _NO_DIFF[found.source]
    else:
        passes, reason = prefilter.judge(
            pull.title, pull.body, pull.labels, found.files, found.patch
        )
    row = {
        "owner": pull.owner,
        "repo": pull.repo,
        "issue_number": pull.number,
        "title": pull.title,
        "body": pull.body,
        "labels": pull.labels,
        "author": pull.author,
        "created_at": pull.created_at,
        "merged_at": pull.merged_at,
        "merge_commit_sha": pull.merge_commit_sha,
        "base_sha": found.base,
        "head_sha": pull.head_sha,
        "patch": found.patch,
        "diff_source": found.source,
        "files": [vars(change) for change in found.files],
        "additions": sum(change.additions or 0 for change in found.files),
        "deletions": sum(change.deletions or 0 for change in found.files),
        "passes_prefilter": passes,
        "prefilter_reason": reason,
        "events": pull.events,
        "event_count": pull.event_count,
        "origin": pull.origin,
    }
    return work.Answer([row], unknown=found.unknown)
