"""Which Pythons a commit may be built with, in which order, and what declared each."""

import dataclasses
import datetime
import re
from collections.abc import Sequence

import packaging.specifiers

from fc_assets.packages.metadata import Project
from fc_resources.settings import python_released
from fc_resources.uv import NEWEST_PATCH

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)\s*")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A minor version such as 3.12, and the rung of the ladder it stands on."""

    version: str
    source: str


def candidates(project: Project, date: datetime.date, available: Sequence[str]) -> list[Candidate]:
    """Pythons to try, best first: those of `available` (newest first) that were out at `date`.

    `requires-python` bounds all of them, and answers by itself where it leaves one. Else those
    of the classifiers come first, then those of ASV's `pythons`, then the newest of the rest.
    """
    released = [v for v in available if python_released(v) <= date]
    allowed = [v for v in released if _allows(project.requires_python, v)]
    classified = {m[1] for c in project.classifiers if (m := _CLASSIFIER.fullmatch(c))}
    # What excludes the newest decides too, though it leaves a choice.
    rest = "date" if allowed[:1] == released[:1] else "requires-python"
    rungs = [
        ("requires-python", allowed if len(allowed) == 1 < len(released) else []),
        ("classifiers", [v for v in allowed if v in classified]),
        ("asv", [v for v in allowed if v in project.asv_pythons]),
        (rest, allowed),
    ]
    found: dict[str, str] = {}
    for source, versions in rungs:
        for version in versions:
            found.setdefault(version, source)
    return [Candidate(version, source) for version, source in found.items()]


def _allows(requires: str | None, minor: str) -> bool:
    """Whether the newest patch release of a minor, which containers have, satisfies.

    An unreadable specifier allows all.
    """
    try:
        wanted = packaging.specifiers.SpecifierSet(requires or "")
    except packaging.specifiers.InvalidSpecifier:
        return True
    return wanted.contains(f"{minor}.{NEWEST_PATCH}")
