"""Runs are alive as long as their process is, and no longer."""

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from fc_resources import living
from fc_resources.living import Worker

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
        [path] = (tmp_path / "locks" / "runs").iterdir()
        assert path.name.startswith("packages.next@")


def test_a_worker_knows_who_of_its_home_is_dead(tmp_path: Path) -> None:
    with living.registered(tmp_path, "packages", "one", 60) as one:
        with living.registered(tmp_path, "packages", "two", 60) as two:
            assert not one.knows_dead(two.name)
        assert one.knows_dead(two.name)
        with living.registered(tmp_path / "elsewhere", "packages", "far", 60) as far:
            assert not far.knows_dead(two.name)
        assert not one.knows_dead(far.name)
    assert not Worker("packages", "none").knows_dead(one.name)


def test_a_run_of_another_machine_lives_until_it_was_silent_for_long(tmp_path: Path) -> None:
    """Its lock is not seen here, nor perhaps its file."""
    with living.registered(tmp_path, "packages", "here", 60) as here:
        far = tmp_path / "locks" / "runs" / "packages.far@another-boot"
        name = f"{here.name.partition('/')[0]}/{far.name}"
        assert not here.knows_dead(name)
        far.touch()
        assert living.alive(tmp_path) == {("packages", "here"), ("packages", "far")}
        assert not here.knows_dead(name)
        past = time.time() - 3600
        os.utime(far, (past, past))
        assert living.alive(tmp_path) == {("packages", "here")}
        assert here.knows_dead(name)


def test_a_living_run_touches_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living, "_TOUCH_S", 0.01)
    with living.registered(tmp_path, "packages", "here", 60):
        [file] = (tmp_path / "locks" / "runs").iterdir()
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 60
        while file.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
