"""How good stored statements are, in numbers: how many there are, why not, and what leaks.

Pure: rows of `candidate_prs` in, a report out. Who asks and how it is shown is `cli`'s.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from fc_assets.candidate_prs import leaks

#: What of a row is looked at.
COLUMNS = (
    *("owner", "repo", "issue_number", "merge_commit_sha", "issues", "solution", "observations"),
    *("statement", "leak_suspected", "leaks", "cut", "reason", "extractor", "unknown"),
)


@dataclasses.dataclass
class Report:
    """Counts of rows; `leaks` and `cut` are rows by kind, a row counts once for each of its kinds.

    `unmarked` are statements that a second check, against the stored solution alone, finds leaking
    although they are not marked: it should find none.
    """

    rows: int = 0
    statements: int = 0
    suspected: int = 0
    unknown: int = 0
    with_cuts: int = 0
    extractors: "collections.Counter[str]" = dataclasses.field(default_factory=collections.Counter)
    empty: "collections.Counter[str]" = dataclasses.field(default_factory=collections.Counter)
    leaks: "collections.Counter[str]" = dataclasses.field(default_factory=collections.Counter)
    cut: "collections.Counter[str]" = dataclasses.field(default_factory=collections.Counter)
    unmarked: list[str] = dataclasses.field(default_factory=list)
    #: Evidence of the rows that are marked, by task.
    evidence: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    @property
    def leak_rate(self) -> float | None:
        """Share of statements that leak, marked or not; None without statements."""
        return (self.suspected + len(self.unmarked)) / self.statements if self.statements else None

    def lines(self) -> list[str]:
        """The report for a terminal."""
        rate = "-" if self.leak_rate is None else f"{self.leak_rate:.1%}"
        return [
            f"{self.rows} rows by {_listed(self.extractors) or 'nobody'}",
            f"{self.statements} statements, {self.rows - self.statements} without",
            *(f"  {count} {reason}" for reason, count in self.empty.most_common()),
            f"leak rate {rate}: {self.suspected} marked ({_listed(self.leaks) or 'none'}), "
            f"{len(self.unmarked)} not marked",
            *(f"  {task}: {'; '.join(found)}" for task, found in self.evidence.items()),
            *(f"  {task}: not marked" for task in self.unmarked),
            f"{self.with_cuts} statements with parts cut ({_listed(self.cut) or 'none'})",
            f"{self.unknown} rows with issues that could not be found out",
        ]


def evaluate(rows: Iterable[Mapping[str, Any]]) -> Report:
    """Count what is in rows of `candidate_prs`."""
    report = Report()
    for row in rows:
        task = f"{row['owner']}/{row['repo']}#{row['issue_number']}"
        report.rows += 1
        report.extractors[row["extractor"]] += 1
        report.unknown += row["unknown"] is not None
        if row["statement"] is None:
            report.empty[row["reason"] or "no reason is stored"] += 1
            continue
        report.statements += 1
        report.with_cuts += bool(row["cut"])
        report.cut.update({part["kind"] for part in row["cut"] or []})
        if row["leak_suspected"]:
            report.suspected += 1
            found = row["leaks"] or []
            report.leaks.update({leak["kind"] for leak in found})
            report.evidence[task] = [f"{leak['kind']} {leak['what']}" for leak in found]
        elif _leaks(row):
            report.unmarked.append(task)
    return report


def _leaks(row: Mapping[str, Any]) -> bool:
    texts = [row["solution"]] if row["solution"] else []
    solution = leaks.Solution.of(row, texts, patch=None)
    return bool(leaks.find_all(row["observations"] or "", solution))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
