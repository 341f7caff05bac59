import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from fc_assets import instance
from fc_resources import living
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
    instance.prepare(Settings.model_validate({"fc_home": home}))
    with dg.DagsterInstance.get() as dagster:
        started = dg.DagsterRunStatus.STARTED
        silent, alive = (create_run_for_test(dagster, status=started) for _ in range(2))
        for run in (silent, alive):
            dagster.report_engine_event("said something", run)
        with living.registered(home, "packages", alive.run_id, 60):
            instance.end_silent_runs(dagster, home)
            assert dagster.get_runs_count(dg.RunsFilter(statuses=[started])) == 2
            monkeypatch.setattr(instance, "_SILENT_RUN_S", -1.0)
            instance.end_silent_runs(dagster, home)
        [left] = dagster.get_runs(dg.RunsFilter(statuses=[started]))
        assert left.run_id == alive.run_id
