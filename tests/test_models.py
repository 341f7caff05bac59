"""`fc-data` with a model, as processes: real client, real wire formats on loopback."""

import collections
import math
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fc_resources.ledger import Ledger
from tests import samples
from tests.fakes import models, models_faults
from tests.fakes.models import Models
from tests.fakes.models_wire import Request
from tests.postgres import RealPostgres

_KEY = "sk-secret-1234567890"
_RANGE = ("--start-date", "2026-01-01", "--end-date", "2026-02-01")
_JUDGE = (*_RANGE, "--stage", 3)
_COUNT = 12


def _says(request: Request) -> models.Said:
    """YES to odd numbers."""
    if not request.fields:
        return "OK"
    if "category" in request.fields:
        judged = {"category": "cache_and_reuse", "difficulty": "hard"}
        return {"reasoning": "it keeps what was read", **judged}
    number = int(request.user.partition("make step ")[2].split()[0])
    verdict = "YES" if number % 2 else "NO"
    return {"reasoning": f"because of {number}", "verdict": verdict, "confidence": 0.5}


class Bench:
    """A home with judged-to-be pull requests, and the fake that judges them."""

    def __init__(self, home: Path, fake: Models) -> None:
        self.home, self.fake = home, fake
        rows = [samples.pull_request(number) for number in range(1, _COUNT + 1)]
        self.source = samples.write(home.parent / "source.parquet", rows)
        self.ledger = Ledger(f"sqlite:///{home / 'ledger.sqlite'}")

    def run(self, *arguments: object, **extra: str) -> "subprocess.CompletedProcess[str]":
        model = {
            "DSPY_MODEL": "openai/gpt-4o-mini",
            "DSPY_API_BASE": self.fake.url + "/v1",
            "DSPY_API_KEY": _KEY,
        }
        given = (*arguments, "--offline-source", self.source)
        done = samples.fc_data(self.home, *given, **{**model, **extra})
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def verdicts(self) -> dict[int, dict[str, Any]]:
        found = samples.tables(self.home).get("pr_classifications", [])
        return {row["issue_number"]: row for row in found}

    def judged(self) -> int:
        """How many first questions came."""
        return sum("verdict" in request.fields for request in self.fake.requests)

    def agrees(self) -> bool:
        """Whether the ledger and the server counted the same."""
        bills = self.ledger.bills()
        answers = sum(bill.answers for bill in bills)
        given = sum(bill.usage.input_tokens for bill in bills)
        taken = sum(bill.usage.output_tokens for bill in bills)
        fake = self.fake
        return (answers, given, taken) == (fake.answered, fake.input_tokens, fake.output_tokens)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose pull requests are there, which takes a while."""
    with Models(_says, tokens=(_KEY,)) as fake:
        bench = Bench(tmp_path_factory.mktemp("scraped") / "home", fake)
        done = bench.run(*_RANGE, "--stage", 1, "--stage", 2)
        assert done.returncode == 0, done.stderr
        assert fake.requests == []
        return bench.home


@pytest.fixture
def bench(tmp_path: Path, scraped: Path) -> Iterator[Bench]:
    shutil.copytree(scraped, tmp_path / "home")
    with Models(_says, tokens=(_KEY,)) as fake:
        yield Bench(tmp_path / "home", fake)
    assert fake.invalid_requests == []


def test_a_month_is_judged_once_and_every_cent_is_known(bench: Bench) -> None:
    done = bench.run(*_JUDGE)
    assert done.returncode == 0, done.stderr
    verdicts = bench.verdicts()
    assert {n for n, row in verdicts.items() if row["is_performance"]} == {*range(1, _COUNT, 2)}
    assert verdicts[1]["category_reasoning"] == "it keeps what was read"
    assert verdicts[2]["category"] is None
    assert {row["classifier"] for row in verdicts.values()} == {"openai/gpt-4o-mini; judge/1"}
    assert len(bench.fake.requests) == 1 + _COUNT + _COUNT // 2
    assert bench.agrees()
    assert "openai/gpt-4o-mini" in samples.fc_data(bench.home, "usage").stdout
    with dg.DagsterInstance.from_config(str(bench.home / "dagster")) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("pr_classifications"))
        assert event is not None
        assert event.asset_materialization is not None
        told = event.asset_materialization.metadata
    [judged] = [bill for bill in bench.ledger.bills() if bill.stage == "pr_classifications"]
    assert told["tokens"].value == judged.usage.input_tokens + judged.usage.output_tokens
    assert told["dollars"].value == pytest.approx(judged.usage.dollars)
    assert samples.files_with(_KEY, bench.home) == []
    before = len(bench.fake.requests)
    for again in ((), ("--resume",)):
        assert bench.run(*_JUDGE, *again).returncode == 0
    assert len(bench.fake.requests) == before
    assert bench.run(*_JUDGE, "--force").returncode == 0
    assert bench.judged() == 2 * _COUNT
    assert bench.agrees()


def test_what_a_model_cannot_answer_stays_unjudged_and_is_asked_again(bench: Bench) -> None:
    bench.fake.fault(models_faults.says("no idea"), when="make step 3 ", times=2)
    done = bench.run(*_JUDGE)
    assert done.returncode == 0, done.stderr
    assert bench.verdicts().keys() == {*range(1, _COUNT + 1)} - {3}
    failures = samples.fc_data(bench.home, "failures", "--all", "--table").stdout
    assert "o/r#3: model openai/gpt-4o-mini answered 2 times: not what was asked for" in failures
    assert bench.agrees()
    assert bench.run(*_JUDGE, "--resume").returncode == 0
    assert bench.judged() == _COUNT + 2
    assert bench.verdicts()[3]["is_performance"]
    assert samples.fc_data(bench.home, "failures", "--all", "--table").stdout == ""


def test_a_limit_that_lasts_puts_the_month_off(bench: Bench) -> None:
    limit = models_faults.rate_limited(retry_after_s=3000)
    bench.fake.fault(limit, when="make step", times=math.inf)
    done = bench.run(*_JUDGE, FC_LLM_MAX_WAIT_S="1", FC_MAX_FAILED_SHARE="1")
    assert done.returncode == 1
    [off] = bench.ledger.months_put_off()
    assert off.table == "pr_classifications"
    assert 2000 < off.until - time.time() <= 3000
    assert "limited for" in off.reason
    assert bench.verdicts() == {}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (models_faults.unauthorized(), "refuses the key: status 401"),
        (models_faults.no_quota(), "its quota is spent: status 429"),
        (models_faults.unknown_model(), "does not exist"),
        (models_faults.server_error(), "nothing was asked yet"),
    ],
)
def test_a_model_that_does_not_answer_is_one_line_and_nothing_is_lost(
    bench: Bench, fault: models.Fault, says: str
) -> None:
    bench.fake.fault(fault, times=math.inf)
    done = bench.run(*_JUDGE)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 400
    assert bench.judged() == 0
    assert bench.verdicts() == {}
    assert bench.ledger.failures() == []
    shown = samples.fc_data(bench.home, *_JUDGE, "--dry-run", "--offline-source", bench.source)
    assert f"interrupted, {_COUNT} of {_COUNT} items left" in shown.stdout


def test_a_wrong_key_is_known_before_a_month_is_scraped(tmp_path: Path) -> None:
    with Models(_says, tokens=()) as fake:
        bench = Bench(tmp_path / "home", fake)
        bench.home.mkdir()
        done = bench.run(*_RANGE, *(f"--stage={n}" for n in (1, 2, 3)))
        assert (done.returncode, len(fake.requests)) == (1, 1)
        assert "see to DSPY_API_KEY" in done.stderr
        assert samples.tables(bench.home) == {}


def test_a_quota_spent_in_the_middle_leaves_the_rest_for_resume(bench: Bench) -> None:
    bench.fake.fault(models_faults.no_quota(), after=8, times=9)
    done = bench.run(*_JUDGE, "--n-concurrent", 1)
    assert done.returncode == 1
    assert "quota" in done.stderr
    [state] = [s for (t, _), s in bench.ledger.progress().items() if t == "pr_classifications"]
    assert state.state == "interrupted"
    assert bench.ledger.failures() == []
    asked = bench.judged()
    with Models(_says, tokens=(_KEY,)) as other:
        again = Bench(bench.home, other)
        assert again.run(*_JUDGE, "--resume").returncode == 0
        assert asked + again.judged() <= _COUNT + 1
    assert bench.verdicts().keys() == {*range(1, _COUNT + 1)}


def test_a_budget_leaves_the_rest_for_the_next_run(bench: Bench) -> None:
    prices = {"FC_LLM_USD_PER_MTOK": "0,1000000", "FC_LLM_BUDGET_USD": "60"}
    done = bench.run(*_JUDGE, "--n-concurrent", 1, **prices)
    assert done.returncode == 1
    assert "FC_LLM_BUDGET_USD is 60; run again with --resume to go on" in done.stderr
    assert 60 <= bench.fake.output_tokens < 120
    runs = 1
    while bench.run(*_JUDGE, "--resume", "--n-concurrent", 1, **prices).returncode:
        runs += 1
        assert runs < 20
    assert bench.verdicts().keys() == {*range(1, _COUNT + 1)}
    assert bench.judged() == _COUNT
    assert bench.agrees()


def test_rules_do_not_overwrite_what_a_model_said(bench: Bench) -> None:
    assert bench.run(*_JUDGE).returncode == 0
    before = bench.verdicts()
    for arguments in (_JUDGE, (*_JUDGE, "--force"), (*_JUDGE, "--resume")):
        done = samples.fc_data(bench.home, *arguments, "--offline-source", bench.source)
        assert done.returncode == 1
        assert "last made with openai/gpt-4o-mini; judge/1; set its model again" in done.stderr
    assert bench.verdicts() == before
    assert bench.run(*_JUDGE, "--resume", DSPY_MODEL="openai/gpt-4o").returncode == 0
    names = collections.Counter(row["classifier"] for row in bench.verdicts().values())
    assert names == {"openai/gpt-4o; judge/1": _COUNT}


def test_an_old_ledger_gets_its_new_tables(bench: Bench) -> None:
    with sqlite3.connect(bench.home / "ledger.sqlite") as con:
        con.execute("DROP TABLE usage")
        con.execute("DROP TABLE answers")
    assert bench.run(*_JUDGE).returncode == 0
    assert bench.agrees()


def test_evaluation_of_a_model(bench: Bench, tmp_path: Path) -> None:
    assert bench.run(*_JUDGE).returncode == 0
    labels = tmp_path / "labels.csv"
    lines = [f"o/r,{n},{n in (1, 3, 4)},cache_and_reuse" for n in range(1, _COUNT + 1)]
    labels.write_text("\n".join(["repo_name,pr_number,is_performance_commit,category", *lines]))
    shown = samples.fc_data(bench.home, "evaluate", "classify", "--labels", labels).stdout
    for text in ("33.3%", "66.7%", "0.444", "$0.00", "o/r#4", "because of 4"):
        assert text in shown
    wrong = samples.fc_data(bench.home, "evaluate", "classify", "--labels", tmp_path / "no.csv")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


@pytest.mark.postgres
def test_who_moves_to_a_cluster_and_back_pays_for_nothing_twice(
    bench: Bench, real_postgres: RealPostgres, tmp_path: Path
) -> None:
    done = bench.run(*_RANGE, "--stage", 1, "--stage", 2, "--stage", 3)
    assert done.returncode == 0, done.stderr
    asked, known = len(bench.fake.requests), bench.ledger.progress()
    place, here = real_postgres.ledger(), str(bench.ledger.url).removeprefix("sqlite:///")
    for number, to in enumerate((place, str(tmp_path / "back" / "ledger.sqlite"))):
        home = tmp_path / ("cluster", "back")[number]
        files = [str(folder / "warehouse.duckdb") for folder in (bench.home, home)]
        for command in (("warehouse", "copy", *files), ("ledger", "copy", here, to)):
            done = samples.fc_data(bench.home, *command)
            assert done.returncode == 0, done.stderr
        there = {"FC_HOME": str(home), **({"FC_LEDGER": to} if to == place else {})}
        done = bench.run(*_RANGE, "--stage", 1, "--stage", 2, "--stage", 3, "--resume", **there)
        assert done.returncode == 0, done.stderr
        assert not (home / "dagster").exists()  # as nothing was run
        here = to
    assert (len(bench.fake.requests), Ledger(place).progress()) == (asked, known)
    done = bench.run(*_JUDGE, "--force", FC_HOME=str(tmp_path / "back"))
    assert (done.returncode, len(bench.fake.requests) > asked) == (0, True)
