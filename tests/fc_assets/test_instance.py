import multiprocessing
import os
import shutil
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from fc_assets import instance
from fc_resources import living
from fc_resources.errors import UsageError
from fc_resources.ledger import Ledger
from fc_resources.settings import Settings

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


def _open(home: Path, start: Barrier) -> None:
    start.wait(60)
    instance.prepare(Settings.model_validate({"fc_home": home}))
    with dg.DagsterInstance.get() as opened:
        assert opened.get_runs_count() == 0


def test_four_processes_that_open_a_new_home_at_once_all_succeed(tmp_path: Path) -> None:
    """A run from cron and one by hand: one of two that made Dagster's tables failed."""
    for attempt in range(3):
        start = _PROCESSES.Barrier(4)
        arguments = (tmp_path / f"home{attempt}", start)
        processes = [_PROCESSES.Process(target=_open, args=arguments) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * 4


def test_a_run_that_fell_silent_is_over_unless_it_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    settings = Settings.model_validate({"fc_home": home})
    instance.prepare(settings)
    ledger = Ledger(settings.ledger)
    with dg.DagsterInstance.get() as dagster:
        started = dg.DagsterRunStatus.STARTED
        silent, alive, far = (create_run_for_test(dagster, status=started) for _ in range(3))
        for run in (silent, alive, far):
            dagster.report_engine_event("said something", run)
        elsewhere = living.Worker("packages", far.run_id)
        with (
            living.registered(home, "packages", alive.run_id, 60),
            ledger.at_work(elsewhere),
        ):
            instance.end_silent_runs(dagster, home, ledger)
            assert dagster.get_runs_count(dg.RunsFilter(statuses=[started])) == 3
            monkeypatch.setattr(instance, "_SILENT_RUN_S", -1.0)
            instance.end_silent_runs(dagster, home, ledger)
        left = {run.run_id for run in dagster.get_runs(dg.RunsFilter(statuses=[started]))}
        assert left == {alive.run_id, far.run_id}


def test_a_run_of_a_machine_that_has_another_home_at_the_same_path_is_not_ours_to_end(
    tmp_path: Path,
) -> None:
    home, started = tmp_path / "home", dg.DagsterRunStatus.STARTED
    settings = Settings.model_validate({"fc_home": home})
    instance.prepare(settings)
    with dg.DagsterInstance.get() as dagster:
        with instance.own_run(settings) as (_, tags):
            there = create_run_for_test(dagster, status=started, tags=tags)
            instance.end_dead_runs(dagster)
            assert dagster.get_runs_count(dg.RunsFilter(statuses=[started])) == 1
            (home / "locks").rename(tmp_path / "locks of another machine")
            with living.registered(home, "fc-data", "here", 60):
                instance.end_dead_runs(dagster)
            assert dagster.get_runs_count(dg.RunsFilter(statuses=[started])) == 1
        shutil.rmtree(home / "locks")
        (tmp_path / "locks of another machine").rename(home / "locks")
        (home / "locks" / "runs" / tags["formulacode/worker"].rpartition("/")[2]).unlink()
        instance.end_dead_runs(dagster)
        ended = dagster.get_run_by_id(there.run_id)
        assert ended is not None
        assert ended.status is dg.DagsterRunStatus.FAILURE


def test_a_dagster_home_of_its_own_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    own = tmp_path / "own"
    settings = Settings.model_validate({"fc_home": tmp_path / "home", "fc_dagster_home": own})
    with pytest.raises(UsageError, match="has no dagster"):
        instance.prepare(settings)
    own.mkdir()
    (own / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert instance.prepare(settings) == own
    assert os.environ["DAGSTER_HOME"] == str(own)
    assert [path.name for path in own.iterdir()] == ["dagster.yaml"]
    assert not (tmp_path / "home").exists()
