"""What a real patch changes, measured in containers: faster, not faster, and not to be told."""

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fc_assets import sample
from fc_assets.candidate_containers import measure, speedups
from fc_assets.candidate_containers.contexts import Contexts
from fc_assets.candidate_containers.measure import patch_of
from fc_assets.candidate_containers.speedups import UnknownError
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.synthesizer import Synthesizer
from fc_assets.candidate_containers.trial import Tools
from fc_assets.packages import roots
from fc_resources.git import Mirrors
from fc_resources.sandbox import Limits
from fc_resources.uv import Uv
from tests.fc_assets.candidate_containers import tiny

_IN_DOCKER = [
    pytest.mark.docker,
    pytest.mark.parametrize("tools", ["docker"], indirect=True),
]
_C = """
#include <Python.h>
static PyObject *work(PyObject *self, PyObject *args) {
    volatile long total = 0;
    for (long i = 0; i < LIMIT; i++) total += i;
    return PyLong_FromLong(total);
}
static PyMethodDef methods[] = {{"work", work, METH_NOARGS, ""}, {NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", "", -1, methods};
PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&module); }
"""
#: The solution is in a header that setuptools is not told to depend on.
_EXTENSION = {
    "pyproject.toml": tiny.FILES["pyproject.toml"]
    + '[[tool.setuptools.ext-modules]]\nname = "tiny._fast"\nsources = ["tiny/fast.c"]\n',
    "tiny/__init__.py": "from tiny._fast import work\n",
    "tiny/fast.c": '#include "limit.h"\n' + _C,
    "tiny/limit.h": "#define LIMIT 100000\n",
}


def _measured(tools: Tools, candidate: Candidate, timeout_s: float = 300) -> Any:
    limits = Limits(timeout_s, memory="2g")
    answer = tiny.verify(candidate, dataclasses.replace(tools, measuring=limits))
    assert tiny.attempt(answer).get("failure_stage") is None, tiny.attempt(answer)
    [row] = answer.rows
    checks = {check["check"]: check["outcome"] for check in row["checks"]}
    assert checks.pop("measure") == ("failed" if row["verdict"] == "unknown" else "passed")
    assert set(checks.values()) == {"passed"}
    return row


