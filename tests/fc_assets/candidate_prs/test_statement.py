"""From what was extracted to a problem statement that does not tell the solution."""

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest

from fc_assets import candidate_prs, sample
from fc_assets.candidate_prs import candidates, issues, own, rules, statement
from fc_assets.candidate_prs.evaluate import evaluate
from fc_assets.candidate_prs.sides import Material, Sides
from fc_assets.tables import CANDIDATE_PRS
from fc_resources.offline import OfflineSource
from tests.fc_assets.candidate_prs.material import answer, comment, issue, nobody, row, state


@dataclasses.dataclass
class Said:
    """An extractor that has said something, whatever was written."""

    sides: Sides
    name: str = "said/1"

    def extract(self, material: Material) -> Sides:
        return self.sides


def test_the_statement_holds_the_problem_and_not_the_pull_request() -> None:
    found = state(issue(comments=[comment("Also on Windows.")]))
    assert "Reading a file takes 3 minutes." in found["statement"]
    assert "Also on Windows." in found["statement"]
    assert "parsed_cache" not in found["statement"]
    assert "parsed_cache" in found["solution"]
    assert (found["linked_issues"], found["leak_suspected"], found["reason"]) == ([3], False, None)
    assert (found["extractor"], found["unknown"]) == ("rules/3", None)


@pytest.mark.parametrize(
    ("known", "sides", "reason"),
    [
        ((), None, "no linked issue from before the merge"),
        ((), Sides(solution_overview="All."), "no linked issue from before the merge"),
        ((issue(),), Sides(), "nothing about the problem in the linked issues"),
        ((issue(),), Sides("---\n", "\n"), "nothing about the problem in the linked issues"),
    ],
)
def test_without_a_problem_the_row_says_so_and_never_shows_the_raw_body(
    known: tuple[dict[str, Any], ...], sides: Sides | None, reason: str
) -> None:
    found = state(*known, extractor=Said(sides) if sides else None)
    assert (found["statement"], found["observations"], found["reason"]) == (None, None, reason)
    assert not found["leak_suspected"]


def test_what_leaks_is_cut_when_the_rest_says_something() -> None:
    body = "Why is there no parsed_cache here? Reading old_name takes 3 s."
    found = state(issue(body=body))
    assert "old_name takes 3 s." in found["statement"]
    assert "parsed_cache" not in found["statement"]
    assert [(c["kind"], c["what"]) for c in found["cut"]] == [("identifier", "parsed_cache")]
    assert (found["leak_suspected"], found["leaks"]) == (False, [])


def test_what_leaks_and_says_all_is_marked_with_the_evidence() -> None:
    leaking = Sides("The parsed_cache is missing, with it my program is 5x faster, see #9.")
    found = state(issue(), extractor=Said(leaking))
    assert found["leak_suspected"]
    assert found["leaks"] == [
        {"kind": "identifier", "what": "parsed_cache"},
        {"kind": "figure", "what": "5x"},
        {"kind": "link", "what": "o/r#9"},
    ]
    assert found["reason"] == "identifier parsed_cache; figure 5x; link o/r#9"
    assert found["cut"] == []


def test_an_extractor_that_takes_the_solution_for_the_problem_is_found_out() -> None:
    body = "This keeps all of the parsed lines of a file between calls. Closes #3."
    found = state(issue(), body=body, extractor=Said(Sides(body)))
    assert {leak["kind"] for leak in found["leaks"]} == {"sentence"}


def test_text_of_others_is_not_a_template() -> None:
    text = "It takes {{ 7 * 7 }} s {% raw %} {{ self.__class__ }} {# no #} ${x} {{ config }}"
    assert text in state(issue(body=text))["statement"]


def test_another_template_or_leak_check_needs_only_the_row_and_the_diff() -> None:
    found = state(issue(), extractor=Said(Sides("Slow for me.", "It is the reader.", "x", "y")))
    other = jinja2.Template("{{ repo }}: {{ triage }} {{ initial_observations }}")
    given = row()
    again = statement.compose(found, given["title"], given["body"], given["patch"], other)
    assert again["statement"] == "r: It is the reader. Slow for me."
    same = statement.compose(
        found, given["title"], given["body"], given["patch"], statement.template()
    )
    assert same == {name: found[name] for name in same}


def test_the_version_of_a_rendering_changes_with_the_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = candidate_prs.rendering()
    monkeypatch.setattr(candidate_prs, "template_text", lambda: "{{ repo }}")
    candidate_prs.rendering.cache_clear()
    try:
        assert candidate_prs.rendering() != before
    finally:
        candidate_prs.rendering.cache_clear()
    assert candidate_prs.extractor(None) == candidate_prs.RULES == "rules/3"
    assert candidate_prs.extractor("openai/gpt-x") == "openai/gpt-x; extract/1"


def test_rows_fit_the_table() -> None:
    month = datetime.date(2026, 1, 1)
    rows = [
        *answer(issue(comments=[comment("3 s", None)])).rows,
        *answer(issue(body="Add parsed_cache.")).rows,
        *answer().rows,
    ]
    batch = CANDIDATE_PRS.batch([{"partition_month": month, **found} for found in rows])
    stored = batch.to_pylist()
    assert [found["statement"] for found in stored] == [found["statement"] for found in rows]
    assert stored[0]["issues"] == rows[0]["issues"]


def test_no_statement_of_the_sample_tells_its_solution(tmp_path: Path) -> None:
    known = issues.offline(OfflineSource(sample.unpack(tmp_path / "sample")))
    performance = {r["pr_number"] for r in sample.load("labels") if r["is_performance_commit"]}
    made = []
    for raw in sample.load("pull_requests"):
        if raw["pr_number"] not in performance:
            continue
        given = row(
            owner="formulacode",
            repo="wordmill",
            issue_number=raw["pr_number"],
            title=raw["pr_title"],
            body=raw["pr_body"],
            merged_at=datetime.datetime.fromisoformat(raw["pr_merged_at"]),
            patch=raw["original_patch"],
        )
        [linked] = issues.find([given], known, nobody())
        candidate = candidates.Candidate(given, own.texts(given), linked, "", "", None)
        made += candidates.state(candidate, rules.Rules(), statement.template()).rows
    report = evaluate(made)
    assert (report.rows, report.statements, report.leak_rate) == (10, 9, 0)
    assert sum(report.empty.values()) == 1
    names = {entry["author"] for i in known.values() for entry in (i, *i["comments"])}
    for found in made:
        shown = found["statement"] or ""
        assert f"#{found['issue_number']}" not in shown
        assert "/home/" not in shown.replace("/home/user/", "")
        assert not any(name in str(found["issues"]) + shown for name in names)
