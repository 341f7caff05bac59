"""What is tried for a candidate, in which order, and when it stops; built for real."""

import dataclasses
from pathlib import Path

import pytest

from fc_assets.candidate_containers import stock
from fc_assets.candidate_containers.contexts import Contexts
from fc_assets.candidate_containers.synthesizer import Synthesis, Synthesizer
from fc_assets.candidate_containers.trial import Tools
from fc_resources.errors import FcError
from tests.fc_assets.candidate_containers import tiny

_in_process = pytest.mark.parametrize("tools", ["process"], indirect=True)
#: Imports at build time what nothing declares.
_UNDECLARED = {"setup.py": "import Cython\nfrom setuptools import setup\nsetup()\n"}
_BROKEN = {"setup.py": "raise ModuleNotFoundError(\"No module named 'Cython'\")\n"}


def _steps(found: Synthesis) -> list[tuple[str, str | None]]:
    return [(attempt["step"], attempt["failure_stage"]) for attempt in found.attempts]


@_in_process
def test_what_worked_is_taken_again_by_itself_and_by_neighbours(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    candidate, known = tiny.candidate(tmp_path, pins, **_UNDECLARED), Contexts()
    synthesizer = Synthesizer(tools, known)
    first = synthesizer.synthesize(candidate)
    assert _steps(first) == [("stock", "docker_build_pkg.sh"), ("repair", None)]
    assert first.row is not None
    assert first.attempts[1]["about"] == "added cython"
    assert "Cython" in first.attempts[0]["cause"]
    assert (first.row["origin"], first.row["step"]) == ("repair", "repair")
    assert _steps(synthesizer.synthesize(candidate)) == [("cache", None)]
    again = Synthesizer(tools, Contexts([first.row])).synthesize(
        dataclasses.replace(candidate, issue_number=2)
    )
    assert _steps(again) == [("similar", None)]
    assert again.row is not None
    assert (again.row["origin"], again.row["step"]) == ("repair", "similar")
    assert again.attempts[0]["about"] == "those of #1"
    assert again.context is not None
    assert again.context.scripts == {s["name"]: s["content"] for s in first.row["scripts"]}


@_in_process
def test_a_failure_that_repeats_ends_the_repairs(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    found = Synthesizer(tools).synthesize(tiny.candidate(tmp_path, pins, **_BROKEN))
    assert found.row is None
    assert _steps(found) == [
        ("stock", "docker_build_pkg.sh"),
        ("repair", "docker_build_pkg.sh"),
    ]
    assert [attempt["attempt"] for attempt in found.attempts] == [1, 2]
    assert found.answer().rows == []


@_in_process
def test_scripts_that_a_user_supplies_come_before_what_worked(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    candidate = tiny.candidate(tmp_path, pins)
    known = Contexts([tiny.working(candidate, 1), tiny.working(candidate, 2)])
    tiny.supply(tools.scripts, "docker_build_pkg.sh", "rm -rf", "echo mine; rm -rf")
    found = Synthesizer(tools, known).synthesize(candidate)
    assert _steps(found) == [("stock", None)]
    assert found.attempts[0]["origin"] == "user"


@_in_process
@pytest.mark.parametrize("script", ["docker_build_env.sh", "docker_build_pkg.sh"])
def test_outside_of_containers_no_strangers_script_runs(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], script: str
) -> None:
    missing = {"setup.py": "raise SystemExit('x.c:1:9: fatal error: geos_c.h: No such file')\n"}
    candidate = tiny.candidate(tmp_path, pins, **missing)
    rows = [tiny.working(candidate, number) for number in (1, 2)]
    for row in rows:
        [entry] = [entry for entry in row["scripts"] if entry["name"] == script]
        entry["content"] = f"touch {tmp_path}/ran; exit 1\n"
    found = Synthesizer(tools, Contexts(rows)).synthesize(candidate)
    # Nor is a system package installed, which would be the repair.
    assert _steps(found) == [("stock", "docker_build_pkg.sh")]
    assert "geos_c.h" in found.attempts[0]["cause"]
    assert not (tmp_path / "ran").exists()


@_in_process
def test_stock_scripts_and_repairs_are_those_of_today(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    candidate = tiny.candidate(tmp_path, pins, **_UNDECLARED)
    old = tiny.working(candidate, 1, origin="stock", extra="exit 9\n")
    withdrawn = tiny.working(candidate, 2, origin="user", extra="exit 9\n")
    repaired = tiny.working(
        candidate, 3, origin="repair", extra='FC_REQUIREMENTS+=" cython"\nexit 9'
    )
    found = Synthesizer(tools, Contexts([old, withdrawn, repaired])).synthesize(candidate)
    assert _steps(found) == [("similar", None)]
    assert found.row is not None
    assert found.row["origin"] == "repair"
    assert "exit 9" not in str(found.row["scripts"])


@_in_process
def test_what_has_nothing_to_import_has_no_container(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    candidate = tiny.candidate(tmp_path, pins)
    found = Synthesizer(tools).synthesize(dataclasses.replace(candidate, project_root="nowhere"))
    assert _steps(found) == [("stock", "environment")]
    assert found.attempts[0]["cause"] == "no importable package below nowhere"


@_in_process
def test_as_a_library_failures_keep_their_place(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...]
) -> None:
    candidate = tiny.candidate(tmp_path, pins)
    environment = {
        **{name: getattr(candidate, name) for name in ("base_sha", "project_name", "asv_config")},
        **{"project_root": None, "pins": list(pins), "system_packages": [], "reason": None},
    }
    sound = {
        **{"owner": "o", "repo": "tiny", "issue_number": 1, "sha": candidate.sha},
        "pr_context": {"merged_at": candidate.merged_at},
        "env_payload": environment,
        "python_version": candidate.python_version,
    }
    without = {**sound, "env_payload": {**environment, "pins": None, "reason": "unsatisfiable"}}
    unreachable = {**sound, "repo": "nowhere"}
    [first, second, third] = Synthesizer(tools).run_many([without, sound, unreachable])
    assert (first, third) == (None, None)
    assert second is not None
    assert second.scripts == stock.stock()
    with pytest.raises(FcError, match="nowhere"):
        Synthesizer(tools).run(**unreachable)


def test_neighbours_with_the_same_python_come_first_then_the_nearest(
    tmp_path: Path, pins: tuple[str, ...]
) -> None:
    candidate = tiny.candidate(tmp_path, pins)
    known = Contexts(
        [
            tiny.working(candidate, 1),
            tiny.working(candidate, 2, 1, python_version="3.8"),
            tiny.working(candidate, 3, 9),
            tiny.working(candidate, 4, -5),
            tiny.working(candidate, 5, merged_at=None),
            tiny.working(candidate, 6, repo="other"),
        ]
    )
    assert [working.issue_number for working in known.similar(candidate)] == [4, 3, 5, 2]
    own = known.of(candidate)
    assert own is not None
    assert own.issue_number == 1
    for changed in ({"python_version": "3.8"}, {"base_sha": "d" * 40}, {"issue_number": 9}):
        assert known.of(dataclasses.replace(candidate, **changed)) is None


@pytest.mark.docker
@pytest.mark.parametrize("tools", ["docker"], indirect=True)
class TestInContainers:
    """With a daemon."""

    def test_a_missing_library_and_a_module_that_is_gone_are_added(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        needs = {
            "setup.py": "print('skipped a plugin: No module named \\'yaml\\'', flush=True)\n"
            "import pkg_resources\nfrom setuptools import Extension, setup\n"
            "setup(ext_modules=[Extension('tiny.c', ['tiny/c.c'])])\n",
            "tiny/c.c": "#include <Python.h>\n#include <zstd.h>\n"
            "PyMODINIT_FUNC PyInit_c(void) { return NULL; }\n",
        }
        found = Synthesizer(tools).synthesize(tiny.candidate(tmp_path, pins, **needs))
        steps = [(a["step"], a["failure_stage"], a["about"]) for a in found.attempts]
        assert steps == [
            ("stock", "docker_build_pkg.sh", None),
            ("repair", "docker_build_pkg.sh", "added setuptools<81"),
            ("repair", None, "added libzstd-dev"),
        ], found.attempts[-1]
        assert found.row is not None
        assert 0 < found.row["image_bytes"] < 2**30
        assert [c["outcome"] for c in found.row["checks"]] == ["passed"] * 4 + ["not_run"]

    def test_five_neighbours_at_most_are_tried_and_none_twice(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        candidate = tiny.candidate(tmp_path, pins, **{"pyproject.toml": "[project"})
        fails = [
            tiny.working(candidate, number, extra=f"exit {number}\n") for number in range(2, 9)
        ]
        twice = [{**row, "issue_number": row["issue_number"] + 20} for row in fails]
        found = Synthesizer(tools, Contexts([*fails, *twice])).synthesize(candidate)
        assert [step for step, _ in _steps(found)] == ["similar"] * 5 + ["stock"]
        assert len({str(attempt["scripts"]) for attempt in found.attempts}) == 6

    def test_a_strangers_script_may_change_no_file_of_the_commit(
        self, tmp_path: Path, tools: Tools, pins: tuple[str, ...]
    ) -> None:
        candidate = tiny.candidate(tmp_path, pins, **_BROKEN)
        slower = tiny.working(candidate, 2, extra="")
        for script in slower["scripts"]:
            script["content"] = script["content"].replace(
                "uv pip install --no-deps --no-build",
                "echo 'from setuptools import setup; setup()' > setup.py\n"
                "uv pip install --no-deps --no-build",
            )
        found = Synthesizer(tools, Contexts([slower])).synthesize(candidate)
        assert _steps(found)[0] == ("similar", "hygiene")
        assert found.attempts[0]["cause"] == "setup.py is not the base commit's"
        assert found.row is None
