"""What publishing a month would change, and why candidates stay out; nothing is written."""

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fc_assets import months
from fc_assets.formulacode import files, publication, records, standing, tasks
from fc_assets.formulacode.records import Task
from fc_resources.dataset import Dataset
from fc_resources.settings import Settings
from fc_resources.warehouse import PARTITION, Warehouse

#: Of a record whose image has to be pushed first.
_IMAGE = ("image_name", "image_digest")


def preview(
    month: datetime.date,
    found: Sequence[Task],
    refused: Collection[str],
    dataset: Dataset,
    settings: Settings,
    digest: Callable[[Task], str | None],
) -> list[dict[str, str]]:
    """Each task of the month: added, changed, removed, unchanged or left out, and why.

    `refused` were judged to be none. `digest` is that of a task's image in the registry, None if it
    has to be pushed.
    """
    label, state = months.label(month), publication.look(dataset)
    rules = state.rules(settings, label)
    decided = records.decide(found, rules)
    old = publication.month_of(dataset, state, label).to_pylist()
    before = {row["task_id"]: row for row in old}
    reasons = {task.task_id: task.reason for task in decided if task.reason}
    reasons |= standing.fates(decided, refused, rules)
    rows, waiting = [], set()
    for task in decided:
        if task.stays:
            rows.append({PARTITION: month, **before[task.task_id]})
        if task.reason is not None:
            continue
        there = digest(task) if rules.registry else None
        row = {PARTITION: month, **records.record(task, rules, there)}
        if rules.registry and there is None:
            waiting.add(task.task_id)
            row |= {name: before.get(task.task_id, {}).get(name) for name in _IMAGE}
        rows.append(row)
    told = publication.changes(old, files.table(rows).to_pylist())
    for task, change in told.items():
        if task in waiting and change == "unchanged":
            told[task] = f"changed: {', '.join(_IMAGE)}"
    told |= {task: "left out" for task in reasons if task not in told}
    return [
        {
            "task": task,
            "change": change,
            "reason": reasons.get(task) or ("its image is to be pushed" if task in waiting else ""),
        }
        for task, change in sorted(told.items(), key=_order)
    ]


def of_home(
    month: datetime.date,
    settings: Settings,
    digest: Callable[[Task], str | None],
) -> list[dict[str, str]]:
    """`preview` of a month as the warehouse of a home has it."""
    warehouse = Warehouse.of(settings)
    found, refused = tasks.stored(warehouse, month)
    return preview(month, found, refused, publication.target(settings), settings, digest)


def summary(told: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many of each."""
    kinds = [row["change"].partition(":")[0] for row in told]
    return {kind: kinds.count(kind) for kind in _KINDS}


_KINDS = ("added", "changed", "removed", "unchanged", "left out")


def _order(told: tuple[str, str]) -> tuple[int, str]:
    return _KINDS.index(told[1].partition(":")[0]), told[0]
