"""Scripts that worked before: for this very pull request, and for its neighbours.

What is offered here has been verified for somebody; for whom it is tried next it is verified again.
"""

import dataclasses
import datetime
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fc_assets.candidate_containers.stock import Candidate, Context

#: What a row of `candidate_containers` has to tell.
COLUMNS = (
    *("owner", "repo", "issue_number", "merged_at", "base_sha", "python_version"),
    *("origin", "scripts"),
)
#: Neighbours whose scripts are tried.
SIMILAR = 5


@dataclasses.dataclass(frozen=True)
class Working:
    """The scripts that a pull request was verified with, and what else tells how near it is."""

    issue_number: int
    merged_at: datetime.datetime | None
    base_sha: str
    python_version: str
    context: Context


class Contexts:
    """All that is known to work, by repository; safe in threads."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._mutex = threading.Lock()
        self._known: dict[tuple[str, str], dict[int, Working]] = {}
        #: Most of them are the same scripts.
        self._texts: dict[str, str] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Remember what a row of `candidate_containers` says."""
        with self._mutex:
            scripts = {
                script["name"]: self._texts.setdefault(script["content"], script["content"])
                for script in row["scripts"]
            }
            working = Working(
                row["issue_number"],
                row["merged_at"],
                row["base_sha"],
                row["python_version"],
                Context(scripts, row["origin"]),
            )
            known = self._known.setdefault((row["owner"], row["repo"]), {})
            known[working.issue_number] = working

    def of(self, candidate: Candidate) -> Working | None:
        """What this very pull request was verified with, for the same commit and Python."""
        with self._mutex:
            found = self._known.get((candidate.owner, candidate.repo), {})
            working = found.get(candidate.issue_number)
        if working is None:
            return None
        now = (candidate.base_sha, candidate.python_version)
        return working if (working.base_sha, working.python_version) == now else None

    def similar(self, candidate: Candidate) -> Iterator[Working]:
        """Those of neighbours: the same Python first, then by how near they were merged."""
        with self._mutex:
            found = self._known.get((candidate.owner, candidate.repo), {})
            known = [w for number, w in found.items() if number != candidate.issue_number]

        def distance(working: Working) -> tuple[bool, float, int]:
            seconds = float("inf")
            if working.merged_at:
                seconds = abs(working.merged_at - candidate.merged_at).total_seconds()
            is_other = working.python_version != candidate.python_version
            return is_other, seconds, working.issue_number

        yield from sorted(known, key=distance)
