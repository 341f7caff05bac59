"""The socket behind `./verify`, with clients of every kind."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fc_resources.coding_agents import verifier
from fc_resources.coding_agents.verifier import REPORT_LIMIT, Verifier


class Host:
    """What is verified, and how often."""

    def __init__(self, slow_s: float = 0.0) -> None:
        self.scripts = {"a.sh": "1"}
        self.asked: list[Mapping[str, str]] = []
        self.at_once = self.most_at_once = 0
        self._slow_s = slow_s

    def verify(self, scripts: Mapping[str, str]) -> tuple[bool, str]:
        self.asked.append(scripts)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self._slow_s)
        self.at_once -= 1
        return scripts["a.sh"] == "2", "x" * 40_000 + "the end"

    def served(self, folder: Path) -> Verifier:
        return Verifier(folder / "s", lambda: dict(self.scripts), self.verify)


def ask(folder: Path, said: bytes = b"") -> list[Any]:
    """All lines of an answer, the last one decoded."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "s"))
        if said:
            client.sendall(said)
        lines = client.makefile().read().splitlines()
    return [*lines[:-1], json.loads(lines[-1])] if lines else []


def test_answers_are_remembered_by_content(tmp_path: Path) -> None:
    host = Host()
    with host.served(tmp_path):
        (first,) = ask(tmp_path)
        assert not first["passed"]
        assert len(first["report"]) == REPORT_LIMIT
        assert first["report"].endswith("the end")
        with contextlib.suppress(ConnectionError):
            ask(tmp_path, b'{"passed": true}\n\xff' * 100)
        host.scripts = {"a.sh": "2"}
        assert ask(tmp_path)[-1]["passed"]
        host.scripts = {"a.sh": "1"}
        assert ask(tmp_path) == [first]
    assert host.asked == [{"a.sh": "1"}, {"a.sh": "2"}]
    with pytest.raises(OSError, match="refused"):
        ask(tmp_path)


def test_clients_that_leave_do_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "_BEAT_S", 0.05)
    host = Host(slow_s=0.4)
    with host.served(tmp_path):
        for _ in range(verifier._MOST_CLIENTS + 5):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "s"))
        time.sleep(0.2)
        answers: list[list[Any]] = []
        clients = [threading.Thread(target=lambda: answers.append(ask(tmp_path))) for _ in "abc"]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert len(host.asked) == 1
    assert host.most_at_once == 1
    assert len(answers) == 3
    for answer in answers:
        assert answer[0].startswith("# waiting for ")
        assert answer[-1]["report"]


def test_the_end_waits_for_what_runs_and_begins_nothing(tmp_path: Path) -> None:
    host = Host(slow_s=0.5)
    with host.served(tmp_path):
        for number in ("1", "2", "3"):
            host.scripts = {"a.sh": number}
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(tmp_path / "s"))
            time.sleep(0.1)
    assert host.at_once == 0
    assert len(host.asked) == 1


def test_an_error_is_kept_for_the_caller(tmp_path: Path) -> None:
    def verify(scripts: Mapping[str, str]) -> tuple[bool, str]:
        raise KeyboardInterrupt

    with Verifier(tmp_path / "s", dict, verify) as served:
        assert ask(tmp_path) == []
        assert ask(tmp_path) == []
        assert served.failed.is_set()
    assert isinstance(served.error, KeyboardInterrupt)


@pytest.mark.parametrize("lacking", ["_work", "_answer"])
def test_a_machine_without_threads_is_asked_again(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    failures = [1]

    def starts(thread: threading.Thread) -> None:
        if getattr(thread, "_target").__name__ == lacking and failures:  # noqa: B009
            failures.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    host = Host()
    monkeypatch.setattr(threading.Thread, "start", starts)
    with host.served(tmp_path):
        assert ask(tmp_path) == []
        assert not failures
        assert ask(tmp_path)[-1]["report"]


def test_it_tells_when_scripts_have_passed(tmp_path: Path) -> None:
    host = Host()
    with host.served(tmp_path) as served:
        ask(tmp_path)
        assert not served.passed.is_set()
        host.scripts = {"a.sh": "2"}
        ask(tmp_path)
        assert served.passed.is_set()
