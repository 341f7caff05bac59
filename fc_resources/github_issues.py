"""Issues of GitHub by number, with their first comments; a pull request is none.

What refers to them, and what of them tells the problem, is the caller's.
"""

from collections.abc import Sequence
from typing import Any

from fc_resources.errors import FcError
from fc_resources.github import GitHub
from fc_resources.github_answers import Fault, GoneError
from fc_resources.github_queries import (
    Field,
    Node,
    error_of,
    in_halves,
    is_map,
    together,
    tries,
)

_TOGETHER = 20
_COMMENTS = 100
_ISSUE = f"""
fragment issue on Issue {{
    __typename title body createdAt lastEditedAt author {{ login }}
    comments(first: {_COMMENTS}) {{
        totalCount nodes {{ author {{ login }} createdAt lastEditedAt body }}
    }}
}}
"""

#: A repository's name (owner/name), and a number in it.
Reference = tuple[str, int]


async def issues(
    github: GitHub, references: Sequence[Reference]
) -> dict[Reference, dict[str, Any] | FcError | None]:
    """Issues by reference: as an offline source has them, None for what is no issue.

    Beyond that, `edited_at` is when a text was last changed (None: never), and `comment_count`
    how many comments there are; the first 100 come along.

    An error stands for what could not be found out. Raises `UnavailableError` when asking on is
    useless.
    """

    async def ask(part: Sequence[Reference]) -> list[dict[str, Any] | FcError | None]:
        fields = [_field(i, reference) for i, reference in enumerate(part)]
        data = await github.graphql(*together("Issues", fields, _ISSUE), tries=tries(part))
        return [
            _issue(reference, data.values.get(f"i{i}"), data.faults.get(f"i{i}", ()))
            for i, reference in enumerate(part)
        ]

    answers = await in_halves(references, _TOGETHER, ask)
    return dict(zip(references, answers, strict=True))


def _field(i: int, reference: Reference) -> Field:
    (owner, _, repo), number = reference[0].partition("/"), reference[1]
    text = (
        f"i{i}: repository(owner: $o{i}, name: $r{i}) {{ "
        f"issueOrPullRequest(number: $n{i}) {{ __typename ...issue }} }}"
    )
    variables: dict[str, tuple[str, Any]] = {
        f"o{i}": ("String!", owner),
        f"r{i}": ("String!", repo),
        f"n{i}": ("Int!", number),
    }
    return text, variables


def _issue(
    reference: Reference, found: Any, faults: Sequence[Fault]
) -> dict[str, Any] | FcError | None:
    node = found.get("issueOrPullRequest") if is_map(found) else None
    if faults or not is_map(node, __typename=str):
        error = error_of(f"{reference[0]}#{reference[1]}", faults)
        return None if isinstance(error, GoneError) else error
    if node["__typename"] != "Issue":
        return None
    if not is_map(node, title=str, body=str, createdAt=str, comments=dict):
        return error_of(f"{reference[0]}#{reference[1]}", faults)
    return {
        "repo_name": reference[0],
        "issue_number": reference[1],
        "title": node["title"],
        "body": node["body"],
        "author": _login(node),
        "created_at": node["createdAt"],
        "edited_at": node.get("lastEditedAt"),
        "comment_count": node["comments"].get("totalCount"),
        "comments": [
            {
                "author": _login(c),
                "created_at": c["createdAt"],
                "edited_at": c.get("lastEditedAt"),
                "body": c["body"],
            }
            for c in node["comments"].get("nodes") or []
            if is_map(c, createdAt=str, body=str)
        ],
    }


def _login(node: Node) -> str | None:
    """An account that was deleted has none; its words are nobody's."""
    return node["author"]["login"] if is_map(node.get("author"), login=str) else None
