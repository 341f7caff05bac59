"""What is published already: what of it stays, what leaves, and what a month must not lose."""

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fc_assets import months
from fc_assets.formulacode import publication
from fc_assets.formulacode.publication import State
from fc_assets.formulacode.records import Rules, Task
from fc_resources.dataset import Dataset


def fates(found: Iterable[Task], refused: Collection[str], rules: Rules) -> dict[str, str]:
    """What becomes of published records of a month that are not made again, and why.

    Of one that is neither among the tasks nor `refused` by its classification, nothing is known.
    """
    told = {}
    for task in found:
        if task.task_id in rules.published and task.reason is not None:
            reason = task.reason
            told[task.task_id] = reason if task.stays else f"leaves the dataset: {reason}"
    for name in _missing(found, rules):
        told[name] = (
            "leaves the dataset: not a performance pull request"
            if name in refused
            else "blocks the month: it is not among the candidates; run stages 2 to 5 again"
        )
    return told


def due(found: Iterable[Task], refused: Collection[str], rules: Rules) -> set[str]:
    """The records that a month must not lose if it has them."""
    made = {task.task_id for task in found if task.reason is None or task.stays}
    return made | (_missing(found, rules) - {*refused} - {*rules.withdrawn})


def _missing(found: Iterable[Task], rules: Rules) -> set[str]:
    return {*rules.published} - {task.task_id for task in found}


def rows(
    dataset: Dataset, state: State, month: datetime.date, found: Iterable[Task]
) -> dict[str, Mapping[str, Any]]:
    """The records of a month that stay as they were published, by task."""
    names = {task.task_id for task in found if task.stays}
    if not names:
        return {}
    told = publication.month_of(dataset, state, months.label(month)).to_pylist()
    return {row["task_id"]: row for row in told if row["task_id"] in names}
