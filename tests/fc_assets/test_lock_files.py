"""Lock files: what is read back, what is not believed, and that each is always whole."""

import datetime
import multiprocessing
from pathlib import Path

import pytest

from fc_assets.fingerprint import Fingerprint
from fc_assets.lock_files import Code, Lock, LockFiles, tools
from fc_assets.tables import STAGES
from fc_resources.ledger import Progress

JANUARY = datetime.date(2026, 1, 1)


def _lock(output: str | None = "v1", marker: str = "a") -> Lock:
    definitions = {f"fc_assets.x.function_{n}": marker * 8 for n in range(2000)}
    return Lock(
        output,
        Code.of(Fingerprint(f"1-{marker}", definitions)),
        {"pull_requests": "v0"},
        {"python_versions": "3.11", "github": "", "number": "1e5", "text": "ä\n---\nb"},
        tools(4),
        "run",
        "2026-01-31T00:00:00+00:00",
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    locks = LockFiles(tmp_path)
    locks.write("packages", JANUARY, _lock())
    found = locks.read("packages", JANUARY)
    assert found is not None
    assert found == _lock()
    assert found.code.definitions["fc_assets.x.function_7"] == "a" * 8
    assert {"python", "uv"} <= found.tools.keys()
    assert [p.name for p in (tmp_path / "locks" / "packages").iterdir()] == ["2026-01.lock"]


@pytest.mark.parametrize("output", ["v1", "1e5", "0123", "c8fe"])
def test_of_what_output_and_code_it_is_is_told_without_parsing(tmp_path: Path, output: str) -> None:
    locks = LockFiles(tmp_path)
    assert not locks.begins("packages", JANUARY, output, "1-a")
    locks.write("packages", JANUARY, _lock(output))
    assert locks.begins("packages", JANUARY, output, "1-a")
    assert not locks.begins("packages", JANUARY, output, "1-b")
    assert not locks.begins("packages", JANUARY, "v2", "1-a")


def test_code_that_is_not_known_stays_so(tmp_path: Path) -> None:
    locks = LockFiles(tmp_path)
    lock = Lock(None, Code(), {}, {}, {}, "run", "")
    locks.write("packages", JANUARY, lock)
    assert locks.read("packages", JANUARY) == lock
    assert Code().definitions == {}


@pytest.mark.parametrize("text", ["", "output", "output: [", "- a\n- b\n", "code: 1\n", "\0"])
def test_a_lock_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    locks = LockFiles(tmp_path)
    assert locks.read("packages", JANUARY) is None
    locks.write("packages", JANUARY, _lock())
    (tmp_path / "locks" / "packages" / "2026-01.lock").write_text(text)
    assert locks.read("packages", JANUARY) is None


def test_it_tells_of_the_version_that_the_ledger_has() -> None:
    counts = dict.fromkeys(("total", "done", "skipped", "failed", "unknown"), 0)
    state = Progress("written", "run", **counts, seconds=0.0, inputs={}, version="v1")
    assert _lock("v1").tells_of(state)
    assert not _lock("v0").tells_of(state)
    assert not _lock(None).tells_of(state)
    assert _lock(None).tells_of(None)


def test_a_write_that_fails_leaves_the_lock_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = LockFiles(tmp_path)
    locks.write("packages", JANUARY, _lock())

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        locks.write("packages", JANUARY, _lock("v2"))
    assert locks.read("packages", JANUARY) == _lock()
    assert [p.name for p in (tmp_path / "locks" / "packages").iterdir()] == ["2026-01.lock"]


def _write_often(home: Path, marker: str) -> None:
    lock = _lock(marker, marker)
    for _ in range(200):
        LockFiles(home).write("packages", JANUARY, lock)


def test_of_two_processes_that_write_at_once_one_lock_is_left_and_is_whole(tmp_path: Path) -> None:
    locks = LockFiles(tmp_path)
    locks.write("packages", JANUARY, _lock("a", "a"))
    context = multiprocessing.get_context("spawn")
    either = (_lock("a", "a"), _lock("b", "b"))
    writers = [context.Process(target=_write_often, args=(tmp_path, m)) for m in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert locks.read("packages", JANUARY) in either
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert locks.read("packages", JANUARY) in either
    assert len([*(tmp_path / "locks" / "packages").iterdir()]) == 1


def test_every_stage_names_tools() -> None:
    assert all(tools(stage).keys() > {"python"} for stage in STAGES)
