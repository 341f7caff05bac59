"""Tasks and records for tests of publishing, all of January 2026 unless they say otherwise."""

import datetime
from typing import Any

import pyarrow as pa

from fc_assets import tables
from fc_assets.formulacode import files, records
from fc_assets.formulacode.records import Rules, Task
from fc_resources import settings

JANUARY = datetime.date(2026, 1, 1)
WHEN = datetime.datetime(2026, 1, 15, tzinfo=datetime.UTC)
PATCH = """\
diff --git a/r/core.py b/r/core.py
index 1111111..2222222 100644
--- a/r/core.py
+++ b/r/core.py
@@ -1,2 +1,2 @@
 # number {number}
-slow = {number}
+fast = {number}
"""
#: What a task has of each table.
PARTS = {
    tables.CANDIDATE_PRS: "candidate",
    tables.PULL_REQUESTS: "pull_request",
    tables.PR_CLASSIFICATIONS: "classification",
    tables.CANDIDATE_CONTAINERS: "container",
    tables.PACKAGES: "environment",
    tables.REPOSITORIES: "repository",
}
CHECKS = ("build", "smoke", "profile", "hygiene", "measure")
MEASURED: dict[str, Any] = {
    "verdict": "faster",
    "benchmarks_run": 3,
    "improved": 2,
    "regressed": 0,
    "rounds": 6,
    "speedup": 1.2,
    "speedup_low": 1.1,
    "speedup_high": 1.3,
    "best_benchmark": "time_it",
    "best": 1.4,
    "best_low": 1.2,
    "best_high": 1.6,
    "best_p": 0.001,
    "machine": "a processor",
}


def required(table: tables.Table) -> dict[str, Any]:
    """Some value for each column that has to have one."""
    return {column.name: _zero(column.type) for column in table.columns if column.required}


def task(number: int = 3, **changes: dict[str, Any] | None) -> Task:
    """A task that is published as it is; parts can be changed or None."""
    key = {"owner": "O-x", "repo": "r", "issue_number": number}
    parts: dict[str, Any] = {
        "candidate": {
            **key,
            "merged_at": WHEN + datetime.timedelta(minutes=number),
            "merge_commit_sha": "a" * 40,
            "statement": f"It is slow, says {number}.",
            "leak_suspected": False,
            "reason": None,
            "extractor": "rules/1",
            "rendering": "issues/1; rules/1",
        },
        "pull_request": {**key, "patch": PATCH.format(number=number), "diff_source": "git"},
        "classification": {
            **key,
            "category": "use_better_algorithm",
            "difficulty": "easy",
            "classifier": "rules/1",
            "is_performance": True,
        },
        "container": {
            **key,
            "sha": "a" * 40,
            "base_sha": "b" * 40,
            "python_version": "3.12",
            "scripts": [],
            "origin": "stock",
            "step": "stock",
            "sandbox": "docker",
            "image": f"formulacode/o-x-r:pr-{number:012x}",
            "checks": [
                {"check": check, "outcome": "passed", "evidence": "seen"} for check in CHECKS
            ],
            "benchmarks": [{"benchmark": "time_it", "seconds": 0.5}],
            **MEASURED,
        },
        "environment": {
            "owner": "O-x",
            "repo": "r",
            "sha": "a" * 40,
            "base_sha": "b" * 40,
            "project_name": "r",
            "project_root": ".",
            "asv_config": "asv.conf.json",
            "python_version": "3.12",
            "pins": ["asv==0.6.5"],
            "system_packages": ["libgeos-dev"],
            "reason": None,
            "resolver": "resolver/1",
            "uv_version": "0.13",
        },
        "repository": {"owner": "O-x", "repo": "r", "license": "MIT"},
    }
    for name, change in changes.items():
        parts[name] = change if change is None else {**parts[name], **change}
    return Task(**parts)


def rules(**changes: Any) -> Rules:
    """The rules of a home without settings."""
    default: dict[str, Any] = {"registry": None, "told": {}}
    return Rules(**{**default, "licenses": frozenset(settings.load().licenses), **changes})


def rows(*numbers: int, month: datetime.date = JANUARY, **changes: Any) -> list[dict[str, Any]]:
    """Records as the warehouse has them."""
    made = (records.record(task(number), rules(), None) for number in numbers)
    return [{"partition_month": month, **row, **changes} for row in made]


def table(*numbers: int, **changes: Any) -> Any:
    """Records as they are published."""
    return files.table(rows(*numbers, **changes))


def _zero(kind: pa.DataType) -> Any:
    """Some value of a type."""
    if pa.types.is_timestamp(kind):
        return WHEN
    if pa.types.is_list(kind):
        return []
    return "" if pa.types.is_string(kind) else pa.scalar(0, pa.int64()).cast(kind).as_py()
