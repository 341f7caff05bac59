"""What the fake GitHub knows: repositories, pull requests and issues as plain dicts.

Keys are the fields of GitHub's GraphQL types; a connection is a list. No HTTP, no execution.
"""

import datetime
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.fakes import github_schema

_CREATED_AT = "2026-01-10T12:00:00Z"
_MERGED_AT = "2026-01-15T12:00:00Z"
_ORDERS = {"created": "createdAt", "updated": "updatedAt"}
_STATES = {"is:merged": ("MERGED",), "is:closed": ("MERGED", "CLOSED"), "is:open": ("OPEN",)}
_ids = itertools.count(1)


def comment(body: str = "Nice.", **fields: Any) -> dict[str, Any]:
    """A comment for `timelineItems`."""
    known = {"body": body, "isMinimized": False, "lastEditedAt": None}
    return _item("IssueComment", {**known, **fields})


def review(body: str = "Looks good.", **fields: Any) -> dict[str, Any]:
    """A review for `timelineItems`."""
    item = _item("PullRequestReview", {"body": body, "state": "APPROVED", "comments": [], **fields})
    return {"submittedAt": item["createdAt"], **item}


def cross_reference(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An issue or a pull request that mentions this one, for `timelineItems`."""
    item = {
        "__typename": "CrossReferencedEvent",
        "id": f"CRE_{next(_ids)}",
        "actor": _actor("someone"),
        "createdAt": _MERGED_AT,
        "isCrossRepository": False,
        "source": source,
        "willCloseTarget": False,
        **github_schema.checked("CrossReferencedEvent", fields),
    }
    return {"referencedAt": item["createdAt"], **item}


class Data:
    """The state of the fake; the dicts may be changed in place at any time."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Any]] = {}
        #: What code search knows: repository, path and size.
        self.code: list[dict[str, Any]] = []
        #: By commit: a diff, or the HTTP status that is answered instead.
        self.diffs: dict[str, bytes | int] = {}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._numbers: dict[tuple[int, int], dict[str, Any]] = {}
        self._renamed: dict[str, str] = {}

    def repository(self, name: str, **fields: Any) -> dict[str, Any]:
        """Add a repository (`owner/name`).

        `files` are the paths `object` finds at any revision, a dict when their text matters.
        Text stands for a language, a license, a default branch or a topic by its name.
        """
        owner, _, short = name.partition("/")
        number = next(_ids)
        found = {
            "__typename": "Repository",
            "id": f"R_{number}",
            "databaseId": number,
            "name": short,
            "nameWithOwner": name,
            "owner": {"__typename": "Organization", "login": owner},
            "url": f"https://github.com/{name}",
            "description": f"The {short} library.",
            "primaryLanguage": "Python",
            "stargazerCount": 1_000,
            "forkCount": 100,
            "repositoryTopics": [],
            **dict.fromkeys(("createdAt", "updatedAt", "pushedAt"), "2020-01-01T00:00:00Z"),
            "archivedAt": None,
            **dict.fromkeys(("isArchived", "isDisabled", "isEmpty", "isFork", "isMirror"), False),
            "isPrivate": False,
            "defaultBranchRef": "main",
            "licenseInfo": "MIT",
            "files": [],
            "pullRequests": [],
            "issues": [],
            **github_schema.checked("Repository", fields, also="files"),
        }
        for field, key in {
            "primaryLanguage": "name",
            "defaultBranchRef": "name",
            "licenseInfo": "spdxId",
        }.items():
            found[field] = _named(found[field], key)
        topics = found["repositoryTopics"]
        found["repositoryTopics"] = [
            {"topic": {"name": topic}} if isinstance(topic, str) else topic for topic in topics
        ]
        self.repositories[name] = found
        return found

    def pull_request(self, name: str, number: int, **fields: Any) -> dict[str, Any]:
        """Add a pull request, merged in January 2026 unless `mergedAt` says otherwise.

        Text stands for an author by login, a merge commit by hash (its parent is `baseRefOid`),
        a label by name, a file by path. Times are ISO 8601 or datetimes.
        """
        merged = _time(fields.get("mergedAt", _MERGED_AT))
        closed = _time(fields.get("closedAt", merged))
        base = fields.get("baseRefOid", _sha(name, number, "base"))
        found = self._conversation(
            "PullRequest",
            name,
            number,
            {
                "title": f"perf: make step {number} faster",
                "state": "MERGED" if merged else "CLOSED" if closed else "OPEN",
                "merged": merged is not None,
                "isDraft": False,
                "headRefOid": _sha(name, number, "head"),
                "headRefName": f"step-{number}",
                "baseRefOid": base,
                "baseRefName": "main",
                "mergeCommit": _sha(name, number, "merge") if merged else None,
                "files": [f"{name.partition('/')[2]}/core.py"],
                "closingIssuesReferences": [],
                **fields,
                "mergedAt": merged,
                "closedAt": closed,
            },
        )
        if isinstance(found["mergeCommit"], str):
            parents = [{"__typename": "Commit", "oid": base}]
            commit = {"__typename": "Commit", "oid": found["mergeCommit"], "parents": parents}
            found["mergeCommit"] = commit
        files = [_file(file) for file in found["files"]]
        counts = {key: sum(file[key] for file in files) for key in ("additions", "deletions")}
        return _put(found, {"files": files}, {**counts, "changedFiles": len(files)})

    def issue(self, name: str, number: int, **fields: Any) -> dict[str, Any]:
        """Add an issue, for `issueOrPullRequest` and as the source of a cross-reference."""
        known = {
            "title": f"Step {number} is slow",
            "state": "OPEN",
            "closedAt": None,
            "comments": [],
        }
        return self._conversation("Issue", name, number, {**known, **fields})

    def fill(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Repositories, pull requests and diffs from rows of an offline source."""
        for row in rows:
            name = row["repo_name"]
            if name not in self.repositories:
                self.repository(name)
            merge, patch = row["pr_merge_commit_sha"], row.get("original_patch")
            commits = {
                field: row[column]["sha"]
                for field, column in {"baseRefOid": "pr_base", "headRefOid": "pr_head"}.items()
                if row.get(column)
            }
            self.pull_request(
                name,
                row["pr_number"],
                title=row.get("pr_title") or "",
                body=row.get("pr_body") or "",
                author=None,
                createdAt=row.get("pr_created_at") or row["pr_merged_at"],
                mergedAt=row["pr_merged_at"],
                closedAt=row.get("pr_closed_at") or row["pr_merged_at"],
                mergeCommit=merge,
                labels=[label["name"] for label in row.get("pr_labels") or []],
                files=list(_summarized(row.get("file_change_summary") or "")),
                **commits,
            )
            if patch:
                self.diffs[merge] = patch.encode()

    def rename(self, old: str, new: str) -> None:
        """Give a repository another name; only look-ups by the old one lead to it."""
        repository = self.repositories.pop(old)
        owner, _, short = new.partition("/")
        repository["owner"] = {**repository["owner"], "login": owner}
        repository.update(name=short, nameWithOwner=new, url=f"https://github.com/{new}")
        self.repositories[new] = repository
        self._renamed[old.lower()] = new

    def vanish(self, name: str) -> None:
        """Delete a repository, or make it private: GitHub tells nobody which."""
        del self.repositories[name]

    def find(self, name: str, *, follow: bool = True) -> dict[str, Any] | None:
        """A repository by name, whatever its case; by a former name too unless told not to."""
        found = self.repositories.get(name)
        if found is None:
            names = (known for known in self.repositories if known.lower() == name.lower())
            found = self.repositories.get(next(names, ""))
        if found is None and follow and name.lower() in self._renamed:
            return self.find(self._renamed[name.lower()])
        return found

    def numbered(self, repository: Mapping[str, Any], number: int) -> dict[str, Any] | None:
        return self._numbers.get((repository["databaseId"], number))

    def node(self, node_id: str) -> dict[str, Any] | None:
        """A pull request, an issue or a repository that is still there."""
        found = self._nodes.get(node_id)
        if found is None:
            known = self.repositories.values()
            return next((repository for repository in known if repository["id"] == node_id), None)
        there = found["repository"]["nameWithOwner"] in self.repositories
        return found if there else None

    def search(self, text: str) -> list[dict[str, Any]]:
        """Pull requests a search finds; `ValueError` on a qualifier that is not known here."""
        names, tests, order, descending = [], [], "createdAt", True
        for term in text.split():
            key, _, value = term.partition(":")
            if key == "repo":
                names.append(value)
            elif key in ("merged", "created"):
                tests.append(_within(f"{key}At", value))
            elif key == "sort" and value.partition("-")[0] in _ORDERS:
                order, descending = _ORDERS[value.partition("-")[0]], not value.endswith("-asc")
            elif term in _STATES:
                tests.append(lambda found, states=_STATES[term]: found["state"] in states)
            elif term not in ("is:pr", "type:pr", "is:public"):
                raise ValueError(f"search: the fake does not know {term!r}")
        if not names:
            names = list(self.repositories)
        repositories = [self.find(name, follow=False) for name in dict.fromkeys(names)]
        pulls = [pull for found in repositories if found for pull in found["pullRequests"]]
        for test in tests:
            pulls = [pull for pull in pulls if test(pull)]
        return sorted(pulls, key=lambda pull: (pull[order], pull["number"]), reverse=descending)

    def _conversation(
        self, kind: str, name: str, number: int, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        repository = self.repositories[name]
        prefix, many, folder = {
            "PullRequest": ("PR", "pullRequests", "pull"),
            "Issue": ("I", "issues", "issues"),
        }[kind]
        database_id = next(_ids)
        found = {
            "__typename": kind,
            "id": f"{prefix}_{database_id}",
            "databaseId": database_id,
            "number": number,
            "url": f"https://github.com/{name}/{folder}/{number}",
            "body": "",
            "author": "someone",
            "createdAt": _CREATED_AT,
            "lastEditedAt": None,
            "labels": [],
            "timelineItems": [],
            "repository": repository,
            **github_schema.checked(kind, fields),
        }
        changed = {
            "author": _actor(found["author"]),
            "createdAt": _time(found["createdAt"]),
            "labels": [_named(label, "name") for label in found["labels"]],
            "timelineItems": [{"target": found, **item} for item in found["timelineItems"]],
        }
        updated = found.get("closedAt") or changed["createdAt"]
        _put(found, changed, {"bodyText": found["body"], "updatedAt": updated})
        if self._numbers.setdefault((repository["databaseId"], number), found) is not found:
            raise ValueError(f"{name}#{number} is there already")
        self._nodes[found["id"]] = found
        repository[many].append(found)
        return found


def _put(
    found: dict[str, Any], changed: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """In place, because the dict is in lists already."""
    found.update({**defaults, **found, **changed})
    return found


def _item(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    item = {
        "__typename": kind,
        "id": f"{kind}_{next(_ids)}",
        "author": "someone",
        "authorAssociation": "NONE",
        "createdAt": _MERGED_AT,
        **github_schema.checked(kind, fields),
    }
    return {"bodyText": item["body"], **item, "author": _actor(item["author"])}


def _actor(author: Any) -> Any:
    """Bots are told from people by their login, as GitHub's own are named."""
    if isinstance(author, dict):
        return {"__typename": "User", **author}
    if author is None:
        return None
    kind = "Bot" if author.endswith("[bot]") else "User"
    return {"__typename": kind, "login": author.removesuffix("[bot]")}


def _named(value: Any, key: str) -> Any:
    return {key: value} if isinstance(value, str) else value


def _file(file: Any) -> dict[str, Any]:
    known = {"additions": 1, "deletions": 1, "changeType": "MODIFIED"}
    return {**known, **_named(file, "path")}


def _summarized(table: str) -> Iterable[dict[str, Any]]:
    """The changed files of a `file_change_summary`: path, lines added, lines removed, total."""
    for line in table.splitlines():
        found = re.fullmatch(r"\| (.+) \| (\d+) \| (\d+) \| \d+ \|", line.strip())
        if found:
            path, added, removed = found.groups()
            yield {"path": path, "additions": int(added), "deletions": int(removed)}


def _sha(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode()).hexdigest()


def _time(value: Any) -> str | None:
    """GitHub's form: UTC, whole seconds, Z."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    return value.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _within(field: str, value: str) -> Callable[[Mapping[str, Any]], bool]:
    """A test for a range of times, as text; whole days are meant where only a date stands."""

    def bound(text: str, clock: str, endless: str = "") -> str:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return f"{text}T{clock}Z"
        return endless if text == "*" else _time(text) or ""

    first, dots, last = value.partition("..")
    # "~" sorts after every time.
    if dots:
        start, end = bound(first, "00:00:00"), bound(last, "23:59:59", "~")
    elif value.startswith(">="):
        start, end = bound(value[2:], "00:00:00"), "~"
    elif value.startswith(">"):
        start, end = bound(value[1:], "23:59:59") + "~", "~"
    elif value.startswith("<="):
        start, end = "", bound(value[2:], "23:59:59")
    elif value.startswith("<"):
        start, end = "", bound(value[1:], "00:00:00").removesuffix("Z")
    else:
        start, end = bound(value, "00:00:00"), bound(value, "23:59:59")
    return lambda found: found[field] is not None and start <= found[field] <= end
