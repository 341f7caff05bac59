"""How pre-filter and classifier do against labels made by hand; pure, given rows of the tables."""

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fc_resources.errors import UsageError

_COLUMNS = ("repo_name", "pr_number", "is_performance_commit")
_TRUE = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Label:
    """What a person said of a pull request; `key` is `owner/repo#12` in lower case."""

    key: str
    is_performance: bool
    category: str


@dataclasses.dataclass
class Report:
    """Counts over the labelled pull requests that are in the warehouse.

    The pre-filter lets pass (`passed`), the classifier says yes to some of those (`found`), both
    split by label. What passed and is not judged yet (`unjudged`, `positives_unjudged` of them)
    counts for the pre-filter alone. `misjudged` are (key, label, what went wrong).
    """

    unknown: int = 0
    unjudged: int = 0
    positives_unjudged: int = 0
    positives: int = 0
    negatives: int = 0
    positives_passed: int = 0
    negatives_passed: int = 0
    positives_found: int = 0
    negatives_found: int = 0
    same_category: dict[str, int] = dataclasses.field(default_factory=dict)
    of_category: dict[str, int] = dataclasses.field(default_factory=dict)
    classifiers: set[str] = dataclasses.field(default_factory=set)
    misjudged: list[tuple[str, bool, str]] = dataclasses.field(default_factory=list)

    @property
    def prefilter_recall(self) -> float | None:
        """Share of the performance pull requests that pass the pre-filter."""
        return _share(self.positives_passed, self.positives)

    @property
    def prefilter_dropped(self) -> float | None:
        """Share of the others that it drops."""
        return _share(self.negatives - self.negatives_passed, self.negatives)

    @property
    def precision(self) -> float | None:
        return _share(self.positives_found, self.positives_found + self.negatives_found)

    @property
    def recall(self) -> float | None:
        """Of both together: what the pre-filter drops is not found."""
        return _share(self.positives_found, self._judged)

    @property
    def f1(self) -> float | None:
        wrong = self._judged - self.positives_found + self.negatives_found
        return _share(2 * self.positives_found, 2 * self.positives_found + wrong)

    @property
    def _judged(self) -> int:
        return self.positives - self.positives_unjudged


def read_labels(path: Path) -> list[Label]:
    """Labels of a CSV with `repo_name`, `pr_number`, `is_performance_commit` and maybe `category`.

    `UsageError` for a file that has none of that.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    labels = {}
    for number, row in enumerate(rows, 2):
        lacking = [name for name in _COLUMNS if not row.get(name)]
        if lacking:
            raise UsageError(f"{path}, line {number}: no {', '.join(lacking)}")
        said = _TRUE.get(row["is_performance_commit"].strip().lower())
        if said is None:
            raise UsageError(f"{path}, line {number}: is_performance_commit is True or False")
        if not row["pr_number"].strip().isdecimal():
            raise UsageError(f"{path}, line {number}: pr_number is no number")
        key = f"{row['repo_name'].strip()}#{int(row['pr_number'])}".lower()
        if key in labels and labels[key].is_performance != said:
            raise UsageError(f"{path}, line {number}: {key} is labelled otherwise above")
        labels[key] = Label(key, said, row.get("category") or "")
    if not labels:
        raise UsageError(f"{path} has no labels")
    return list(labels.values())


def evaluate(
    labels: Iterable[Label],
    pull_requests: Iterable[Mapping[str, Any]],
    verdicts: Iterable[Mapping[str, Any]],
) -> Report:
    """Compare labels to rows of `pull_requests` and `pr_classifications`."""
    known = {_key(row): row for row in pull_requests}
    judged = {_key(row): row for row in verdicts}
    report = Report()
    for label in labels:
        row, verdict = known.get(label.key), judged.get(label.key)
        if row is None:
            report.unknown += 1
        else:
            _count(report, label, row, verdict)
    return report


def _count(
    report: Report, label: Label, row: Mapping[str, Any], verdict: Mapping[str, Any] | None
) -> None:
    passed = bool(row["passes_prefilter"])
    # What was judged before the pre-filter changed its mind counts for nothing.
    verdict = verdict if passed else None
    found = bool(verdict and verdict["is_performance"])
    if label.is_performance:
        report.positives += 1
        report.positives_passed += passed
        report.positives_found += found
    else:
        report.negatives += 1
        report.negatives_passed += passed
        report.negatives_found += found
    if passed and verdict is None:
        report.unjudged += 1
        report.positives_unjudged += label.is_performance
        return
    if verdict:
        report.classifiers.add(verdict["classifier"])
    if found != label.is_performance:
        why = verdict["reasoning"] if verdict else f"pre-filter: {row['prefilter_reason']}"
        report.misjudged.append((label.key, label.is_performance, why))
    if verdict and found and label.is_performance and label.category:
        category = label.category
        report.of_category[category] = report.of_category.get(category, 0) + 1
        same = verdict["category"] == category
        report.same_category[category] = report.same_category.get(category, 0) + same


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['owner']}/{row['repo']}#{row['issue_number']}".lower()


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
