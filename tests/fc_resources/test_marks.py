import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fc_resources import marks

_OWN = """
import sys
from pathlib import Path
from fc_resources import marks
print(marks.own(Path({!r})), flush=True)
sys.stdin.read()
"""


def of_a_dead_process(home: Path) -> str:
    """The mark of a process that was there for a moment."""
    program = [sys.executable, "-c", _OWN.format(str(home))]
    return subprocess.run(
        program, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_a_process_has_one_mark_a_home_and_is_there(tmp_path: Path) -> None:
    mark = marks.own(tmp_path)
    assert marks.own(tmp_path) == mark
    assert marks.own(tmp_path / "other") != mark
    assert not marks.is_gone(tmp_path, mark)
    assert marks.is_gone(tmp_path / "other", mark), "it is another home's"


@pytest.mark.parametrize("apart", [(), ("unshare", "--pid", "--fork")])
def test_what_is_killed_is_gone_wherever_it_ran(tmp_path: Path, apart: tuple[str, ...]) -> None:
    """In another namespace of processes, as in a container, ids tell nothing."""
    if apart and (os.geteuid() != 0 or not shutil.which("unshare")):
        pytest.skip("namespaces of processes need root")
    program = [*apart, sys.executable, "-c", _OWN.format(str(tmp_path))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        mark = child.stdout.readline().decode().strip()
        assert not marks.is_gone(tmp_path, mark)
        child.communicate()
    assert marks.is_gone(tmp_path, mark)


def test_a_forked_process_has_a_mark_of_its_own(tmp_path: Path) -> None:
    mark = marks.own(tmp_path)
    ours, theirs = os.pipe()
    if not os.fork():
        os.write(theirs, marks.own(tmp_path).encode())
        os._exit(0)
    assert os.read(ours, 100).decode() != mark
    os.wait()
    assert not marks.is_gone(tmp_path, mark)


def test_marks_of_the_dead_are_removed_by_the_next_process(tmp_path: Path) -> None:
    first, second = (of_a_dead_process(tmp_path) for _ in range(2))
    assert first != second
    left = [path.name for path in (tmp_path / "locks" / "processes").iterdir()]
    assert left == [second]


@pytest.mark.parametrize("name", ["", "1", "../../etc/passwd", "x" * 32])
def test_what_is_no_mark_is_nobodys(tmp_path: Path, name: str) -> None:
    assert not marks.is_gone(tmp_path, name)
