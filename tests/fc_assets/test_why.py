"""Why a month would run, from what the ledger and its lock say."""

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from fc_assets import fingerprint, why
from fc_assets.fingerprint import Fingerprint
from fc_assets.lock_files import Code
from fc_assets.tables import STAGES
from fc_resources.ledger_waiting import Neighbor, PutOff
from tests.fc_assets.homes import JANUARY, WrittenHome

FEBRUARY = datetime.date(2026, 2, 1)


@pytest.fixture
def home(tmp_path: Path) -> WrittenHome:
    return WrittenHome(tmp_path / "home")


def test_nothing_is_left_of_what_is_written(home: WrittenHome) -> None:
    assert home.situation().nothing_left(sorted(STAGES), [JANUARY])
    assert {str(home.verdict(stage)) for stage in STAGES} == {"nothing"}


def test_a_month_that_never_ran_runs_after_what_it_is_made_from(home: WrittenHome) -> None:
    alone = home.situation().verdict(2, FEBRUARY)
    assert (alone.runs, str(alone)) == (False, "never run; needs repositories, run stage 1 first")
    both = home.situation().verdicts([1, 2], [FEBRUARY])
    assert [(verdict.runs, str(verdict)) for verdict in both] == [(True, "never run")] * 2


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"state": "interrupted", "total": 5, "done": 2}, "unfinished", "interrupted, 3 of 5"),
        ({"state": "refused"}, "unfinished", "refused, 0 of 0 items left"),
        ({"failed": 2, "unknown": 1}, "failed before", "3 items to try again"),
    ],
)
def test_what_is_not_done_runs_again(
    home: WrittenHome, changes: dict[str, Any], kind: str, text: str
) -> None:
    home.change("packages", **changes)
    [reason] = home.verdict(4).reasons
    assert reason.kind == kind
    assert text in reason.text


def test_new_input_is_named(home: WrittenHome) -> None:
    home.change("pull_requests", version="pull_requests 2")
    assert [reason.text for reason in home.verdict(3).reasons] == ["new input: pull_requests"]
    assert [reason.text for reason in home.verdict(5).reasons] == ["new input: pull_requests"]
    assert home.kinds(4) == []


def test_a_changed_parameter_tells_before_and_now(home: WrittenHome) -> None:
    [reason] = home.verdict(1, min_stars=100).reasons
    assert (reason.kind, reason.text) == ("changed parameter", "changed: min_stars 500 → 100")
    path, before = "/" + "x" * 90, home.states["repositories", JANUARY].inputs
    home.change("repositories", inputs={**before, "offline_source": f"{path}/a 12"})
    [reason] = home.verdict(1, offline_source=f"{path}/b").reasons
    assert reason.text == "changed: offline_source …xxxxxxx/a 12 → …xxxxxxx/b"
    home.settings.fc_memory = "8g"
    [reason] = home.verdict(6).reasons
    assert reason.text == "changed: verification {'memory': '4g'} → {'memory': '8g'}"


def test_no_token_is_told(tmp_path: Path) -> None:
    home = WrittenHome(tmp_path / "home", gh_tokens="ghp_secret", dspy_api_key="sk-secret")
    home.settings.gh_tokens = None
    assert "secret" not in "".join(map(str, home.situation().verdicts(sorted(STAGES), [JANUARY])))
    assert home.verdict(
        1
    ).refused == "repositories 2026-01 was made with GitHub; set GH_TOKENS, " + (
        "or FC_HOME to another folder"
    )
    assert not home.verdict(1).runs


def test_changed_code_makes_a_cheap_month_anew_and_names_the_function(home: WrittenHome) -> None:
    [name] = home.made_by_old_code("packages")
    verdict = home.verdict(4)
    assert [(r.kind, r.text) for r in verdict.reasons] == [
        ("changed code", f"changed code: {name}")
    ]
    assert (verdict.runs, verdict.changed, verdict.outdated) == (True, (name,), False)
    assert home.situation().anew(4, [JANUARY, FEBRUARY]) == {JANUARY}


@pytest.mark.parametrize("stage", [6, 7])
def test_changed_code_only_shows_costly_months_as_outdated(home: WrittenHome, stage: int) -> None:
    [name] = home.made_by_old_code(STAGES[stage].name)
    verdict = home.verdict(stage)
    assert (verdict.runs, verdict.changed, verdict.outdated) == (False, (name,), True)
    assert str(verdict) == f"nothing; outdated: {name}"
    assert home.situation().nothing_left(sorted(STAGES), [JANUARY])
    assert home.situation().anew(stage, [JANUARY]) == set()
    assert home.situation(force=True).anew(stage, [JANUARY]) == {JANUARY}
    assert home.kinds(stage, force=True) == ["forced"]


