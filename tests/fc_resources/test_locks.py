"""The lock between processes: one holder, freed by death, given up after a time, nothing leaked."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from fc_resources import locks
from fc_resources.errors import TransientError

_HOLD = """
import sys
from pathlib import Path
from fc_resources import locks
with locks.exclusive(Path(sys.argv[1]), 10):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        yield child
        child.kill()


def test_it_can_be_taken_again_after_use_and_after_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks.exclusive(path, 1):
        _ = 1 / 0
    with locks.exclusive(path, 0):
        pass


def test_a_held_lock_is_given_up_after_the_time(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(TransientError, match="held by another process"), locks.exclusive(path, 0.2):
        pass


def test_a_killed_holder_frees_it(path: Path, holder: subprocess.Popen[bytes]) -> None:
    threading.Timer(0.2, holder.kill).start()
    with locks.exclusive(path, 30):
        assert holder.wait(30) < 0


def test_who_gave_up_does_not_take_it_later(path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(TransientError), locks.exclusive(path, 0.2):
        pass
    holder.communicate(b"\n", timeout=30)
    with locks.exclusive(path, 10):
        pass


class _Interrupt(BaseException):
    """What Ctrl-C raises, without ending pytest."""


def _raise(number: int, frame: FrameType | None) -> None:
    raise _Interrupt


def test_who_was_interrupted_does_not_take_it_later(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    before = signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(_Interrupt), locks.exclusive(path, 30):
            pass
    finally:
        signal.signal(signal.SIGALRM, before)
    holder.communicate(b"\n", timeout=30)
    with locks.exclusive(path, 10):
        pass


def test_threads_of_one_process_exclude_each_other(path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with locks.exclusive(path, 30):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (inside, most) == (0, 1)


def test_a_child_process_does_not_inherit_it(path: Path) -> None:
    with locks.exclusive(path, 1):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with locks.exclusive(path, 0):
            pass
    finally:
        child.kill()
        child.wait()
