"""Stage 5 as users run it, with a loopback GitHub and a loopback model: what it costs, and once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fc_assets import sample
from fc_resources.ledger import Ledger
from tests import samples
from tests.fakes import github as fake_github
from tests.fakes import github_data
from tests.fakes.models import Models
from tests.fakes.models_wire import Request

pytestmark = pytest.mark.github
_NAME = "/".join(sample.REPOSITORY)
_MONTHS = ("--start-date", "2026-01-01", "--end-date", "2026-03-01")


@pytest.fixture
def github() -> Iterator[fake_github.GitHub]:
    """GitHub with the issues and pull requests of the sample."""
    with fake_github.GitHub(("ghp_one",)) as fake:
        fake.fill(sample.load("pull_requests"))
        for issue in sample.load("issues"):
            comments = [
                github_data.comment(c["body"], author=c["author"], createdAt=c["created_at"])
                for c in issue["comments"]
            ]
            known = {name: issue[name] for name in ("title", "body", "author")}
            number, at = issue["issue_number"], issue["created_at"]
            fake.issue(_NAME, number, **known, createdAt=at, comments=comments)
        yield fake
        assert fake.invalid_queries == []


@pytest.fixture
def model() -> Iterator[Models]:
    def says(request: Request) -> str | dict[str, str]:
        sides = ("initial_observations", "triage", "solution_overview", "solution_observations")
        quoted = [line[2:] for line in request.user.splitlines() if line.startswith("> It")]
        return dict.fromkeys(sides, " ".join(quoted)) if request.fields else "OK"

    with Models(says, tokens=("sk-1",)) as fake:
        yield fake
        assert fake.invalid_requests == []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The sample without its issues, up to stage 3."""
    home = samples.home_with_sample(tmp_path / "home")
    (home / "offline" / "issues.parquet").unlink()
    done = samples.fc_data(home, *_MONTHS, *(f"--stage={n}" for n in (1, 2, 3)))
    assert done.returncode == 0, done.stderr
    return home


def _run(home: Path, github: fake_github.GitHub, *arguments: object, **extra: str) -> str:
    asked = {"GH_TOKENS": "ghp_one", "FC_GITHUB_URL": github.url}
    done = samples.fc_data(home, *_MONTHS, "--stage=5", *arguments, **asked, **extra)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_issues_of_a_month_take_a_request_per_depth_and_are_asked_for_once(
    home: Path, github: fake_github.GitHub
) -> None:
    _run(home, github)
    rows = samples.tables(home)["candidate_prs"]
    assert len([row for row in rows if row["statement"]]) >= 8
    assert {row["extractor"] for row in rows} == {"rules/3"}
    # Two months, two depths.
    assert [request.operation for request in github.requests] == ["Issues"] * len(github.requests)
    asked = len(github.requests)
    assert asked <= 4
    _run(home, github)
    assert len(github.requests) == asked
    _run(home, github, "--force")
    assert len(github.requests) == 2 * asked
    assert samples.tables(home)["candidate_prs"] == rows


def test_a_model_is_asked_once_for_a_pull_request(
    home: Path, github: fake_github.GitHub, model: Models
) -> None:
    extra = {
        "DSPY_MODEL": "openai/gpt-4o-mini",
        "DSPY_API_BASE": model.api_base,
        "DSPY_API_KEY": "sk-1",
    }
    _run(home, github, **extra)
    rows = samples.tables(home)["candidate_prs"]
    assert {row["extractor"] for row in rows} == {"openai/gpt-4o-mini; extract/1"}
    # Whatever it was told as the problem was told as the solution, too.
    assert all(row["leak_suspected"] for row in rows if row["statement"])
    asked = [request for request in model.requests if request.fields]
    assert len(asked) == len(rows)
    ledger = Ledger(f"sqlite:///{home / 'ledger.sqlite'}")
    bills = [bill for bill in ledger.bills() if bill.stage == "candidate_prs"]
    assert sum(bill.items for bill in bills) == len(rows)
    _run(home, github, **extra)
    assert [request for request in model.requests if request.fields] == asked
    assert samples.tables(home)["candidate_prs"] == rows