@pytest.mark.parametrize(
    ("stage", "settings", "anew"),
    [
        (1, {}, True),
        (1, {"gh_tokens": "ghp"}, False),
        (2, {}, True),
        (2, {"gh_tokens": "ghp"}, False),
        (3, {}, True),
        (3, {"gh_tokens": "ghp"}, True),
        (3, {"dspy_model": "openai/m"}, False),
        (4, {"gh_tokens": "ghp", "dspy_model": "openai/m"}, True),
        (5, {}, True),
        (5, {"gh_tokens": "ghp"}, False),
        (5, {"dspy_model": "openai/m"}, False),
    ],
)
def test_nobody_is_asked_or_paid_again_because_code_changed(
    tmp_path: Path, stage: int, settings: dict[str, Any], anew: bool
) -> None:
    home = WrittenHome(tmp_path / "home", **settings)
    home.made_by_old_code(STAGES[stage].name)
    verdict = home.verdict(stage)
    assert (verdict.runs, verdict.outdated) == (anew, not anew)


def test_code_that_is_not_known_has_not_changed(home: WrittenHome) -> None:
    home.lock("packages", Code())
    assert str(home.verdict(4)) == "nothing"
    (home.settings.fc_home / "locks" / "packages" / "2026-01.lock").unlink()
    assert str(home.verdict(4)) == "nothing"


def test_a_lock_of_other_rows_is_not_believed(home: WrittenHome) -> None:
    home.made_by_old_code("packages", output="packages 0")
    assert str(home.verdict(4)) == "nothing"


def test_changes_of_many_functions_are_counted(home: WrittenHome) -> None:
    now = fingerprint.of("packages").definitions
    home.lock("packages", Code.of(Fingerprint("1-old", dict.fromkeys(now, "before"))))
    verdict = home.verdict(4)
    assert str(verdict).endswith(f" and {len(now) - 3} more")
    assert len(verdict.changed) == len(now)


def test_what_waits_for_a_limit_says_until_when(home: WrittenHome) -> None:
    home.change("candidate_prs", unknown=1)
    soon, gone = time.time() + 3600, time.time() - 1
    home.waits["put_off"] = [
        PutOff("candidate_prs", JANUARY, soon, "the model's limit", 0),
        PutOff("packages", JANUARY, gone, "over", 0),
    ]
    assert home.kinds(5) == ["failed before", "paused"]
    assert str(home.verdict(5)).endswith("UTC: the model's limit")
    assert home.kinds(4) == []
    home.waits["put_off"] = [PutOff("candidate_prs", JANUARY, 1e18, "for ever", 0)]
    assert "9999" in str(home.verdict(5))


def test_neighbors_that_are_to_be_tried_are_told(home: WrittenHome) -> None:
    home.waits["neighbors"] = [Neighbor(JANUARY, "o/r#1", "recipe", "o/r#2")]
    verdicts = home.situation().verdicts(sorted(STAGES), [JANUARY])
    assert [(v.stage, str(v)) for v in verdicts if v.runs] == [
        (6, "1 to try with the scripts of a neighbor"),
        (7, "after candidate_containers"),
    ]


def test_without_its_warehouse_a_month_is_not_written(home: WrittenHome) -> None:
    home.settings.warehouse.unlink()
    assert home.kinds(4) == ["unfinished"]


def test_the_second_table_of_a_stage_counts_too(home: WrittenHome) -> None:
    home.change("error_logs", state="finished")
    assert str(home.verdict(6)) == "error_logs not written"


def test_what_is_made_from_what_runs_may_run(home: WrittenHome) -> None:
    home.change("pr_classifications", failed=1)
    found = home.situation().verdicts(sorted(STAGES), [JANUARY])
    assert [(v.stage, str(v)) for v in found if v.runs] == [
        (3, "1 items to try again"),
        (4, "after pr_classifications"),
        (5, "after pr_classifications"),
        (6, "after candidate_prs, packages"),
        (7, "after candidate_prs, pr_classifications, candidate_containers, packages"),
    ]


@pytest.mark.parametrize("number", [0, 3, 4])
def test_few(number: int) -> None:
    names = [str(n) for n in range(number)]
    assert why.few(names) == {0: "", 3: "0, 1, 2", 4: "0, 1, 2 and 1 more"}[number]
