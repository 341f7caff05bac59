"""What extraction takes and gives: the material of a pull request, and its two sides apart."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fc_assets.candidate_prs import markdown

#: Longest text of a side that is kept, in characters.
LONGEST = 20_000


@dataclasses.dataclass(frozen=True)
class Material:
    """What was written before the merge, without names of people.

    `issues` are rows of the column of that name; `discussion` are comments on the pull request.
    """

    owner: str
    repo: str
    number: int
    title: str
    body: str
    discussion: Sequence[str]
    issues: Sequence[Mapping[str, Any]]

    @property
    def key(self) -> str:
        return f"{self.owner}/{self.repo}#{self.number}"


@dataclasses.dataclass(frozen=True)
class Sides:
    """The problem (first two) and its solution, each empty when nothing was written about it."""

    initial_observations: str = ""
    triage: str = ""
    solution_overview: str = ""
    solution_observations: str = ""

    def bounded(self) -> "Sides":
        """Each text shortened, its code blocks closed."""
        texts = (shortened(text.strip(), LONGEST - 100) for text in dataclasses.astuple(self))
        return Sides(*(markdown.closed(text).strip() for text in texts))


class Extractor(Protocol):
    """Splits what was written into sides."""

    @property
    def name(self) -> str:
        """Who extracts, with version."""
        ...

    def extract(self, material: Material) -> Sides:
        """Raises `FcError` when it could not be done, which is no answer."""
        ...


def shortened(text: str, longest: int) -> str:
    """At most so many characters, whole lines as far as possible."""
    if len(text) <= longest:
        return text
    end = text.rfind("\n", longest // 2, longest)
    return text[: end if end > 0 else longest]


def moment(text: "str | datetime.datetime") -> datetime.datetime:
    """A moment; without a zone it is in UTC, as everywhere in an offline source."""
    found = datetime.datetime.fromisoformat(text) if isinstance(text, str) else text
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
