"""The issues that pull requests refer to, and those that these name, as they were before the merge.

From an offline source or GitHub, breadth-first, all pull requests of a month together. What of a
text is the problem is not decided here.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from fc_assets.candidate_prs import announces, links, markdown
from fc_assets.candidate_prs.own import texts
from fc_assets.candidate_prs.sides import moment, shortened
from fc_assets.texts import storable
from fc_resources import github_issues
from fc_resources.errors import FcError, TransientError
from fc_resources.github import GitHub
from fc_resources.offline import OfflineSource

#: By the lower-case name of the repository, and the number in it.
Issues = Mapping[links.Reference, Mapping[str, Any]]

_DEPTH = 2
#: References that are looked up per pull request and depth, and issues that are used of them: a
#: release may name hundreds.
_REFERENCES, _ISSUES = 20, 10
_COMMENTS, _BODY, _COMMENT = 100, 20_000, 5_000
#: Nothing of a text after that is looked at; GitHub takes 65,536 characters.
_READ = 65_536


@dataclasses.dataclass(frozen=True)
class Linked:
    """Issues as the table stores them; `left_out` says what was not used.

    `unknown` says which could not be asked for.
    """

    issues: Sequence[Mapping[str, Any]]
    left_out: Sequence[str] = ()
    unknown: str | None = None


def offline(source: OfflineSource | None) -> Issues:
    """All issues of an offline source."""
    found = source.issues() if source else []
    return {(issue["repo_name"].lower(), issue["issue_number"]): issue for issue in found}


def find(
    rows: Sequence[Mapping[str, Any]],
    offline: Issues,
    github: GitHub,
    pulls: Collection[links.Reference] = frozenset(),
    stored: Sequence[Sequence[Mapping[str, Any]]] = (),
) -> list[Linked]:
    """What each pull request is about; itself and other pull requests are no issues.

    GitHub is asked for what the offline source does not have, once for each depth. Numbers known
    as `pulls` are not looked up. An issue among those `stored` for a pull request earlier stays as
    it was when it cannot be asked for, is gone, or was changed since.
    """
    source = _Source(offline, github, pulls)
    before = stored or [()] * len(rows)
    searches = [_Search(row, known) for row, known in zip(rows, before, strict=True)]
    for depth in range(1, _DEPTH + 1):
        source.look_up(key for search in searches for key in search.wanted)
        for search in searches:
            search.go_on(source, depth)
    return [search.linked() for search in searches]


class _Source:
    """Everything known about references; GitHub is asked for each once."""

    def __init__(self, offline: Issues, github: GitHub, pulls: Collection[links.Reference]) -> None:
        self._offline, self._github, self._pulls = offline, github, pulls
        self._asked: dict[links.Reference, Mapping[str, Any] | FcError | None] = {}

    def look_up(self, keys: Iterable[links.Reference]) -> None:
        """Raises `UnavailableError` when asking on is useless."""
        known = (self._pulls, self._offline, self._asked)
        lacking = [key for key in dict.fromkeys(keys) if not any(key in part for part in known)]
        if self._github and lacking:
            self._asked.update(self._github.ask(github_issues.issues(self._github, lacking)))

    def answer(self, key: links.Reference) -> "Mapping[str, Any] | FcError | str":
        """An issue, an error that stands for it, or why there is none."""
        if key in self._pulls:
            return "is a pull request"
        if key in self._offline:
            return self._offline[key]
        found = self._asked.get(key)
        if found is not None:
            return found
        return "is no issue" if key in self._asked else "is not in the offline source"


class _Search:
    """From one pull request on, breadth-first, in the order things are named."""

    def __init__(self, row: Mapping[str, Any], stored: Sequence[Mapping[str, Any]]) -> None:
        self._row = row
        self._stored = {(issue["repository"], issue["number"]): dict(issue) for issue in stored}
        self._own = (f"{row['owner']}/{row['repo']}".lower(), row["issue_number"])
        self._people = texts(row).people
        self._seen = {self._own}
        self._issues: list[dict[str, Any]] = []
        self._left_out: list[str] = []
        self._errors: list[FcError] = []
        named = links.references(f"{row['title']}\n\n{row['body']}", row["owner"], row["repo"])
        self.wanted: list[links.Reference] = []
        self._want(named)

    def go_on(self, source: _Source, depth: int) -> None:
        """Use what was wanted, and want what it names."""
        named: list[links.Reference] = []
        for key in self.wanted:
            found, name = source.answer(key), f"{key[0]}#{key[1]}"
            if key in self._stored and self._is_worse(found):
                issue = {**self._stored[key], "depth": depth}
                named += _named(issue)
                self._issues.append(issue)
                self._left_out.append(f"{name} is as it was seen before")
            elif isinstance(found, TransientError):
                self._errors.append(found)
            elif isinstance(found, FcError):
                self._left_out.append(f"{name} cannot be read: {found}")
            elif isinstance(found, str):
                self._left_out.append(f"{name} {found}")
            elif moment(found["created_at"]) >= self._row["merged_at"]:
                self._left_out.append(f"{name} is younger than the merge")
            elif len(self._issues) >= _ISSUES:
                self._left_out.append(f"{name} is one too many")
            else:
                issue = self._used(found, key, depth)
                named += _named(issue)
                self._issues.append(self._without_names(issue))
        self._want(named if depth < _DEPTH else [])

    def _is_worse(self, found: "Mapping[str, Any] | FcError | str") -> bool:
        """Whether what was stored of an issue tells more than what is found now."""
        if not isinstance(found, Mapping):
            return True
        return _is_later(found.get("edited_at"), self._row["merged_at"])

    def linked(self) -> Linked:
        unknown = str(self._errors[0]) if self._errors else None
        return Linked(self._issues, self._left_out, unknown)

    def _want(self, named: Iterable[links.Reference]) -> None:
        new = [key for key in dict.fromkeys(named) if key not in self._seen]
        self.wanted = new[:_REFERENCES]
        self._seen.update(self.wanted)
        if new[_REFERENCES:]:
            self._left_out.append(f"{len(new) - _REFERENCES} more references")

    def _used(self, issue: Mapping[str, Any], key: links.Reference, depth: int) -> dict[str, Any]:
        """What was written before the merge, without comments that announce the solution."""
        name, merged_at = f"{key[0]}#{key[1]}", self._row["merged_at"]
        body = markdown.visible(storable(issue["body"])[:_READ])
        if _is_later(issue.get("edited_at"), merged_at):
            body = ""
            self._left_out.append(f"{name}: its text was changed after the merge")
        owner, _, repo = key[0].partition("/")

        def refers(text: str) -> bool:
            return self._own in links.references(text, owner, repo)

        kept: list[dict[str, Any]] = []
        late = told = 0
        for comment in issue["comments"] or []:
            text = markdown.visible(storable(comment["body"])[:_READ])
            if _is_later(comment["created_at"], merged_at) or _is_later(
                comment.get("edited_at"), merged_at
            ):
                late += 1
                continue
            rest, announced = announces.cut(text, refers)
            told += bool(announced)
            if rest.strip() or not announced:
                written = {"author": comment["author"], "created_at": moment(comment["created_at"])}
                kept.append({**written, "body": shortened(rest, _COMMENT)})
        more = max(0, (issue.get("comment_count") or 0) - len(issue["comments"] or []))
        more += len(kept[_COMMENTS:])
        counts = ((late, "after the merge"), (told, "announcing the solution"), (more, "too many"))
        self._left_out += [
            f"{name}: {n} comment{'s' if n > 1 else ''} {why}" for n, why in counts if n
        ]
        return {
            "repository": key[0],
            "number": key[1],
            "depth": depth,
            "title": " ".join(markdown.visible(shortened(storable(issue["title"]), 300)).split()),
            "body": shortened(body, _BODY),
            "author": issue["author"],
            "created_at": moment(issue["created_at"]),
            "comments": kept[:_COMMENTS],
        }

    def _without_names(self, issue: Mapping[str, Any]) -> dict[str, Any]:
        def masked(entry: Mapping[str, Any]) -> dict[str, Any]:
            texts = {n: self._people.mask(entry[n]) for n in ("title", "body") if n in entry}
            return {**entry, **texts, "author": self._people.name(entry["author"])}

        return masked({**issue, "comments": [masked(c) for c in issue["comments"]]})


def _named(issue: Mapping[str, Any]) -> list[links.Reference]:
    owner, _, repo = issue["repository"].partition("/")
    texts = (issue["body"], *(comment["body"] for comment in issue["comments"]))
    return [ref for text in texts for ref in links.references(text, owner, repo)]


def _is_later(at: Any, merged_at: Any) -> bool:
    return at is not None and moment(at) >= merged_at
