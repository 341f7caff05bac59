"""Containers that build, import and measure well, and are refused for what else is in them.

Each is made by a script that a user, or an agent, or the code of a build could have written.
"""

import base64
import dataclasses
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fc_assets.candidate_containers import traces
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.trial import Tools
from tests.fc_assets.candidate_containers import tiny

pytestmark = [
    pytest.mark.docker,
    pytest.mark.parametrize("tools", ["docker"], indirect=True),
]

_LAST = "rm -rf ~/.cache/uv"
_TOKEN = "ghp_" + "0123456789abcdefghijklmnopqrstuvwxyzAB"[:36]
_SITE = "$(echo $FC_ROOT/venv/lib/python3.*/site-packages)"
#: Twice as fast: what is too fast to be true is refused by the profile check.
_FAKE = "import time; time.perf_counter = lambda real=time.perf_counter: real() / 2"


def _refused(tools: Tools, candidate: Candidate) -> str:
    """The cause of the refusal by the hygiene check, and by no other."""
    answer = tiny.verify(candidate, tools)
    attempt = tiny.attempt(answer)
    assert (answer.rows, attempt.get("failure_stage")) == ([], "hygiene"), attempt
    assert (attempt["origin"], attempt["timed_out"]) == ("user", False)
    return attempt["cause"]


def _also(tools: Tools, command: str, script: str = "docker_build_pkg.sh") -> None:
    """Have a script of the build do something more at its end."""
    last = _LAST if script == "docker_build_pkg.sh" else "git init --quiet"
    tiny.supply(tools.scripts, script, last, f"{command}\n{last}")


def _write(content: bytes, path: str) -> str:
    text = base64.b64encode(content).decode()
    return f'mkdir -p "$(dirname {path})"; echo {text} | base64 -d > {path}'


def _pack(repository: Path, candidate: Candidate) -> bytes:
    return subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "--quiet"],
        cwd=repository,
        input=f"{candidate.sha}\n^{candidate.base_sha}\n".encode(),
        check=True,
        capture_output=True,
    ).stdout


def _loose(repository: Path, candidate: Candidate) -> bytes:
    text = tiny.git(repository, "show", f"{candidate.sha}:tiny/solution.py").encode() + b"\n"
    return zlib.compress(b"blob %d\0" % len(text) + text)


@pytest.mark.parametrize(
    ("make", "path", "finding"),
    [
        (_pack, "$FC_ROOT/tiny/.git/objects/pack/pack-1.pack", "git objects of the solution"),
        (_loose, "$FC_ROOT/tiny/.git/objects/ab/" + "c" * 38, "1 git objects of the solution"),
        (_loose, "/var/cache/thing", "1 git objects of the solution"),
    ],
)
def test_an_object_of_a_later_commit_is_found_wherever_it_is(
    tmp_path: Path,
    tools: Tools,
    pins: tuple[str, ...],
    make: Callable[[Path, Candidate], bytes],
    path: str,
    finding: str,
) -> None:
    candidate = tiny.candidate(tmp_path, pins)
    content = make(tmp_path / "git" / "o" / "tiny.git", candidate)
    _also(tools, _write(content, path))
    assert finding in _refused(tools, candidate)


