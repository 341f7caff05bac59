"""Which Python a commit is built with, and which of its declarations decided that."""

import datetime
import re
from collections.abc import Sequence

import packaging.specifiers

from fc_assets.packages.metadata import Project
from fc_resources.settings import PYTHON_RELEASES

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def candidates(
    project: Project, date: datetime.date, available: Sequence[str]
) -> tuple[list[str], str]:
    """Minor versions to try, best first, and the rule that chose (`interpreter_source`).

    Only versions in `available` (newest first) that were out at `date` and that
    `requires-python` allows; among those the declared ones: classifiers, then ASV's `pythons`.
    """
    released = [v for v in available if PYTHON_RELEASES[v] <= date.isoformat()]
    allowed = [v for v in released if _allows(project.requires_python, v)]
    classified = {m[1] for c in project.classifiers if (m := _CLASSIFIER.search(c))}
    for declared, source in (
        (classified, "classifiers"),
        (set(project.asv_pythons), "asv"),
    ):
        chosen = [v for v in allowed if v in declared]
        if chosen:
            return chosen, source
    return allowed, "requires-python" if project.requires_python else "date"


def _allows(requires: str | None, minor: str) -> bool:
    """Whether any patch release of a minor satisfies; an unreadable specifier allows all."""
    try:
        wanted = packaging.specifiers.SpecifierSet(requires or "")
    except packaging.specifiers.InvalidSpecifier:
        return True
    return any(wanted.contains(f"{minor}.{patch}") for patch in range(40))