class TestInContainers:
    """With a daemon."""

    pytestmark = _IN_DOCKER

    def test_a_change_in_c_is_measured_after_a_build(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        solution = {"tiny/limit.h": "#define LIMIT 1000\n"}
        row = _measured(tools, tiny.candidate(tmp_path, pins, solution, **_EXTENSION))
        assert (row["verdict"], row["verdict_reason"]) == ("faster", None)
        assert (row["benchmarks_run"], row["improved"], row["regressed"]) == (1, 1, 0)
        assert row["best_benchmark"] == "bench.time_work"
        assert 1 < row["best_low"] < row["best"] < row["best_high"]
        assert row["best"] > 5
        assert row["best_p"] < 0.05
        assert row["rounds"] >= 6
        assert row["machine"]
        look = ["cat", "/workspace/tiny/tiny/limit.h"]
        command = ["docker", "run", "--rm", "--network", "none", row["image"], *look]
        seen = subprocess.run(command, capture_output=True, text=True)
        assert seen.stdout == _EXTENSION["tiny/limit.h"]  # no image has the solution

    def test_a_patch_that_changes_nothing_but_benchmarks_is_not_faster(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        solution = {
            "tiny/__init__.py": "# A remark.\n" + tiny.FILES["tiny/__init__.py"],
            "benchmarks/bench.py": "def time_work():\n    pass\n",
        }
        row = _measured(tools, tiny.candidate(tmp_path, pins, solution))
        assert (row["verdict"], row["improved"], row["regressed"]) == ("not_faster", 0, 0)

    @pytest.mark.parametrize(
        ("solution", "base", "reason"),
        [
            ({"tiny/limit.h": "#error nobody builds this\n"}, _EXTENSION,
             "the patched commit does not build again"),
            ({"setup.py": "import socket; socket.create_connection(('example.org', 80))\n"}, {},
             "it needs network, which it does not get"),
            ({"tiny/__init__.py": "import nowhere\n"}, {}, "no benchmark gives times in both"),
            ({"benchmarks/bench.py": "def time_work(): pass\n"}, {},
             "changes nothing but benchmarks"),
        ],
        ids=["broken", "network", "import", "benchmarks"],
    )  # fmt: skip
    def test_what_cannot_be_told_has_a_reason(
        self,
        tmp_path: Path,
        tools: Tools,
        pins: tuple[str, ...],
        solution: dict[str, str],
        base: dict[str, str],
        reason: str,
    ) -> None:
        row = _measured(tools, tiny.candidate(tmp_path, pins, solution, **base))
        assert row["verdict"] == "unknown"
        assert reason in row["verdict_reason"]
        assert row.get("speedup") is None

    def test_a_patch_that_does_not_apply_is_unknown(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        """A build may change files of the checkout that are no benchmark's."""
        last = "rm -rf ~/.cache/uv"
        changed = 'if [ -z "${FC_REBUILD:-}" ]; then echo "x = 1" > tiny/__init__.py; fi\n'
        changed += 'echo "def work(): return 1" >> tiny/__init__.py\n'
        tiny.supply(tools.scripts, "docker_build_pkg.sh", last, changed + last)
        row = _measured(tools, tiny.candidate(tmp_path, pins))
        assert row["verdict"] == "unknown"
        assert "the patch does not apply: error: tiny/__init__.py" in row["verdict_reason"]

    def test_a_script_that_cannot_build_again_and_a_time_that_is_over_are_unknown(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        row = _measured(tools, tiny.candidate(tmp_path, pins), timeout_s=1.5)
        assert "FC_MEASURE_TIMEOUT_S" in row["verdict_reason"]
        tiny.supply(tools.scripts, "docker_build_pkg.sh", "FC_REBUILD", "FC_NOTHING")
        candidate = tiny.again(tmp_path, pins)
        assert "it knows no FC_REBUILD" in _measured(tools, candidate)["verdict_reason"]

    def test_an_agents_script_does_not_make_the_base_commit_slower(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        """It is run once, for the image; what is measured is built by ours."""
        candidate = tiny.candidate(tmp_path, pins, {"tiny/new.py": "# only a comment\n"})
        slow = "echo 'import time; work = lambda: time.sleep(0.002)' >> tiny/__init__.py"
        at_base = '[ -n "${FC_REBUILD:-}" ] && [ ! -e tiny/new.py ]'
        known = tiny.working(candidate, 2, extra=f"if {at_base}; then {slow}; fi\n")
        given = dataclasses.replace(tools, measuring=Limits(300, memory="2g"))
        row = Synthesizer(given, Contexts([known])).synthesize(candidate).row
        assert row is not None
        assert (row["origin"], row["step"]) == ("claude", "similar")
        assert (row["verdict"], row["improved"]) == ("not_faster", 0)

    def test_a_pull_request_of_the_sample_is_faster(self, tmp_path: Path, tools: Tools) -> None:
        needs = ["asv", "setuptools", "sortedcontainers"]
        pins = tuple(Uv(tmp_path / "uv").pin(needs, tiny.PYTHON, None).pins or ())
        sample.unpack(tmp_path / "sample")
        owner, repo = sample.REPOSITORY
        [sha] = [
            row["pr_merge_commit_sha"]
            for row in sample.load("pull_requests")
            if row["pr_title"].startswith("Vocabulary.with_prefix: walk only")
        ]
        mirrors = Mirrors(tmp_path / "mirrors", local=tmp_path / "sample" / "git")
        mirror = mirrors.mirror(owner, repo, [sha])
        base = mirror.first_parent(sha)
        config = roots.find_asv_config(mirror.files(base))
        candidate = Candidate(
            *(owner, repo, 26, sha, base, repo, ".", config, tiny.PYTHON, pins, (), None),
            tiny.MERGED_AT,
        )
        row = _measured(dataclasses.replace(tools, mirrors=mirrors), candidate)
        assert row["verdict"] == "faster"
        assert row["best_benchmark"] == "words.Lookup.time_with_prefix"
        assert row["best_low"] > 1
        assert row["benchmarks_run"] > 10
        assert row["regressed"] == 0


def test_without_containers_nothing_is_measured(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    """And with them, not without time."""
    limits = Limits(300) if tools.builder.sandbox == "process" else None
    answer = tiny.verify(
        tiny.candidate(tmp_path, pins), dataclasses.replace(tools, measuring=limits)
    )
    [row] = answer.rows
    [check] = [check for check in row["checks"] if check["check"] == "measure"]
    assert check["outcome"] == "not_run"
    assert check["evidence"]
    assert "verdict" not in row


def test_benchmarks_are_left_out_of_the_patch(tmp_path: Path) -> None:
    candidate = tiny.candidate(tmp_path, ("asv==0",))
    mirrors = Mirrors(tmp_path / "mirrors", local=tmp_path / "git")
    mirror = mirrors.mirror("o", "tiny", [candidate.sha])
    patch = patch_of(candidate, mirror)
    assert b"tiny/solution.py" in patch
    assert b"benchmarks/more.py" not in patch
    only = {"benchmarks/ä b.py": "x = 1\n", "asv.conf.json": "{}"}
    candidate = tiny.candidate(tmp_path / "other", ("asv==0",), only)
    mirrors = Mirrors(tmp_path / "other", local=tmp_path / "other" / "git")
    with pytest.raises(UnknownError, match="nothing but benchmarks"):
        patch_of(candidate, mirrors.mirror("o", "tiny", [candidate.sha]))


def test_without_time_for_all_those_that_seem_to_have_changed_are_measured() -> None:
    base = {f"bench.time_{n}": 1.0 for n in range(40)} | {"bench.time_p[0]": 1.0}
    patched = base | {"bench.time_7": 0.5, "bench.time_3": 2.1, "bench.time_p[0]": 0.9}
    found = speedups.compare([base], [patched])
    assert measure._most_changed(found, 2 / 41) == ["bench.time_3", "bench.time_7"]
    assert "bench.time_p" in measure._most_changed(found, 3 / 41)
    assert len(measure._most_changed(found, 1)) == 41
    assert measure._most_changed(found, -1) == []
