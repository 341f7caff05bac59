"""Tasks from the rows of seven tables: what belongs together, and what is missing."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fc_assets import tables
from fc_assets.formulacode import tasks
from fc_resources.errors import UsageError
from tests.fc_assets.formulacode import material


def _tables(*lacking: str) -> dict[str, list[tuple[datetime.date, Sequence[Mapping[str, Any]]]]]:
    """What stages 1 to 6 stored of a task, but for some of it."""
    task = material.task()
    return {
        table.name: [(material.JANUARY, [] if table.name in lacking else [getattr(task, part)])]
        for table, part in material.PARTS.items()
    }


def test_rows_of_all_tables_are_a_task() -> None:
    assert [*tasks.of_months(_tables())] == [(material.JANUARY, [material.task()], set())]


def test_without_a_container_there_is_a_task_too() -> None:
    [(_, [task], _)] = tasks.of_months(_tables("candidate_containers", "packages"))
    assert (task.container, task.environment) == (None, None)


def test_what_was_judged_to_be_no_improvement_is_told_from_what_nobody_judged() -> None:
    found = _tables("candidate_prs")
    verdict = material.task(classification={"is_performance": False}).classification
    found["pr_classifications"] = [(material.JANUARY, [verdict])]
    assert [*tasks.of_months(found)] == [(material.JANUARY, [], {"O-x__r-3"})]
    assert [*tasks.of_months(_tables("candidate_prs"))] == [(material.JANUARY, [], set())]


@pytest.mark.parametrize("table", [tables.REPOSITORIES, tables.PULL_REQUESTS])
def test_tables_that_do_not_fit_together_name_the_stages_to_run(table: tables.Table) -> None:
    why = f"{table.name} of 2026-01 lacks O-x/r.* {table.stage} to 5"
    with pytest.raises(UsageError, match=why):
        list(tasks.of_months(_tables(table.name)))
