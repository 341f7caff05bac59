"""Every check can fail: repositories that must be refused, each for exactly one reason.

They are made here, built for real, in the process sandbox everywhere and in containers where there
is Docker.
"""

import contextlib
import dataclasses
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fc_assets.candidate_containers.stock import context
from fc_assets.candidate_containers.trial import Tools
from fc_resources.errors import TransientError
from fc_resources.sandbox import Limits
from tests.fc_assets.candidate_containers import tiny


def test_a_sound_repository_is_verified(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    answer = tiny.verify(tiny.candidate(tmp_path, pins), tools)
    assert tiny.attempt(answer).get("failure_stage") is None, tiny.attempt(answer)
    [row] = answer.rows
    assert [b["benchmark"] for b in row["benchmarks"]] == ["bench.time_work"]
    outcomes = {check["check"]: check["outcome"] for check in row["checks"]}
    assert outcomes == {
        "build": "passed",
        "smoke": "passed",
        "profile": "passed",
        "hygiene": "passed" if tools.builder.sandbox == "docker" else "not_run",
        "measure": "not_run",
    }
    assert row["origin"] == "stock"


@pytest.mark.parametrize(
    ("changed", "stage", "cause"),
    [
        ({"pyproject.toml": "[project"}, "docker_build_pkg.sh", ""),
        ({"tiny/__init__.py": "import nowhere"}, "smoke", "No module named 'nowhere'"),
        ({"benchmarks/bench.py": ""}, "profile", "0 benchmarks"),
        ({"benchmarks/bench.py": "def time_a():\n    1 / 0\n"}, "profile", "0 benchmarks"),
        ({"asv.conf.json": "{"}, "docker_build_run.sh", ""),
    ],
)
def test_a_broken_repository_fails_at_its_stage(
    tmp_path: Path,
    tools: Tools,
    pins: tuple[str, ...],
    changed: dict[str, str],
    stage: str,
    cause: str,
) -> None:
    answer = tiny.verify(tiny.candidate(tmp_path, pins, **changed), tools)
    assert answer.rows == []
    attempt = tiny.attempt(answer)
    assert attempt["failure_stage"] == stage, attempt
    assert cause in attempt["cause"]
    assert attempt["timed_out"] is False


def test_a_package_from_elsewhere_than_the_checkout_is_refused(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    """A build that installs a copy: measuring it would measure the wrong code."""
    own = tools.scripts / "o" / "tiny"
    own.mkdir(parents=True)
    text = context("o", "tiny", tmp_path / "none").scripts["docker_build_pkg.sh"]
    assert "--editable " in text
    (own / "docker_build_pkg.sh").write_text(text.replace("--editable ", ""))
    attempt = tiny.attempt(tiny.verify(tiny.candidate(tmp_path, pins), tools))
    assert attempt["origin"] == "user"
    assert attempt["failure_stage"] == "smoke"
    assert "site-packages" in attempt["cause"]


def test_a_time_out_is_a_failure_and_says_so(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    endless = "import time\n\ndef time_a():\n    time.sleep(600)\ntime_a.timeout = 600\n"
    short = dataclasses.replace(tools, limits=Limits(8, memory="2g"))
    answer = tiny.verify(tiny.candidate(tmp_path, pins, **{"benchmarks/bench.py": endless}), short)
    assert answer.rows == []
    attempt = tiny.attempt(answer)
    assert (attempt["failure_stage"], attempt["timed_out"]) == ("profile", True)
    assert "killed after" in attempt["cause"]


def test_a_result_that_the_benchmarks_forge_where_none_ran_does_not_count(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    forged = """
import json, os, pathlib
out = pathlib.Path(os.environ["FC_OUTPUT"])
(out / "verified").write_text("true")
(out / "times.json").write_text(json.dumps({"bench.time_a": 0.1}))
"""
    answer = tiny.verify(tiny.candidate(tmp_path, pins, **{"benchmarks/bench.py": forged}), tools)
    assert answer.rows == []
    assert tiny.attempt(answer)["failure_stage"] == "profile"


def test_checks_have_no_network(tmp_path: Path, tools: Tools, pins: tuple[str, ...]) -> None:
    online = """
import socket
def time_a():
    socket.create_connection(("127.0.0.1", %d), 2).close()
"""
    with _listening() as port:
        answer = tiny.verify(
            tiny.candidate(tmp_path, pins, **{"benchmarks/bench.py": online % port}), tools
        )
    assert answer.rows == []
    assert tiny.attempt(answer)["failure_stage"] == "profile"


@contextlib.contextmanager
def _listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_outage_while_building_is_no_answer(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    own = tools.scripts / "o" / "tiny"
    own.mkdir(parents=True)
    script = "echo 'error: error sending request for url (index)' >&2; exit 2\n"
    (own / "docker_build_pkg.sh").write_text(script)
    with pytest.raises(TransientError, match="met an outage"):
        tiny.verify(tiny.candidate(tmp_path, pins), tools)


def test_without_an_environment_or_benchmarks_nothing_is_tried(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    sound = tiny.candidate(tmp_path, pins)
    for candidate, cause in (
        (dataclasses.replace(sound, asv_config=None), "no ASV configuration"),
        (dataclasses.replace(sound, pins=(), reason="unsatisfiable"), "unsatisfiable"),
    ):
        attempt = tiny.attempt(tiny.verify(candidate, tools))
        assert attempt["failure_stage"] == "environment"
        assert cause in attempt["cause"]


@pytest.mark.docker
@pytest.mark.parametrize("tools", ["docker"], indirect=True)
def test_no_object_of_the_solution_is_in_any_layer(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    candidate = tiny.candidate(tmp_path, pins)
    [row] = tiny.verify(candidate, tools).rows
    look = (
        "cd /workspace/tiny && git cat-file --batch-all-objects --batch-check | cut -d' ' -f1;"
        "grep -rl SECRET_OF_THE_SOLUTION /workspace /fc /root /tmp /home /opt; ls /fc"
    )
    out = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", row["image"], "bash", "-c", look],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    objects = tiny.git(
        tmp_path / "git" / "o" / "tiny.git", "rev-list", "--objects", candidate.base_sha
    )
    wanted = {line.split(" ")[0] for line in objects.splitlines()}
    lines = out.splitlines()
    assert {line for line in lines if len(line) == 40} == wanted
    assert [line for line in lines if len(line) != 40] in (["output"], [])
