"""The issues that pull requests refer to, from an offline source or GitHub."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fc_assets.candidate_prs import links
from fc_assets.texts import storable
from fc_resources import github_issues
from fc_resources.errors import FcError
from fc_resources.github import GitHub
from fc_resources.offline import OfflineSource

#: By the lower-case name of the repository, and the number in it.
Issues = Mapping[tuple[str, int], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Linked:
    """Issues that a pull request refers to; `unknown` says which could not be asked for."""

    issues: Sequence[Mapping[str, Any]]
    unknown: str | None = None


def offline(source: OfflineSource | None) -> Issues:
    """All issues of an offline source."""
    found = source.issues() if source else []
    return {(issue["repo_name"].lower(), issue["issue_number"]): issue for issue in found}


def find(rows: Sequence[Mapping[str, Any]], offline: Issues, github: GitHub) -> list[Linked]:
    """What each pull request refers to; itself and other pull requests are no issues.

    GitHub is asked for what the offline source does not have.
    """
    wanted = [_references(row) for row in rows]
    lacking = {key: None for keys in wanted for key in keys if key not in offline}
    found: dict[github_issues.Reference, Any] = {}
    if github and lacking:
        found = github.ask(github_issues.issues(github, list(lacking)))
    linked = []
    for keys in wanted:
        answers = [offline.get(key) or found.get(key) for key in keys]
        errors = [answer for answer in answers if isinstance(answer, FcError)]
        issues = [_storable(answer) for answer in answers if isinstance(answer, Mapping)]
        linked.append(Linked(issues, str(errors[0]) if errors else None))
    return linked


def _references(row: Mapping[str, Any]) -> list[github_issues.Reference]:
    name = f"{row['owner']}/{row['repo']}".lower()
    numbers = links.references(f"{row['title']}\n{row['body']}", row["owner"], row["repo"])
    return [(name, number) for number in numbers if number != row["issue_number"]]


def _storable(issue: Mapping[str, Any]) -> dict[str, Any]:
    comments = [{**c, "body": storable(c["body"])} for c in issue["comments"] or []]
    texts = {name: storable(issue[name]) for name in ("title", "body")}
    return {**issue, **texts, "comments": comments}
