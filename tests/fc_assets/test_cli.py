"""`fc-data` as a process: messages on one line, exit codes, and what is left untouched."""

import datetime
import os
import signal
import subprocess
import time
from pathlib import Path

import duckdb
import pytest

from fc_assets import months
from fc_assets.tables import CANDIDATE_PRS, PACKAGES
from fc_resources.ledger import Ledger
from fc_resources.warehouse import Warehouse
from tests import samples

_JANUARY = ("--start-date", "2026-01-01", "--end-date", "2026-02-01")


def _refused(done: "subprocess.CompletedProcess[str]", message: str, code: int = 2) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fc-data: ")
    assert message in lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start-date", "2026-13-01", "--end-date", "2026-02-01"], "is not a date"),
        (["--start-date", "soon", "--end-date", "2026-02-01"], "is not a date"),
        (["--start-date", "2026-02-01", "--end-date", "2026-02-01"], "is not before"),
        (["--start-date", "2026-02-01", "--end-date", "2026-01-01"], "is not before"),
        (["--start-date", "2026-01-01"], "give --start-date and --end-date"),
        ([], "give --start-date and --end-date"),
        (["--start-date", "2026-01-01", "--end-date", "9999-12-31"], "months go from"),
        ([*_JANUARY, "--stage", "8"], "unknown stage 8"),
        ([*_JANUARY, "--stage", "two"], "'two' is not a valid integer"),
        ([*_JANUARY, "--agent", "clod"], "no agent 'clod'"),
        ([*_JANUARY, "--agent", "qwen"], "--agent qwen cannot be used: qwen is not installed"),
        ([*_JANUARY, "--n-concurrent", "0"], "0 is not in the range"),
        ([*_JANUARY, "--offline-source", "missing.parquet"], "No such file"),
        ([*_JANUARY], "no source of pull requests"),
        ([*_JANUARY, "--colour"], "No such option"),
        (["unknown"], "No such command"),
        (["--resume", "status"], "--resume does not go with a command"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    home = tmp_path / "home"
    _refused(samples.fc_data(home, *arguments), message)
    assert not home.exists()


def test_a_wrong_offline_source_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    rows = [samples.pull_request(), samples.pull_request(pr_title="another")]
    source = samples.write(tmp_path / "prs.parquet", rows)
    done = samples.fc_data(tmp_path / "home", *_JANUARY, "--offline-source", source)
    _refused(done, "two different o/r#1")
    assert "make step 1 faster" in done.stderr
    assert "another" in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = samples.fc_data(tmp_path / "home", *_JANUARY, FC_PYTHON_VERSIONS="2.7")
    _refused(done, "FC_PYTHON_VERSIONS")


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    source = samples.write(tmp_path / "prs.parquet", [samples.pull_request()])
    done = samples.fc_data(tmp_path / "home", *_JANUARY, "--offline-source", source)
    _refused(done, "cannot be written")


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger.sqlite").write_bytes(b"not a database at all" * 400)
    source = samples.write(tmp_path / "prs.parquet", [samples.pull_request()])
    done = samples.fc_data(home, *_JANUARY, "--offline-source", source)
    _refused(done, "is damaged")


def test_a_warehouse_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with duckdb.connect(str(home / "warehouse.duckdb")) as con:
        con.execute("CREATE SCHEMA fc")
        con.execute("CREATE TABLE fc.meta AS SELECT 999 AS format")
    source = samples.write(tmp_path / "prs.parquet", [samples.pull_request()])
    done = samples.fc_data(home, *_JANUARY, "--offline-source", source)
    _refused(done, "has format 999")


def test_a_warehouse_locked_by_another_program_names_it_and_gives_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    source = samples.write(tmp_path / "prs.parquet", [samples.pull_request()])
    with duckdb.connect(str(home / "warehouse.duckdb")) as con:
        con.execute("SELECT 1").fetchall()
        arguments = (*_JANUARY, "--offline-source", source)
        done = samples.fc_data(home, *arguments, FC_LOCK_TIMEOUT_S="1")
    assert done.returncode == 2
    waiting, given_up = done.stderr.strip().splitlines()
    assert f"PID {os.getpid()}" in waiting
    assert f"PID {os.getpid()}" in given_up


def test_a_range_is_widened_to_whole_months_and_says_so(tmp_path: Path) -> None:
    rows = [samples.pull_request(n, pr_merged_at=f"2026-0{n}-15T00:00:00Z") for n in (1, 2, 3)]
    source = samples.write(tmp_path / "prs.parquet", rows)
    arguments = ("--start-date", "2026-01-20", "--end-date", "2026-02-02", "--stage", 1)
    done = samples.fc_data(tmp_path / "home", *arguments, "--offline-source", source)
    assert done.returncode == 0, done.stderr
    assert "widened to whole months: 2026-01-01 to 2026-03-01" in done.stdout
    assert len(samples.tables(tmp_path / "home")["repositories"]) == 2


def test_a_dry_run_says_what_would_run_and_writes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    source = samples.write(tmp_path / "prs.parquet", [samples.pull_request()])
    arguments = (*_JANUARY, "--offline-source", source, "--dry-run")
    done = samples.fc_data(home, *arguments)
    assert done.returncode == 0
    assert done.stdout.count("never run") == 7
    assert not home.exists()
    samples.fc_data(home, *arguments[:-1], "--stage", 1, "--stage", 2)
    before = {p: p.read_bytes() for p in home.rglob("*") if p.is_file()}
    done = samples.fc_data(home, *arguments)
    assert done.stdout.count("never run") == 5
    assert done.stdout.count("nothing") == 2
    after = {p: p.read_bytes() for p in home.rglob("*") if p.is_file()}
    assert before.keys() == after.keys()
    assert {p.name for p in before if before[p] != after[p]} <= {"ledger.sqlite"}


def test_resume_runs_only_months_with_something_left(tmp_path: Path) -> None:
    home = tmp_path / "home"
    rows = [samples.pull_request(n, pr_merged_at=f"2026-0{n}-15T00:00:00Z") for n in (1, 2)]
    source = samples.write(tmp_path / "prs.parquet", rows)
    stages = ("--stage", 1, "--stage", 2, "--stage", 3, "--offline-source", source)
    samples.fc_data(home, *_JANUARY, *stages)
    first = Ledger(f"sqlite:///{home / 'ledger.sqlite'}").progress()
    both = ("--start-date", "2026-01-01", "--end-date", "2026-03-01")
    done = samples.fc_data(home, *both, *stages, "--resume")
    assert done.returncode == 0, done.stderr
    second = Ledger(f"sqlite:///{home / 'ledger.sqlite'}").progress()
    assert {key: second[key] for key in first} == first
    assert len(samples.tables(home)["pr_classifications"]) == 2


def test_force_runs_finished_months_even_with_resume(tmp_path: Path) -> None:
    home = tmp_path / "home"
    source = samples.write(tmp_path / "prs.parquet", [samples.pull_request()])
    arguments = (*_JANUARY, "--offline-source", source, "--stage", 1)
    samples.fc_data(home, *arguments)
    done = samples.fc_data(home, *arguments, "--resume", "--force")
    assert done.returncode == 0, done.stderr
    [state] = Ledger(f"sqlite:///{home / 'ledger.sqlite'}").progress().values()
    assert (state.done, state.skipped) == (1, 0)


def test_a_stage_without_its_upstream_says_which_to_run(tmp_path: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    done = samples.fc_data(home, *_JANUARY, "--stage", 3)
    assert done.returncode == 1
    assert "pull_requests was not written for it; run stage 2 first" in done.stderr


def test_a_month_that_fails_a_check_is_built_upon_by_nobody(tmp_path: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    warehouse = Warehouse(home / "warehouse.duckdb")
    assert samples.fc_data(home, *_JANUARY, "--stage", 1, "--stage", 2).returncode == 0
    with warehouse.transaction() as con:
        con.execute("UPDATE fc.pull_requests SET merged_at = merged_at + INTERVAL 1 YEAR")
    done = samples.fc_data(home, *_JANUARY, "--stage", 3, "--stage", 5)
    assert done.returncode == 1
    assert "pr_classifications: inside_month" in done.stderr
    assert "pr_classifications was not written for it" in done.stderr
    shown = samples.fc_data(home, *_JANUARY, "--stage", 3, "--dry-run")
    assert "refused" in shown.stdout
    again = ("--stage", 2, "--stage", 3, "--stage", 5, "--force")
    done = samples.fc_data(home, *_JANUARY, *again)
    assert done.returncode == 0, done.stderr


def test_a_missing_warehouse_is_made_again_by_resume(tmp_path: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    stages = ("--stage", 1, "--stage", 2)
    samples.fc_data(home, *_JANUARY, *stages)
    before = samples.tables(home)
    (home / "warehouse.duckdb").unlink()
    assert samples.fc_data(home, *_JANUARY, *stages, "--resume").returncode == 0
    assert samples.tables(home) == before


def test_scripts_of_ones_own_are_something_left_to_do(tmp_path: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    source = samples.write(tmp_path / "none.parquet", [])
    arguments = (*_JANUARY, "--offline-source", source)
    assert samples.fc_data(home, *arguments).returncode == 0
    assert "never run" not in samples.fc_data(home, *arguments, "--dry-run").stdout
    own = home / "scripts" / "o" / "r"
    own.mkdir(parents=True)
    (own / "profile.sh").write_text("exit 0")
    shown = samples.fc_data(home, *arguments, "--dry-run").stdout
    assert shown.count("changed: scripts") == 1


def test_without_docker_other_code_is_not_run_and_one_sentence_says_so(tmp_path: Path) -> None:
    """The sample's name does not make a stranger's commit trusted."""
    home = tmp_path / "home"
    samples.home_with_sample(home)
    done = samples.fc_data(home, *_JANUARY, *(f"--stage={n}" for n in range(1, 6)))
    assert done.returncode == 0, done.stderr
    with Warehouse(home / "warehouse.duckdb").transaction() as con:
        for table, column in ((PACKAGES, "sha"), (CANDIDATE_PRS, "merge_commit_sha")):
            con.execute(f"UPDATE fc.{table.name} SET {column} = repeat('a', 40)")
    done = samples.fc_data(home, *_JANUARY, "--stage", 6, "--stage", 7)
    assert done.returncode == 1
    assert "no Docker daemon answers" in done.stderr
    assert "candidate_containers" not in samples.tables(home)
    assert not (home / "sandboxes").exists()


def test_a_pull_request_whose_commit_is_gone_is_kept_and_says_so(tmp_path: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    known = samples.sample.load("pull_requests")
    lost = samples.pull_request(999, repo_name="formulacode/wordmill", original_patch="")
    samples.write(home / "offline" / "pull_requests.parquet", [*known, lost])
    done = samples.fc_data(home, *_JANUARY, "--stage", 1, "--stage", 2)
    assert done.returncode == 0, done.stderr
    rows = {row["issue_number"]: row for row in samples.tables(home)["pull_requests"]}
    january = {row["pr_number"] for row in known if _is_january(row["pr_merged_at"])}
    assert rows.keys() == {*january, 999}
    assert {number for number, row in rows.items() if row["diff_source"] == "gone"} == {999}
    assert not rows[999]["passes_prefilter"]
    assert samples.fc_data(home, "failures", "--all", "--table").stdout == ""


def _is_january(text: str) -> bool:
    moment = datetime.datetime.fromisoformat(text)
    return months.month_of(moment) == datetime.date(2026, 1, 1)


def _slow_git(folder: Path) -> Path:
    """A git on PATH whose diffs take a while, so that a stage can be met in the middle."""
    git = subprocess.run(["which", "git"], capture_output=True, text=True, check=True)
    folder.mkdir()
    script = f'#!/bin/sh\ncase "$*" in *--binary*) sleep 1;; esac\nexec {git.stdout.strip()} "$@"\n'
    (folder / "git").write_text(script)
    (folder / "git").chmod(0o755)
    return folder


def _home_with_many(home: Path) -> Path:
    """The sample's January ten times over, so that its diffs come in several batches."""
    samples.home_with_sample(home)
    known = [r for r in samples.sample.load("pull_requests") if _is_january(r["pr_merged_at"])]
    rows = [{**raw, "pr_number": 1000 * n + raw["pr_number"]} for n in range(10) for raw in known]
    samples.write(home / "offline" / "pull_requests.parquet", rows)
    return home


def _started(home: Path, path: str) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        samples.command(*_JANUARY, "--stage", 1, "--stage", 2, "--n-concurrent", 1),
        env=samples.environment(home, PATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    ledger, deadline = Ledger(f"sqlite:///{home / 'ledger.sqlite'}"), time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if any(s.done for (name, _), s in ledger.progress().items() if name == "pull_requests"):
            return child
        time.sleep(0.05)
    raise AssertionError(f"stage 2 was not met in the middle: {child.communicate()}")


def test_ctrl_c_once_finishes_what_runs_and_resume_goes_on(tmp_path: Path) -> None:
    home = _home_with_many(tmp_path / "home")
    child = _started(home, f"{_slow_git(tmp_path / 'bin')}:{os.environ['PATH']}")
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "stopping: running items are finished first" in errors
    assert "run again with --resume to go on" in errors
    ledger = Ledger(f"sqlite:///{home / 'ledger.sqlite'}")
    [state] = [s for (name, _), s in ledger.progress().items() if name == "pull_requests"]
    assert state.state == "interrupted"
    assert 0 < state.done < 160
    done = samples.fc_data(home, *_JANUARY, "--stage", 2, "--resume")
    assert done.returncode == 0, done.stderr
    [after] = [s for (name, _), s in ledger.progress().items() if name == "pull_requests"]
    assert after.skipped == state.done
    assert after.done == after.total - state.done > 0


def test_ctrl_c_twice_stops_now_and_leaves_no_child(tmp_path: Path) -> None:
    home = _home_with_many(tmp_path / "home")
    child = _started(home, f"{_slow_git(tmp_path / 'bin')}:{os.environ['PATH']}")
    child.send_signal(signal.SIGINT)
    assert child.stderr is not None
    assert any("press again" in line for line in child.stderr)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(home) not in listed.stdout
