"""Runs are alive as long as their process is, and no longer."""

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from fc_resources import living

_PROCESSES = multiprocessing.get_context("forkserver")


def _run(home: Path, run_id: str, registered: Event) -> None:
    with living.registered(home, "packages", run_id, 60):
        registered.set()
        time.sleep(600)


def test_a_run_is_alive_until_it_ends(tmp_path: Path) -> None:
    assert living.alive(tmp_path) == set()
    with (
        living.registered(tmp_path, "packages", "one", 60),
        living.registered(tmp_path, "pull_requests", "one", 60),
    ):
        assert living.alive(tmp_path) == {("packages", "one"), ("pull_requests", "one")}
    assert living.alive(tmp_path) == set()


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert living.alive(tmp_path / "home") == set()
    assert not (tmp_path / "home").exists()


def test_a_killed_run_is_not_alive_and_leaves_nothing_for_long(tmp_path: Path) -> None:
    registered = _PROCESSES.Event()
    process = _PROCESSES.Process(target=_run, args=(tmp_path, "killed", registered))
    process.start()
    assert registered.wait(60)
    assert living.alive(tmp_path) == {("packages", "killed")}
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert living.alive(tmp_path) == set()
    with living.registered(tmp_path, "packages", "next", 60):
        assert living.alive(tmp_path) == {("packages", "next")}
        assert [path.name for path in (tmp_path / "locks" / "runs").iterdir()] == ["packages.next"]
