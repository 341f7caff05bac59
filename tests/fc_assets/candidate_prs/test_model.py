"""A language model as the extractor, over the real wire: what it is asked, what comes of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fc_assets.candidate_prs import asset, model, rules
from fc_assets.candidate_prs.sides import LONGEST
from fc_resources.errors import PermanentError, StopError, UnavailableError
from fc_resources.ledger import Ledger
from fc_resources.llm import Backend, Llm
from tests.fakes import models_faults
from tests.fakes.models import Models
from tests.fakes.models_wire import Fault
from tests.fc_assets.candidate_prs.material import answer, comment, issue, state

_KEY = "sk-1"
_SAYS = {
    "initial_observations": "Reading a file takes 3 minutes.",
    "triage": "A profile shows `read_lines`.",
    "solution_overview": "Lines are kept.",
    "solution_observations": "5x faster",
}


@pytest.fixture
def says() -> dict[str, str]:
    return dict(_SAYS)


@pytest.fixture
def fake(says: dict[str, str]) -> Iterator[Models]:
    with Models(lambda request: says if request.fields else "OK", tokens=(_KEY,)) as fake:
        yield fake
    assert fake.invalid_requests == []


@pytest.fixture(params=["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"])
def llm(fake: Models, tmp_path: Path, request: pytest.FixtureRequest) -> Llm:
    kind = "anthropic" if request.param.startswith("anthropic/") else "dspy"
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    return Llm(Backend(kind, request.param, _KEY, fake.api_base), ledger, backoff_s=0.01)


def test_the_sides_of_a_model_are_stored_and_the_problem_is_shown(llm: Llm) -> None:
    row = state(issue(), extractor=asset.extractor_of(llm))
    assert {name: row[name] for name in _SAYS} == _SAYS
    assert row["extractor"] == f"{llm.name}; extract/1"
    assert _SAYS["initial_observations"] in row["statement"]
    assert _SAYS["triage"] in row["statement"]
    assert "Lines are kept" not in row["statement"]
    assert "Lines are kept" in row["solution"]
    assert not row["leak_suspected"]


def test_it_reads_everything_from_before_the_merge_without_names(llm: Llm, fake: Models) -> None:
    said = [comment("Reproduced by @carl.", "bob"), comment("Fixed by #9.", "bob")]
    event = {"kind": "review", "reference": None, "is_pull_request": None, **comment("Nice!")}
    known = (issue(body="It is slow, like x/y#4.", comments=said), issue(4, repo_name="x/y"))
    state(*known, extractor=model.Model(llm), events=[event])
    asked = fake.requests[-1].user
    for text in (
        "> It is slow",
        "x/y#4, depth 2",
        "> perf: parse once",
        "> Reproduced by",
        "Nice!",
    ):
        assert text in asked
    for text in ("carl", "bob", "ana", "Fixed by"):
        assert text not in asked


def test_nothing_is_asked_where_nothing_was_written(llm: Llm, fake: Models) -> None:
    row = state(body="", extractor=model.Model(llm))
    assert row["reason"] == "no linked issue from before the merge"
    assert fake.requests == []


@pytest.mark.parametrize("nothing", ["", "None", "N/A.", "*Not mentioned*", "No observations", "-"])
def test_no_observations_are_no_statement_and_never_the_raw_body(
    llm: Llm, says: dict[str, str], nothing: str
) -> None:
    says.update(initial_observations=nothing, triage=nothing)
    row = state(issue(), extractor=model.Model(llm))
    assert (row["statement"], row["initial_observations"]) == (None, None)
    assert row["reason"] == "nothing about the problem in the linked issues"


def test_answers_are_bounded_and_cleaned(llm: Llm, says: dict[str, str]) -> None:
    says.update(
        initial_observations="> It is slow.\n> See ![x](https://t.example.org/p), a\0@b.org\n",
        triage="It takes long. " * 10_000,
    )
    row = state(issue(), extractor=model.Model(llm))
    assert row["initial_observations"].startswith("It is slow.\nSee (image x), ")
    assert "\0" not in row["initial_observations"]
    assert len(row["triage"]) <= LONGEST


def test_a_solution_taken_for_the_problem_is_marked(llm: Llm, says: dict[str, str]) -> None:
    body = "Keeps `parsed_cache` between calls, which makes it 5x faster."
    says.update(initial_observations=body, triage="", solution_overview="")
    row = state(issue(), body=f"Fixes #3. {body}", extractor=model.Model(llm))
    assert {leak["kind"] for leak in row["leaks"]} >= {"identifier", "figure"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (models_faults.server_error(), UnavailableError),
        (models_faults.cut(), UnavailableError),
        (models_faults.refuses(), PermanentError),
        (models_faults.invalid_json(), UnavailableError),
        (models_faults.empty(), PermanentError),
        (models_faults.too_long(), PermanentError),
        (models_faults.without_field("triage"), PermanentError),
        (models_faults.wrong_types(), PermanentError),
        (models_faults.unauthorized(), StopError),
        (models_faults.no_quota(), StopError),
    ],
    ids=lambda value: getattr(value, "__qualname__", str(value)).split(".")[0],
)
def test_no_fault_becomes_an_answer(
    llm: Llm, fake: Models, fault: Fault, error: type[Exception]
) -> None:
    llm.check()
    fake.fault(fault, times=99)
    started = time.monotonic()
    with pytest.raises(error):
        answer(issue(), extractor=model.Model(llm))
    assert time.monotonic() - started < 20


def test_without_a_model_rules_extract(tmp_path: Path) -> None:
    none = Llm(None, Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    assert isinstance(asset.extractor_of(none), rules.Rules)
