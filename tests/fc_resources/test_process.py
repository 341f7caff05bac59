"""Starting programs: what they see, how they end, what is left of them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fc_resources import process


def _run(script: str, *, timeout_s: float = 60, **more) -> process.Completed:
    env = more.pop("env", process.environment())
    return process.run(["bash", "-c", script], timeout_s=timeout_s, env=env, **more)


def _gone(pid: int, within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not process.alive(pid) or ") Z " in state.read_text():
            return True
        time.sleep(0.02)
    return False


def test_output_and_exit_code_come_back() -> None:
    done = _run("echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert not done.ok
    assert done.text == "err"
    assert _run("echo out").text == "out"


def test_standard_input_is_given_or_empty() -> None:
    assert _run("cat", stdin=b"\0\xff").stdout == b"\0\xff"
    assert _run("cat").stdout == b""
    assert _run("exec <&-; sleep 0.1", stdin=b"x" * 1_000_000).ok


def test_a_token_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_TOKENS", "ghp_secret")
    monkeypatch.setenv("SSL_CERT_FILE", "/certs.pem")
    names = set(_run("env", env=process.environment(MINE="1")).stdout.decode().split("\n"))
    assert {"MINE=1", "SSL_CERT_FILE=/certs.pem"} <= names
    assert not any("secret" in name for name in names)


def test_a_time_out_kills_grandchildren_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    done = _run(f"bash -c 'echo $$ > {pid_file}; sleep 600' & wait", timeout_s=1)
    assert done.timed_out
    assert not done.ok
    assert _gone(int(pid_file.read_text()))


def test_a_time_out_kills_a_grandchild_with_a_group_of_its_own(tmp_path: Path) -> None:
    """As asv starts its benchmarks."""
    pid_file = tmp_path / "pid"
    done = _run(f"set -m; bash -c 'echo $$ > {pid_file}; sleep 600' & wait", timeout_s=1)
    assert done.timed_out
    assert _gone(int(pid_file.read_text()))


def test_what_ignores_termination_is_killed() -> None:
    done = _run("trap '' TERM INT HUP; while :; do sleep 1; done", timeout_s=0.5)
    assert done.timed_out
    assert done.returncode < 0


def test_a_background_process_neither_delays_nor_survives(tmp_path: Path) -> None:
    done = _run("sleep 600 & echo $!", timeout_s=60)
    assert done.ok
    assert _gone(int(done.stdout))


def test_output_is_cut_and_says_so() -> None:
    done = _run("head -c 70000000 /dev/zero")
    assert done.truncated
    assert len(done.stdout) == 64 << 20
    assert not _run("true").truncated


def test_a_file_above_the_limit_ends_the_program(tmp_path: Path) -> None:
    script = f"head -c 100000 /dev/zero > {tmp_path}/file; echo $?"
    assert _run(script, file_limit=100_000).stdout == b"0\n"
    assert _run(script, file_limit=50_000).stdout == b"%d\n" % (128 + signal.SIGXFSZ)
    assert process.at_file_limit((tmp_path / "file").stat().st_size, 50_000)
    assert not process.at_file_limit(49_999, 50_000)
    assert not process.at_file_limit(60_000, 50_000)


def test_the_limit_of_a_file_is_one_of_the_output_too() -> None:
    done = _run("exec head -c 100000 /dev/zero", output_limit=50_000, file_limit=50_001)
    assert (done.returncode, len(done.stdout)) == (-signal.SIGXFSZ, 50_000)
    assert done.truncated


def test_memory_above_the_limit_is_not_given() -> None:
    program = [sys.executable, "-c", "x = bytes(1 << 30)"]
    for limit, ok in ((None, True), (1 << 29, False)):
        done = process.run(program, timeout_s=60, env=process.environment(), memory_limit=limit)
        assert done.ok == ok
    assert "MemoryError" in done.text


def test_a_program_with_a_limit_gets_its_arguments_as_they_are() -> None:
    command = ["printf", "%s|", "$(id)", "a b", "", "'\""]
    done = process.run(command, timeout_s=9, env=process.environment(), file_limit=1 << 20)
    assert done.stdout == b"$(id)|a b||'\"|"


def test_a_program_that_cannot_be_started_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        process.run(["/nonexistent/program"], timeout_s=1, env={})


def test_nothing_is_a_shell_command() -> None:
    done = process.run(["echo", "$(id); `id`"], timeout_s=9, env=process.environment())
    assert done.stdout == b"$(id); `id`\n"


def test_all_that_runs_can_be_killed(tmp_path: Path) -> None:
    ended: list[process.Completed] = []
    started = tmp_path / "started"
    script = f"touch {started}; sleep 600"
    thread = threading.Thread(target=lambda: ended.append(_run(script)))
    thread.start()
    while not started.exists():
        time.sleep(0.01)
    process.kill_all()
    thread.join(30)
    assert [(done.returncode, done.timed_out) for done in ended] == [(-9, False)]


def test_alive_tells_a_running_process_from_a_past_one() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process.alive(os.getpid())
    assert not process.alive(child.pid)
