"""The model's verdict: what is asked, what its answers become, and what text cannot change."""

import datetime
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fc_assets import work
from fc_assets.pr_classifications import asset, classifier, model
from fc_assets.tables import PR_CLASSIFICATIONS
from fc_assets.texts import storable
from fc_resources.errors import PermanentError
from fc_resources.ledger import Ledger
from fc_resources.llm import Backend, Llm
from tests.fakes import models, models_faults
from tests.fakes.models import Models
from tests.fakes.models_wire import Request
from tests.fc_assets.pr_classifications.injections import INJECTIONS

_KEY = "sk-secret-1234567890"
_PATCH = (
    "diff --git a/r/core.py b/r/core.py\n--- a/r/core.py\n+++ b/r/core.py\n@@ -1 +1 @@\n-a\n+b\n"
)
_NO = {"reasoning": "it only renames", "verdict": "NO", "confidence": 0.9}
_YES = {"reasoning": "it caches", "verdict": "YES", "confidence": 0.8}
_JUDGED = {"reasoning": "a dict keeps it", "category": "cache_and_reuse", "difficulty": "medium"}


def _row(**changes: Any) -> dict[str, Any]:
    return {
        "owner": "o",
        "repo": "r",
        "issue_number": 7,
        "title": "perf: cache it",
        "body": "Twice as fast.",
        "labels": ["perf", "io"],
        "files": [{"path": "r/core.py", "additions": 1, "deletions": None}],
        "patch": _PATCH,
        "merged_at": datetime.datetime(2026, 1, 15, tzinfo=datetime.UTC),
        "merge_commit_sha": "a" * 40,
        **changes,
    }


def _yes(request: Request) -> models.Said:
    if "category" in request.fields:
        return _JUDGED
    return _YES if request.fields else "OK"


class Bench:
    def __init__(self, fake: Models, ledger: Ledger) -> None:
        self.fake, self.ledger = fake, ledger
        self.llm = self.another_run()

    def another_run(self) -> Llm:
        backend = Backend("dspy", "openai/gpt-4o-mini", _KEY, self.fake.url + "/v1")
        return Llm(backend, self.ledger, backoff_s=0.01)

    def judge(self, fresh: bool = False, **changes: Any) -> dict[str, Any]:
        by = classifier(self.llm.name)
        answer = asset.judged(_row(**changes), by, self.llm, fresh=fresh)
        [row] = answer.rows
        PR_CLASSIFICATIONS.batch([{"partition_month": datetime.date(2026, 1, 1), **row}])
        return dict(row)

    def asked(self) -> list[Request]:
        return [request for request in self.fake.requests if request.fields]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Models(_yes, tokens=(_KEY,)) as fake:
        yield Bench(fake, Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    assert fake.invalid_requests == []


def test_a_yes_is_asked_further(bench: Bench) -> None:
    row = bench.judge()
    assert (row["is_performance"], row["confidence"]) == (True, 0.8)
    assert (row["reasoning"], row["category_reasoning"]) == ("it caches", "a dict keeps it")
    assert (row["category"], row["difficulty"]) == ("cache_and_reuse", "medium")
    assert row["classifier"] == "openai/gpt-4o-mini; judge/1"
    first, second = bench.asked()
    for text in ("o/r", "perf: cache it", "Twice as fast.", "perf, io", "r/core.py +1 -?", _PATCH):
        assert text in first.user
    assert "category" in second.fields


def test_a_no_is_not(bench: Bench) -> None:
    bench.fake.fault(models_faults.changed(lambda answer: _NO))
    bench.llm.check()
    bench.fake.fault(models_faults.changed(lambda answer: _NO), when="perf: cache it")
    row = bench.judge()
    assert (row["is_performance"], row["category"], row["difficulty"]) == (False, None, None)
    assert row["category_reasoning"] is None
    assert len(bench.asked()) == 1


def test_a_yes_without_a_category_is_no_verdict_and_not_paid_for_again(bench: Bench) -> None:
    bench.llm.check()
    bench.fake.fault(models_faults.empty(), times=2, when="Say by which means")
    with pytest.raises(PermanentError):
        bench.judge()
    assert len(bench.asked()) == 3
    bench.llm = bench.another_run()
    assert bench.judge()["category"] == "cache_and_reuse"
    assert len(bench.asked()) == 4
    bench.llm = bench.another_run()
    bench.judge(fresh=True)
    bench.judge(fresh=True)  # the same run, again month by month
    assert len(bench.asked()) == 6


def test_a_large_diff_is_cut_and_core_files_stay(bench: Bench) -> None:
    head = "diff --git a/docs/a.md b/docs/a.md\n--- a/docs/a.md\n+++ b/docs/a.md\n"
    docs = head + "".join(f"@@ -{n} +{n} @@\n+{'word ' * 200}\n" for n in range(100))
    bench.judge(patch=docs + _PATCH)
    [first, _] = bench.asked()
    assert _PATCH in first.user
    assert "hunks of docs/a.md left out" in first.user
    assert len(first.user) < 60_000


def test_a_pull_request_without_a_diff_can_be_judged(bench: Bench) -> None:
    assert bench.judge(patch=None)["is_performance"]


def test_what_the_model_writes_can_be_stored(bench: Bench) -> None:
    long = {"reasoning": "it\0 is \x1b[31m" + "x" * 100_000}
    bench.llm.check()
    bench.fake.fault(models_faults.changed(lambda answer: {**answer, **long}), times=2)
    row = bench.judge()
    for name in ("reasoning", "category_reasoning"):
        assert row[name].startswith("it\ufffd is \ufffd[31m")
        assert len(row[name]) <= 4000


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("place", ["title", "body", "labels", "patch", "files"])
def test_text_changes_neither_the_question_nor_the_shape(
    bench: Bench, name: str, place: str
) -> None:
    """The model says NO here whatever it reads; a text that could forge an answer would show."""
    bench.llm.check()
    text = storable(INJECTIONS[name])
    files = [{"path": text, "additions": 1, "deletions": 1}]
    changed = {"labels": [text], "files": files}.get(place, text)
    bench.fake.fault(models_faults.changed(lambda answer: _NO), times=9)
    before = bench.judge()
    plain = bench.asked()[-1]
    row = bench.judge(**{place: changed})
    asked = bench.asked()[-1]
    assert (row.keys(), row["is_performance"], row["confidence"]) == (before.keys(), False, 0.9)
    assert asked.system == plain.system
    assert asked.fields == plain.fields
    assert asked.response_format == plain.response_format
    for marker in ("reasoning", "verdict", "confidence", "completed"):
        assert f"[[ ## {marker} ## ]]" not in asked.user
        assert f"[[##{marker}##]]" not in asked.user
    assert asked.user.count("[[ ## ") == plain.user.count("[[ ## ")
    assert _KEY not in asked.prompt
    assert len(asked.user) < 120_000


def test_the_categories_are_those_of_the_rules() -> None:
    names = {entry["name"] for entry in asset.rules._table()["category"]}
    assert names <= set(typing.get_args(model.Category))
    assert len(typing.get_args(model.Category)) == 14


def test_another_model_judges_anew() -> None:
    rows = [_row(passes_prefilter=True)]
    month = datetime.date(2026, 1, 1)
    digests = set()
    for by in (classifier(None), classifier("a/b"), classifier("a/c")):
        [(_, [item])] = list(asset.items([(month, rows)], by))
        assert isinstance(item, work.Item)
        digests.add(item.digest)
    assert len(digests) == 3
