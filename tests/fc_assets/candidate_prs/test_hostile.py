"""Text that tries to be more than data: the stored shape stays, nothing runs, nothing gets out."""

import datetime
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fc_assets.candidate_prs import model, rules, statement
from fc_assets.candidate_prs.sides import Extractor
from fc_assets.tables import CANDIDATE_PRS
from fc_resources.ledger import Ledger
from fc_resources.llm import Backend, Llm
from tests.fakes.models import Models
from tests.fc_assets.candidate_prs.material import comment, issue, state

_SECRET = "sk-very-secret-0123456789"
_HOSTILE: dict[str, str] = {
    found["name"]: found["text"] * found.get("times", 1)
    for found in json.loads(Path(__file__).with_name("hostile.json").read_text("utf-8"))
}
_FIELDS = ("initial_observations", "triage", "solution_overview", "solution_observations")
_FRAME = statement.template().render(repo="r", initial_observations="\0", triage="")


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_TEST_SECRET", _SECRET)


@pytest.fixture
def said() -> dict[str, str]:
    """What the model answers, to the letter."""
    return dict.fromkeys(_FIELDS, "")


@pytest.fixture
def fake(said: dict[str, str]) -> Iterator[Models]:
    with Models(lambda request: said if request.fields else "OK", tokens=(_SECRET,)) as fake:
        yield fake
    assert fake.invalid_requests == []


@pytest.fixture
def asked(fake: Models, tmp_path: Path) -> model.Model:
    backend = Backend("dspy", "openai/gpt-4o-mini", _SECRET, fake.api_base)
    return model.Model(Llm(backend, Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")))


def _everywhere(text: str, extractor: Extractor) -> dict[str, Any]:
    """The row of a pull request and an issue that say the text wherever one can."""
    said = [comment(text), comment(text, "bob")]
    event = {"kind": "comment", "reference": None, "is_pull_request": None, **comment(text, text)}
    known = issue(title=text, body=text, comments=said)
    return state(known, extractor=extractor, title=text, body=f"Fixes #3\n\n{text}", events=[event])


def _check(row: Mapping[str, Any], extractor: str) -> None:
    """It fits the table, and what is ours is ours."""
    month = datetime.date(2026, 1, 1)
    batch = CANDIDATE_PRS.batch([{"partition_month": month, **row}])
    [stored] = batch.to_pylist()
    assert set(row) == {column.name for column in CANDIDATE_PRS.columns}
    assert (stored["owner"], stored["repo"], stored["issue_number"]) == ("o", "r", 9)
    assert stored["extractor"] == extractor
    text = json.dumps(stored, default=str, ensure_ascii=False)
    assert _SECRET not in text
    assert "\\u0000" not in text
    assert "root:" not in text
    assert len(text) < 500_000
    text.encode("utf-8")
    shown = stored["statement"]
    if shown is not None:
        before, _, after = _FRAME.partition("\0")
        assert shown.startswith(before)
        assert shown.endswith(after)
        assert "track.example.org" not in shown
        assert "hidden-owned" not in shown
        assert "49" not in shown
        assert "owned" * 9 not in shown


@pytest.mark.parametrize("name", _HOSTILE)
def test_rules_keep_the_shape(name: str) -> None:
    started = time.monotonic()
    row = _everywhere(_HOSTILE[name], rules.Rules())
    assert time.monotonic() - started < 10
    _check(row, "rules/3")


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_model_that_is_taken_in_keeps_the_shape(
    said: dict[str, str], asked: model.Model, name: str
) -> None:
    said.update(dict.fromkeys(_FIELDS, _HOSTILE[name][:50_000].replace("\ud800", "")))
    row = _everywhere(_HOSTILE[name], asked)
    _check(row, "openai/gpt-4o-mini; extract/1")
    assert len(row["statement"] or "") < 50_000
    # What tells the solution as well is cut, or seen.
    if row["statement"] and not row["leak_suspected"]:
        assert "parsed_cache" not in row["statement"]


@pytest.mark.parametrize("name", _HOSTILE)
def test_the_prompt_holds_the_text_as_quoted_data_only(
    fake: Models, said: dict[str, str], asked: model.Model, name: str
) -> None:
    said.update(initial_observations="Fine.")
    _everywhere("Harmless.", asked)
    plain = fake.requests[-1]
    _everywhere(_HOSTILE[name], asked)
    request = fake.requests[-1]
    assert request is not plain
    assert request.system == plain.system
    assert request.fields == plain.fields == _FIELDS
    for marker in ("[[ ##", "## ]]", "[[##", "##]]"):
        assert request.user.count(marker) == plain.user.count(marker)
    own, found = (
        {
            re.sub(r"user_\d+", "user", line)
            for line in asked_for.user.split("\n")
            if line.strip() and not line.startswith("> ")
        }
        for asked_for in (plain, request)
    )
    assert found <= own
    assert _SECRET not in request.prompt


@pytest.mark.parametrize(
    "text",
    [
        *("`", "` `` ", "<pre", "<!--", "`a`<!---->", "[[", "![", "<img ", "> - ", "~~~\n"),
        *(
            "A. ",
            "e.g. A",
            "#",
            "# x",
            " ",
            "\n",
            "before ",
            "@a\n",
            "@a ",
            "a@",
            "a@b.",
            "C:\\Users\\",
        ),
        *(
            "<details>",
            "/home/",
            "https://github.com/",
            "o/r#",
            "1,234",
            "1 ",
            "0a",
            "replace ",
            "`a` ",
            "A ",
        ),
    ],
)
def test_no_text_takes_long(text: str) -> None:
    many = text * (60_000 // len(text))
    started = time.monotonic()
    for body in (
        many,
        f"<details>{many}",
        f"Signed-off-by: {many}`x",
        f"# {many}x\n\n{many}",
        f"x {many}",
    ):
        state(issue(body=body), body=f"Fixes #3\n\n{body}", patch=f"+++ b/r.py\n+{body}\n")
    assert time.monotonic() - started < 15
