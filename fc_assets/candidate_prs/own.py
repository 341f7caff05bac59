"""What a pull request says itself, without names of people; issues it is about are not here."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fc_assets.candidate_prs import markdown
from fc_assets.candidate_prs.anonymize import People
from fc_assets.candidate_prs.sides import moment, shortened
from fc_assets.texts import storable

_BODY, _COMMENT, _COMMENTS = 60_000, 5_000, 100


@dataclasses.dataclass(frozen=True)
class Own:
    """Its texts; `people` knows who is named in them."""

    title: str
    body: str
    discussion: Sequence[str]
    people: People


def texts(row: Mapping[str, Any]) -> Own:
    """Title, body, and comments and reviews of people from before the merge."""
    people = People()
    title = people.mask(" ".join(markdown.visible(shortened(storable(row["title"]), 300)).split()))
    body = people.mask(markdown.closed(markdown.visible(shortened(storable(row["body"]), _BODY))))
    said = [
        f"{people.name(event['author']) or 'somebody'}: "
        f"{people.mask(markdown.closed(shortened(storable(event['body']), _COMMENT)))}"
        for event in row.get("events") or []
        if event["kind"] in ("comment", "review")
        and (event["body"] or "").strip()
        and not (event["author"] or "").endswith("[bot]")
        and moment(event["created_at"]) < row["merged_at"]
    ]
    return Own(title, body, said[:_COMMENTS], people)
