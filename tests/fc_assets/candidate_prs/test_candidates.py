"""Nothing is asked or paid for twice, and another template costs neither."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pytest

from fc_assets import candidate_prs, work
from fc_assets.candidate_prs import asset, candidates, issues, statement
from fc_assets.candidate_prs.sides import Material, Sides
from fc_assets.tables import CANDIDATE_PRS
from fc_resources.errors import UnavailableError
from fc_resources.ledger import Ledger
from fc_resources.warehouse import Warehouse
from tests.fc_assets.candidate_prs.material import issue, nobody, offline, row

_MONTH = datetime.date(2026, 1, 1)
_SIDES = Sides("It takes long to read this file of mine.", "Found", "Solved", "Fast")


class _Counted:
    """Counts what is asked of an extractor and of sources of issues, and may be down."""

    name = "counted/1"

    def __init__(self) -> None:
        self.extracted: list[int] = []
        self.searched: list[int] = []
        self.issues = [issue()]
        self.unknown: str | None = None
        self.down = False

    def extract(self, material: Material) -> Sides:
        if self.down:
            raise UnavailableError("the model is down")
        self.extracted.append(material.number)
        return _SIDES

    def find(
        self,
        rows: Sequence[Mapping[str, Any]],
        pulls: frozenset[tuple[str, int]],
        stored: Sequence[Sequence[Mapping[str, Any]]],
    ) -> list[issues.Linked]:
        self.searched += [found["issue_number"] for found in rows]
        linked = issues.find(rows, offline(*self.issues), nobody(), pulls, stored)
        return [dataclasses.replace(found, unknown=self.unknown) for found in linked]


@pytest.fixture
def counted() -> _Counted:
    return _Counted()


@pytest.fixture
def runner(tmp_path: Path) -> work.Work:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    return work.Work(ledger, Warehouse(tmp_path / "warehouse.duckdb"), 0.25)


def _run(
    runner: work.Work,
    counted: _Counted,
    *rows: Mapping[str, Any],
    template: str | None = None,
    origin: str = "file 1",
    force: bool = False,
) -> list[dict[str, Any]]:
    """Rows of the month after a run of the stage; they are stored as a run stores them."""
    given = rows or (row(), row(issue_number=10, body="No issue."), row(issue_number=11))
    verdicts = [{**found, "is_performance": found["issue_number"] != 11} for found in given]
    items = candidates.items(
        [(_MONTH, verdicts)],
        [(_MONTH, given)],
        counted.find,
        lambda month: asset.known(runner, month, force=force),
        counted.name,
        {"offline_source": origin},
    )
    shown = jinja2.Template(template) if template else statement.template()
    outcome = runner.run(
        CANDIDATE_PRS,
        items,
        lambda candidate: candidates.state(candidate, counted, shown),
        force=force,
    )
    runner.warehouse.replace(CANDIDATE_PRS.name, outcome.rows[CANDIDATE_PRS.name])
    stored = runner.warehouse.read(CANDIDATE_PRS.name, [_MONTH])
    return sorted((r for b in stored for r in b.to_pylist()), key=lambda r: r["issue_number"])


def test_performance_pull_requests_have_rows_and_a_second_run_asks_nothing(
    runner: work.Work, counted: _Counted
) -> None:
    first = _run(runner, counted)
    assert [found["issue_number"] for found in first] == [9, 10]
    assert [found["linked_issues"] for found in first] == [[3], []]
    assert _run(runner, counted) == first
    assert (sorted(counted.extracted), counted.searched) == ([9, 10], [9, 10])


def test_another_template_costs_no_request_and_no_token(
    runner: work.Work, counted: _Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _run(runner, counted)
    monkeypatch.setattr(candidate_prs, "rendering", lambda: "another")
    counted.down = True
    after = _run(runner, counted, template="{{ repo }}: {{ initial_observations }}")
    assert after[0]["statement"] == f"r: {_SIDES.initial_observations}"
    changed = {name for name in after[0] if after[0][name] != before[0][name]}
    assert changed == {"statement", "rendering"}
    assert (sorted(counted.extracted), counted.searched) == ([9, 10], [9, 10])


def test_another_source_is_asked_but_the_same_issues_are_not_extracted_again(
    runner: work.Work, counted: _Counted
) -> None:
    _run(runner, counted)
    _run(runner, counted, origin="file 2")
    assert (sorted(counted.extracted), counted.searched) == ([9, 10], [9, 10, 9, 10])
    counted.issues = [issue(body="It takes 4 minutes.")]
    _run(runner, counted, origin="file 3")
    assert sorted(counted.extracted) == [9, 9, 10]


def test_a_diff_that_comes_later_is_compared_without_extracting_again(
    runner: work.Work, counted: _Counted
) -> None:
    assert not _run(runner, counted, row(patch=None))[0]["leak_suspected"]
    patch = "+++ b/r.py\n+`Found` = this_file\n"
    assert _run(runner, counted, row(patch=patch))[0]["leak_suspected"] is False
    assert (counted.extracted, counted.searched) == ([9], [9])


def test_force_asks_and_extracts_again(runner: work.Work, counted: _Counted) -> None:
    _run(runner, counted)
    _run(runner, counted, force=True)
    assert (sorted(counted.extracted), counted.searched) == ([9, 9, 10, 10], [9, 10, 9, 10])


def test_what_could_not_be_found_out_is_asked_again_by_the_next_run(
    runner: work.Work, counted: _Counted
) -> None:
    counted.unknown, counted.issues = "GitHub was down", []
    [found] = _run(runner, counted, row())
    assert (found["unknown"], found["statement"]) == ("GitHub was down", None)
    assert found["reason"] == "unknown: GitHub was down"
    assert counted.extracted == []  # of what is not whole nothing is extracted, or paid for
    counted.unknown, counted.issues = None, [issue()]
    [found] = _run(runner, counted, row())
    assert (found["unknown"], found["linked_issues"]) == (None, [3])
    assert (counted.extracted, counted.searched) == ([9], [9, 9])


def test_an_issue_that_is_gone_stays_as_it_was_seen(runner: work.Work, counted: _Counted) -> None:
    [before] = _run(runner, counted, row())
    counted.issues = []
    [after] = _run(runner, counted, row(body=f"{row()['body']} "))
    assert after["linked_issues"] == before["linked_issues"] == [3]
    assert after["statement"] == before["statement"]
    assert after["left_out"] == ["o/r#3 is as it was seen before"]


def test_a_merge_commit_that_was_corrected_is_taken_over(
    runner: work.Work, counted: _Counted
) -> None:
    _run(runner, counted, row())
    [found] = _run(runner, counted, row(merge_commit_sha="b" * 40))
    assert found["merge_commit_sha"] == "b" * 40
    assert counted.extracted == [9]


def test_a_model_that_is_down_has_not_said_that_there_is_no_problem(
    runner: work.Work, counted: _Counted
) -> None:
    counted.down = True
    with pytest.raises(Exception, match="the model is down"):
        _run(runner, counted, row())
    counted.down = False
    [found] = _run(runner, counted, row())
    assert found["initial_observations"] == _SIDES.initial_observations


def test_rows_of_a_version_before_these_columns_are_made_again(
    runner: work.Work, counted: _Counted
) -> None:
    [found] = _run(runner, counted, row())
    new = ("issues", "left_out", "asked", "inputs", "unknown", "leaks", "cut", "rendering")
    old = {**found, **dict.fromkeys(new), "extractor": "rules/1"}
    runner.run(
        CANDIDATE_PRS,
        [(_MONTH, [work.Item("o/r#9", old, "old")])],
        lambda value: work.Answer([value]),
    )
    assert _run(runner, counted, row()) == [found]
