"""What a month depends on besides its tables, and when that makes it run again."""

import dataclasses
import datetime
from pathlib import Path

import pytest

from fc_assets import months, plan
from fc_assets.options import Options
from fc_assets.why import Situation
from fc_resources.errors import UsageError
from fc_resources.ledger import Progress
from fc_resources.settings import Settings

JANUARY = datetime.date(2026, 1, 1)


def _written(inputs: dict[str, str]) -> Progress:
    counts = dict.fromkeys(("total", "done", "skipped", "failed", "unknown"), 0)
    return Progress("written", "run", **counts, seconds=0.0, inputs=inputs, version="v")


def _settings(**fields: object) -> Settings:
    return Settings.model_validate({"gh_tokens": "ghp_one", **fields})


@pytest.mark.parametrize("stage", [1, 2])
def test_a_month_listed_before_its_end_is_listed_again(stage: int) -> None:
    """Otherwise what was merged after the first run would be lost for good."""
    given = plan.parameters(stage, Options(), _settings())
    running = months.month_of(datetime.datetime.now(datetime.UTC))
    assert "merged_until" in plan.of_month(given, running)
    assert "merged_until" not in plan.of_month(given, JANUARY)
    early = {**plan.of_month(given, JANUARY), "merged_until": "2026-01-20", "repositories": "v"}
    names = {1: "repositories", 2: "pull_requests"}
    states = {
        ("repositories", JANUARY): _written(early),
        (names[stage], JANUARY): _written(early if stage == 2 else {**early, "repositories": ""}),
    }
    reasons = Situation(_settings(), Options(), states).verdict(stage, JANUARY).reasons
    assert [r.text for r in reasons if r.kind == "changed parameter"] == [
        "changed: merged_until 2026-01-20 → none"
    ]


@pytest.mark.parametrize("stage", [1, 2])
def test_an_offline_source_tells_all_of_a_month_at_once(stage: int) -> None:
    given = plan.parameters(stage, Options(), _settings(gh_tokens=None))
    running = months.month_of(datetime.datetime.now(datetime.UTC))
    assert plan.of_month(given, running) == given


def test_a_token_is_no_parameter_but_whether_there_is_one_is() -> None:
    one, other = (plan.parameters(2, Options(), _settings(gh_tokens=t)) for t in ("a", "b"))
    none = plan.parameters(2, Options(), _settings(gh_tokens=None))
    assert one == other != none


@pytest.mark.parametrize("stage", [1, 2, 5])
def test_a_month_made_with_github_is_not_made_again_without(stage: int) -> None:
    name = {1: "repositories", 2: "pull_requests", 5: "candidate_prs"}[stage]
    states = {(name, JANUARY): _written({"github": "https://api.github.com"})}
    given = plan.parameters(stage, Options(), _settings())
    plan.check_origins(stage, JANUARY, states, given)
    given = plan.parameters(stage, Options(), _settings(gh_tokens=None))
    with pytest.raises(UsageError, match="2026-01 was made with GitHub; set GH_TOKENS"):
        plan.check_origins(stage, JANUARY, states, given)
    plan.check_origins(stage, datetime.date(2026, 2, 1), states, given)
    nothing = dataclasses.replace(states[name, JANUARY], version=None)
    plan.check_origins(stage, JANUARY, {(name, JANUARY): nothing}, given)


def test_scripts_of_ones_own_are_a_parameter_and_where_the_home_is_is_none(tmp_path: Path) -> None:
    def scripts(home: str, text: str) -> str:
        folder = tmp_path / home / "scripts" / "o" / "r"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "docker_build_pkg.sh").write_text(text)
        settings = Settings.model_validate({"fc_home": tmp_path / home})
        return plan.parameters(6, Options(agent="none"), settings)["scripts"]

    before = scripts("a", "make")
    assert scripts("b", "make") == before
    assert scripts("b", "make all") != before
