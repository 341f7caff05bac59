"""From rows of pull requests to candidates: what each is extracted from, and what is known of it.

A stored row is used again as far as what it rests on is the same: its issues, else its extracted
sides, else both. So nothing is asked or paid for twice, and a new template costs neither.
"""

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jinja2

from fc_assets import candidate_prs, work
from fc_assets.candidate_prs import issues, links, statement
from fc_assets.candidate_prs.own import Own, texts
from fc_assets.candidate_prs.sides import Extractor, Material, Sides, moment
from fc_assets.texts import storable

_COPIED = ("owner", "repo", "issue_number", "merged_at", "merge_commit_sha")
#: Columns of a row that extraction decides, and a rendering rests on.
_EXTRACTED = tuple(field.name for field in dataclasses.fields(Sides))

Row = Mapping[str, Any]
Monthly = Iterable[tuple[datetime.date, Sequence[Row]]]
#: Of pull requests, with the numbers known as such and the issues stored for each.
Find = Callable[
    [Sequence[Row], frozenset[links.Reference], Sequence[Sequence[Row]]], Sequence[issues.Linked]
]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A performance pull request with its issues; `stored` is a row with its sides, if there is."""

    row: Row
    own: Own
    linked: issues.Linked
    asked: str
    inputs: str
    stored: Row | None


def items(
    classified: Monthly,
    pull_requests: Monthly,
    find: Find,
    known: Callable[[datetime.date], Mapping[str, Row]],
    extractor: str,
    origins: Mapping[str, str],
) -> Iterator[tuple[datetime.date, list[work.Item[Candidate]]]]:
    """Performance pull requests, each with the issues it refers to.

    `known` are the rows a month has, by key; `origins` tell where issues come from.
    """
    for (month, verdicts), (_, rows) in zip(classified, pull_requests, strict=True):
        performance = {work.key_of(row) for row in verdicts if row["is_performance"]}
        pulls = frozenset(
            (f"{row['owner']}/{row['repo']}".lower(), row["issue_number"]) for row in rows
        )
        wanted = {work.key_of(row): row for row in rows if work.key_of(row) in performance}
        stored = known(month) if wanted else {}
        asked = {key: _asked(row, origins) for key, row in wanted.items()}
        same = {key: stored[key] for key in wanted if _is_same(stored.get(key), asked[key])}
        others = [key for key in wanted if key not in same]
        before = [stored[key]["issues"] or () if key in stored else () for key in others]
        answers = find([wanted[key] for key in others], pulls, before)
        found = dict(zip(others, answers, strict=True))
        found |= {key: issues.Linked(row["issues"], row["left_out"]) for key, row in same.items()}
        yield (
            month,
            [
                _item(row, found[key], asked[key], stored.get(key), extractor)
                for key, row in wanted.items()
            ],
        )


def state(candidate: Candidate, extractor: Extractor, template: jinja2.Template) -> work.Answer:
    """The problem side rendered, or the reason why there is none; see `statement.compose`.

    Nothing is extracted, or paid for, while an issue could not be asked for. Raises what the
    extractor raises: a model that is down has not said that there is no problem.
    """
    row, own, linked = candidate.row, candidate.own, candidate.linked
    if linked.unknown is not None:
        extracted = dict.fromkeys(_EXTRACTED)
    elif candidate.stored is not None:
        extracted = {name: candidate.stored[name] for name in _EXTRACTED}
    else:
        sides = extractor.extract(material(row, own, linked))
        extracted = {n: storable(text) or None for n, text in vars(sides).items()}
    made: dict[str, Any] = {
        **{name: row[name] for name in _COPIED},
        **extracted,
        "linked_issues": [issue["number"] for issue in linked.issues],
        "issues": list(linked.issues),
        "left_out": list(linked.left_out),
        "extractor": extractor.name,
        "unknown": linked.unknown,
        "asked": candidate.asked,
        "inputs": None if linked.unknown else candidate.inputs,
    }
    made |= statement.compose(made, own.title, own.body, row["patch"], template)
    if linked.unknown is not None:
        made["reason"] = f"unknown: {linked.unknown}"
    return work.Answer([made], unknown=linked.unknown)


def material(row: Row, own: Own, linked: issues.Linked) -> Material:
    """What an extractor may read of a pull request."""
    return Material(
        row["owner"],
        row["repo"],
        row["issue_number"],
        own.title,
        own.body,
        own.discussion,
        linked.issues,
    )


def _item(
    row: Row, linked: issues.Linked, asked: str, stored: Row | None, extractor: str
) -> work.Item[Candidate]:
    own = texts(row)
    found = (own.title, own.body, own.discussion, _plain(linked.issues))
    inputs = work.digest(*found, extractor)
    usable = stored if stored is not None and stored["inputs"] == inputs else None
    # The statement is made of these; what is stored of it need not be extracted again.
    copied = [row[name] for name in _COPIED]
    digest = work.digest(inputs, asked, candidate_prs.rendering(), row["patch"], copied)
    return work.Item(work.key_of(row), Candidate(row, own, linked, asked, inputs, usable), digest)


def _asked(row: Row, origins: Mapping[str, str]) -> str:
    """What decides which issues there are."""
    return work.digest(
        row["title"], row["body"], row["merged_at"], dict(origins), candidate_prs.LINKS
    )


def _is_same(stored: Row | None, asked: str) -> bool:
    return stored is not None and stored["asked"] == asked and stored["unknown"] is None


def _plain(found: Sequence[Row]) -> list[Any]:
    """Issues as they are before and after having been stored: times in one spelling."""
    return [
        {
            **issue,
            "created_at": moment(issue["created_at"]).timestamp(),
            "comments": [
                {**comment, "created_at": moment(comment["created_at"]).timestamp()}
                for comment in issue["comments"]
            ],
        }
        for issue in found
    ]
