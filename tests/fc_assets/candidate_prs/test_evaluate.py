"""What a report on statements counts."""

from fc_assets import candidate_prs
from fc_assets.candidate_prs.evaluate import COLUMNS, Report, evaluate
from fc_assets.candidate_prs.sides import Sides
from tests.fc_assets.candidate_prs.material import comment, issue, state
from tests.fc_assets.candidate_prs.test_statement import Said


def test_statements_reasons_leaks_and_cuts_are_counted() -> None:
    leaking = Said(Sides("The parsed_cache is missing, with it my program is 5x faster."))
    unmarked = state(issue(), issue_number=12, extractor=Said(Sides("It is 7x faster with it.")))
    unmarked["solution"] = "Now 7x faster."
    rows = [
        state(issue()),
        state(issue(body="Why no parsed_cache here? Reading old_name takes 3 s."), issue_number=10),
        state(issue(), issue_number=11, extractor=leaking),
        unmarked,
        {**state(), "unknown": "GitHub was down"},
        state(issue(), extractor=Said(Sides())),
    ]
    report = evaluate([{name: row[name] for name in COLUMNS} for row in rows])
    assert (report.rows, report.statements, report.suspected, report.unknown) == (6, 4, 1, 1)
    assert report.leak_rate == 0.5
    assert report.leaks == {"identifier": 1, "figure": 1}
    assert report.unmarked == ["o/r#12"]
    assert (report.with_cuts, report.cut) == (1, {"identifier": 1})
    assert report.extractors == {candidate_prs.RULES: 3, "said/1": 3}
    assert report.empty == {
        "no linked issue from before the merge": 1,
        "nothing about the problem in the linked issues": 1,
    }
    said = "\n".join(report.lines())
    assert "leak rate 50.0%: 1 marked (1 figure, 1 identifier), 1 not marked" in said
    assert "o/r#11: identifier parsed_cache; figure 5x" in said


def test_what_others_say_and_the_pull_request_itself_leak_as_when_the_statement_was_made() -> None:
    idea = "Keep the parsed file in memory between two calls."
    told = state(issue(comments=[comment(idea, author="ben")]), body=f"Fixes #3. {idea}")
    assert (told["statement"], told["leak_suspected"]) != (None, True)
    for leaking in (idea, "PR 9 makes it quick."):
        assert evaluate([{**told, "observations": leaking}]).unmarked == ["o/r#9"]


def test_nothing_is_no_rate() -> None:
    assert evaluate([]) == Report()
    assert Report().leak_rate is None
    assert "leak rate -" in "\n".join(Report().lines())


def test_rows_of_before_these_columns_are_counted() -> None:
    new = ("issues", "left_out", "asked", "inputs", "unknown", "leaks", "cut", "rendering")
    assert evaluate([{**state(issue()), **dict.fromkeys(new)}]).statements == 1