def test_no_object_but_those_of_the_base_commit_is_in_its_repository(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    """A later commit that was rewritten has objects that nobody knows."""
    _also(tools, "echo solved | git hash-object -w --stdin")
    cause = _refused(tools, tiny.candidate(tmp_path, pins))
    assert "1 git objects that the base commit does not reach" in cause


@pytest.mark.parametrize(
    ("command", "finding"),
    [
        (f"echo '{_FAKE}' > {_SITE}/sitecustomize.py", "sitecustomize.py runs before"),
        (f"echo '{_FAKE}' > {_SITE}/faster.pth", "faster.pth runs code at start-up"),
        (f"echo '{_FAKE}' >> {_SITE}/__editable___tiny_1_finder.py",
         "pth runs code at start-up"),
        (f"echo '{_FAKE}' >> {_SITE}/asv_runner/benchmarks/time.py", "time.py is not in the wheel"),
        ('python=$(readlink -f "$FC_ROOT/venv/bin/python"); rm "$FC_ROOT/venv/bin/python"; '
         'printf \'#!/bin/bash\\nexec -a "$0" %s "$@"\\n\' "$python" > "$FC_ROOT/venv/bin/python"; '
         'chmod +x "$FC_ROOT/venv/bin/python"', "is not the interpreter of the base image"),
        ('real=$FC_ROOT/venv/bin/asv; sed -i "2i import os" $real',
         "bin/asv is not what the installer makes"),
        ("echo pass > $FC_ROOT/venv/bin/cProfile.py", "cProfile.py shadows the module"),
        ('echo "default_timer = lambda real=time.perf_counter: real() / 2" >> '
         '"$(python -c "import timeit; print(timeit.__file__)")"',
         "timeit.py is in the standard library and not of the base image"),
        (f"mv {_SITE}/setuptools-*.dist-info {_SITE}/setuptools-9999.dist-info",
         "there are no wheels of"),
    ],
    ids=["sitecustomize", "pth", "finder", "runner", "python", "asv", "shadow", "timeit", "wheel"],
)  # fmt: skip
def test_nothing_fakes_times(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], command: str, finding: str
) -> None:
    _also(tools, command)
    assert finding in _refused(tools, tiny.candidate(tmp_path, pins))


@pytest.mark.parametrize(
    ("command", "finding"),
    [
        ("echo '    pass' >> benchmarks/bench.py", "bench.py is not the base commit's"),
        ("echo 'def time_a(): pass' > benchmarks/a.py", "a.py is not in the base commit"),
        ("python -m compileall -q benchmarks", "bench.cpython-"),
    ],
    ids=["changed", "added", "compiled"],
)  # fmt: skip
def test_benchmarks_are_the_base_commits(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], command: str, finding: str
) -> None:
    _also(tools, command)
    assert finding in _refused(tools, tiny.candidate(tmp_path, pins))


def test_benchmarks_are_looked_for_where_the_base_commit_has_them(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    elsewhere = 'benchmark_dir=(__import__("shutil").copytree(f"{checkout}/benchmarks", "/opt/b"))'
    place = (
        'benchmark_dir=str((source.parent / config.get("benchmark_dir", "benchmarks")).resolve())'
    )
    tiny.supply(tools.scripts, "docker_build_run.sh", place, elsewhere)
    cause = _refused(tools, tiny.candidate(tmp_path, pins))
    assert "asv.json has another benchmark_dir" in cause


def test_a_solution_is_found_where_a_later_layer_removed_it(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    solution = tiny.SOLUTION["tiny/solution.py"].encode()
    _also(tools, _write(solution, "/opt/notes"), "docker_build_env.sh")
    _also(tools, "rm /opt/notes")
    assert "opt/notes has a file of the solution" in _refused(tools, tiny.candidate(tmp_path, pins))


def test_a_part_of_the_solution_is_found_by_its_lines(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    candidate = tiny.candidate(tmp_path, pins)
    diff = tiny.git(tmp_path / "git" / "o" / "tiny.git", "show", candidate.sha)
    _also(tools, _write(diff.encode(), "/root/changes"))
    assert "root/changes has lines that only the solution adds" in _refused(tools, candidate)


@pytest.mark.parametrize("secret", [_TOKEN, "my-own-secret-of-no-known-form"])
def test_credentials_are_found_in_any_layer(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], secret: str
) -> None:
    is_ours = secret != _TOKEN
    knowing = dataclasses.replace(tools, secrets=traces.secrets([secret] * is_ours))
    _also(tools, _write(f"Bearer {secret}\n".encode(), "/root/.netrc"), "docker_build_env.sh")
    _also(tools, "rm /root/.netrc")
    cause = _refused(knowing, tiny.candidate(tmp_path, pins))
    assert "root/.netrc has" in cause
    assert ("a secret of ours" in cause) == is_ours
    assert secret not in cause
