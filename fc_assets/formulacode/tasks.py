"""The performance pull requests of a month with all that is known about them, from seven tables."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fc_assets import months, work
from fc_assets.formulacode import records
from fc_assets.formulacode.records import Task
from fc_assets.tables import (
    CANDIDATE_CONTAINERS,
    CANDIDATE_PRS,
    MEASURED,
    PACKAGES,
    PR_CLASSIFICATIONS,
    PULL_REQUESTS,
    REPOSITORIES,
    Table,
)
from fc_resources.errors import UsageError
from fc_resources.warehouse import Warehouse

_PR = ("partition_month", "owner", "repo", "issue_number")
#: What of each table a record is made of, or an image built of again.
COLUMNS: Mapping[Table, Sequence[str]] = {
    CANDIDATE_PRS: (
        *_PR,
        *("merged_at", "merge_commit_sha", "statement", "leak_suspected", "reason", "extractor"),
        "rendering",
    ),
    PULL_REQUESTS: (*_PR, "patch", "diff_source"),
    PR_CLASSIFICATIONS: (*_PR, "category", "difficulty", "classifier", "is_performance"),
    CANDIDATE_CONTAINERS: (
        *_PR,
        *("sha", "base_sha", "python_version", "scripts", "origin", "step", "sandbox", "image"),
        *("checks", "benchmarks", *MEASURED),
    ),
    PACKAGES: (
        *("partition_month", "owner", "repo", "sha", "base_sha", "project_name", "project_root"),
        *("asv_config", "python_version", "pins", "system_packages", "reason"),
        *("resolver", "uv_version"),
    ),
    REPOSITORIES: ("partition_month", "owner", "repo", "license"),
}
Monthly = Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]]


def of_months(
    tables: Mapping[str, Monthly],
) -> Iterator[tuple[datetime.date, list[Task], set[str]]]:
    """Tasks of each month, and ids of pull requests that were judged to be none.

    From rows of every table in `COLUMNS` by its name. `UsageError` if they do not fit together.
    """
    for parts in zip(*(tables[table.name] for table in COLUMNS), strict=True):
        month = parts[0][0]
        rows, *others = (
            {work.key_of({"issue_number": None, "sha": None, **row}): row for row in part}
            for _, part in parts
        )
        pulls, verdicts, built, environment, tracked = others
        found = []
        for key, row in rows.items():
            name = f"{row['owner']}/{row['repo']}"
            commit = f"{name}@{row['merge_commit_sha']}"
            found.append(
                Task(
                    row,
                    _of(PULL_REQUESTS, pulls, key, month),
                    _of(PR_CLASSIFICATIONS, verdicts, key, month),
                    built.get(key),
                    environment.get(commit),
                    _of(REPOSITORIES, tracked, name, month),
                )
            )
        judged = (row for row in verdicts.values() if not row["is_performance"])
        yield month, found, {records.task_id(row) for row in judged}


def _of(
    table: Table, rows: Mapping[str, Mapping[str, Any]], key: str, month: datetime.date
) -> Mapping[str, Any]:
    if key not in rows:
        raise UsageError(
            f"{table.name} of {months.label(month)} lacks {key}, which {CANDIDATE_PRS.name} has; "
            f"run stages {table.stage} to {CANDIDATE_PRS.stage} of it again"
        )
    return rows[key]


def stored(warehouse: Warehouse, month: datetime.date) -> tuple[list[Task], set[str]]:
    """What `of_months` tells of a month as the warehouse has it."""
    tables = {
        table.name: months.split(warehouse.read(table.name, [month], columns), [month])
        for table, columns in COLUMNS.items()
    }
    [(_, found, refused)] = of_months(tables)
    return found, refused
