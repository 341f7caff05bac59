"""What builds say of themselves: hostile reports as data, and real backends in real containers.

The repositories are made here; in containers, tools come from the real package index.
"""

import datetime
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker as docker_sdk
import hypothesis
import hypothesis.strategies as st
import pytest

from fc_assets import work
from fc_assets.packages import asset, built, metadata
from fc_assets.packages.built import Builder, Built
from fc_assets.packages.declarations import Project
from fc_assets.packages.resolve import Resolver
from fc_assets.tables import PACKAGES
from fc_resources import settings
from fc_resources.docker import Docker
from fc_resources.git import Mirrors
from fc_resources.sandbox import Limits
from fc_resources.uv import Uv
from tests import containers
from tests.fc_assets.packages.hub import NOON, Hub

_PYTHON = os.environ.get("FC_PYTHON_VERSIONS", "3.11").split(",")[0]
_NAMED = {"name": "mine", "version": "1"}


def _report(**metadata: Any) -> bytes:
    return json.dumps({"install": [{"metadata": {**_NAMED, **metadata}}]}).encode()


def _project(report: bytes, files: Mapping[str, str] | None = None) -> Project:
    """What is declared by a project of which files tell nothing and the report all."""
    found = built.parse(report)
    assert isinstance(found, Built), found
    files = {"setup.py": "setup(install_requires=compute())", **(files or {})}
    return metadata.read_project(list(files), files.get, found)


def _needs(project: Project) -> list[str]:
    return [r for r in project.requirements if r not in ("setuptools", "wheel", "asv")]


# What a report says.


def test_a_build_tells_what_no_file_does() -> None:
    project = _project(
        _report(
            requires_python=">=3.9",
            classifier=["Programming Language :: Python :: 3.12"],
            requires_dist=["a>=1", 'b; platform_system == "Linux"'],
        )
    )
    assert (project.name, project.requires_python) == ("mine", ">=3.9")
    assert project.classifiers == ("Programming Language :: Python :: 3.12",)
    assert _needs(project) == ["a>=1", 'b; platform_system == "Linux"']
    assert (project.dynamic, project.dropped) == ((), [])


def test_no_dependencies_are_an_answer() -> None:
    assert _project(_report()).dynamic == ()


_EXTRAS = [
    "run",
    'a ; extra == "bench"',
    "b; python_version < '3.9' and extra == 'bench'",
    'c; (python_version >= "3.9") and extra == "bench"',
    'd; extra == "bench" and os_name == "nt"',
    'e; extra == "dev" or extra == "Bench"',
    'f; os_name == "nt" or os_name == "posix" and extra == "bench"',
    'mine[more]; extra == "bench"',
    'g; extra == "more"',
    'h; extra == "dev"',
]


def test_extras_are_needed_where_asv_asks_for_them() -> None:
    report = _report(requires_dist=_EXTRAS, provides_extra=["bench", "more", "dev", "none"])
    assert _needs(_project(report)) == ["run"]
    asks = {"asv.conf.json": '{"install_command": ["pip install {build_dir}[bench,none]"]}'}
    project = _project(report, asks)
    assert _needs(project) == [
        "run",
        "a",
        'b; python_version < "3.9"',
        'c; python_version >= "3.9"',
        'd; os_name == "nt"',
        'e; python_version < "3" or python_version >= "3"',
        'f; os_name == "nt" or os_name == "posix"',
        "g",
    ]
    assert project.dropped == []


def test_extras_that_are_only_pretended_are_no_needs() -> None:
    lines = ['a; extra == "fake"', 'b; "x" == extra', 'c; extra != "x"', 'd; extra in "x"']
    project = _project(_report(requires_dist=lines, provides_extra=["x" * 300, "", "\ud800"]))
    assert _needs(project) == []
    assert len(project.dropped) == 3


def test_what_a_build_says_of_addresses_and_garbage_is_dropped_as_if_declared() -> None:
    lines = ["a @ file:///etc/passwd", "--index-url x", "b\0", "\udcff", "c" * 5000, "", 3, None]
    lines += ['d; extra == "' + "x" * 3000 + '"', "mine", "e"]
    project = _project(_report(requires_dist=lines, requires_python=["3"], classifier=3))
    assert _needs(project) == ["e"]
    assert len(project.dropped) == 12
    assert all(len(d) < 600 for d in project.dropped)


@pytest.mark.parametrize("what", [7, "b; extras", 'c; extra == "d"', "e @ f:g"])
def test_absurdly_many_needs_do_not_fill_a_row(what: object) -> None:
    project = _project(_report(requires_dist=[what] * 20_000, provides_extra=[what] * 10_000))
    assert "all after 1000" in str(project.dropped)
    assert len(project.dropped) < 2100


@pytest.mark.parametrize(
    "report",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b"9" * 10_000,
        b"null",
        b"{}",
        b'{"install": []}',
        b'{"install": [{}]}',
        b'{"install": [{"metadata": []}]}',
        b'{"install": [{"metadata": "name"}]}',
        b'{"install": [{"metadata": {}}]}',
        b'{"install": [3]}',
        _report(description="x" * 2_000_000),
    ],
)
def test_a_report_that_is_none_is_told(report: bytes) -> None:
    found = built.parse(report)
    assert isinstance(found, str)
    assert len(found) < 400


_ODD = st.recursive(
    st.none() | st.integers() | st.text(max_size=20) | st.sampled_from(_EXTRAS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=10,
)
_FIELDS = ("name", "requires_python", "classifier", "requires_dist", "provides_extra")


@hypothesis.given(st.fixed_dictionaries(dict.fromkeys(_FIELDS, _ODD)))
@hypothesis.settings(max_examples=150, deadline=None)
def test_no_report_raises(fields: dict[str, Any]) -> None:
    _project(_report(**fields))


def test_an_answer_rests_on_the_base_image_and_on_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    month = datetime.date(2025, 3, 1)
    row = {"owner": "o", "repo": "r", "merge_commit_sha": "a" * 40, "is_performance": True}

    def digest(**changed: str) -> str:
        for name, value in changed.items():
            monkeypatch.setenv(name, value)
        [(_, [item])] = asset.items([(month, [row, row])], settings.load())
        return item.digest

    first = digest(FC_BASE_IMAGE="python:{python}-slim")
    assert digest(FC_BUILD_TIMEOUT_S="5") == first
    assert digest(FC_BASE_IMAGE="python:{python}") != first


# Real builds.

_BUILD_SYSTEM = '[build-system]\nrequires = ["{}"]\nbuild-backend = "{}"\n'
_DYNAMIC = '[project]\nname = "mine"\nversion = "1"\ndynamic = ["dependencies"]\n'
_IN_TREE = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n' + _DYNAMIC


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "git")


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Uv:
    return Uv(tmp_path_factory.mktemp("uv"))


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Docker]:
    yield Docker(tmp_path)
    assert containers.of_home(docker_sdk.from_env(), tmp_path) == []


class _Builds:
    """Resolves commits with builds in containers."""

    def __init__(self, hub: Hub, uv: Uv, docker: Docker, home: Path) -> None:
        self._hub, self._uv, self._docker, self._home = hub, uv, docker, home

    def answer(
        self,
        pyproject: str | None,
        files: Mapping[str, str],
        timeout_s: float = 120,
        image: str = os.environ.get("FC_BASE_IMAGE", "python:{python}-slim-bookworm"),
        available: Sequence[str] = (_PYTHON,),
    ) -> tuple[dict[str, Any], work.Answer]:
        """The row of a commit with these files, and all of its answer."""
        commit = self._hub.commit(pyproject, files=files)
        limits = Limits(timeout_s, memory="1g")
        builder = Builder(self._docker, image, limits, "auto")
        mirrors = Mirrors(self._home / "mirrors", local=self._hub.root)
        answer = Resolver(mirrors, self._uv, available, builder)(commit)
        [row] = answer.rows
        PACKAGES.batch([{"partition_month": datetime.date(2025, 3, 1), **row}])
        return dict(row), answer


@pytest.fixture
def builds(hub: Hub, uv: Uv, docker: Docker, tmp_path: Path) -> _Builds:
    return _Builds(hub, uv, docker, tmp_path)


_COMPUTED = """
    from setuptools import setup
    import mine_helpers

    setup(name="mine", version="1", **mine_helpers.needs())
"""
_HELPERS = """
    import sys

    def needs():
        major = "%d" % sys.version_info[0]
        extras = {"bench": ["packaging"], "dev": ["black"]}
        return {"install_requires": ["six>=1." + major], "extras_require": extras}
"""


@pytest.mark.docker
def test_setuptools_runs_setup_py_in_a_container(builds: _Builds) -> None:
    config = '{"install_command": ["pip install {build_dir}[bench]"]}'
    row, answer = builds.answer(
        None, {"setup.py": _COMPUTED, "mine_helpers.py": _HELPERS, "asv.conf.json": config}
    )
    assert row["can_install"], row
    assert row["requirements"] == ["six>=1.3", "setuptools", "wheel", "packaging", "asv"]
    assert {p.partition("==")[0] for p in row["pins"]} >= {"six", "packaging", "asv"}
    assert "black" not in str(row["pins"])
    assert row["project_name"] == "mine"
    assert row["dropped"] == ["'mine_helpers.needs()' in setup.py setup_requires: not readable"]
    assert row["built_with"] == row["python_version"]
    assert row["attempts"][0].endswith(": told")
    assert f"setuptools=={_release(row, 'setuptools')}" in row["attempts"][0]
    assert row["cutoff"] == NOON.replace(hour=0)
    assert answer.unknown is None


def _release(row: Mapping[str, Any], name: str) -> str:
    [pin] = [pin for pin in row["pins"] if pin.startswith(f"{name}==")]
    return pin.partition("==")[2]


@pytest.mark.docker
def test_hatchling_runs_a_metadata_hook_in_a_subdirectory(builds: _Builds) -> None:
    hook = """
        from hatchling.metadata.plugin.interface import MetadataHookInterface

        class Hook(MetadataHookInterface):
            def update(self, metadata):
                metadata["dependencies"] = ["".join(["s", "ix"])]
    """
    text = _BUILD_SYSTEM.format("hatchling", "hatchling.build") + _DYNAMIC
    text += "[tool.hatch.build.targets.wheel]\nbypass-selection = true\n"
    text += "[tool.hatch.metadata.hooks.custom]\n"
    files = {"python/pyproject.toml": text, "python/hatch_build.py": hook}
    row, _ = builds.answer(None, files)
    assert row["can_install"], row
    assert row["project_root"] == "python"
    assert row["requirements"] == ["six", "hatchling", "editables", "asv"]


@pytest.mark.docker
def test_old_setuptools_has_the_wheel_it_asks_for_by_a_hook(builds: _Builds) -> None:
    text = _BUILD_SYSTEM.format("setuptools<70", "setuptools.build_meta") + _DYNAMIC
    setup = "from setuptools import setup\nsetup(install_requires=list(filter(len, ['six'])))"
    row, _ = builds.answer(text, {"setup.py": setup})
    assert row["can_install"], row["log"]
    assert row["requirements"] == ["six", "setuptools<70", "asv", "wheel"]


@pytest.mark.docker
def test_a_version_from_git_is_no_obstacle(builds: _Builds) -> None:
    text = '[build-system]\nrequires = ["setuptools", "setuptools_scm"]\n'
    text += '[project]\nname = "mine"\ndynamic = ["version", "dependencies"]\n'
    text += "[tool.setuptools_scm]\n[tool.setuptools.dynamic]\n"
    setup = "from setuptools import setup\nsetup(install_requires=list(filter(len, ['six'])))"
    row, _ = builds.answer(text, {"setup.py": setup})
    assert row["can_install"], row
    assert row["requirements"][0] == "six"


@pytest.mark.docker
def test_a_build_that_fails_is_unknown_for_good_with_the_line_that_tells(builds: _Builds) -> None:
    row, answer = builds.answer(None, {"setup.py": "raise ValueError('no %s' % 'way')"})
    assert row["can_install"] is None
    assert not row.keys() & {"pins", "python_version", "built_with"}
    assert row["reason"].startswith("unknown: its dependencies are dynamic, and its build with Py")
    assert row["reason"].endswith("fails: ValueError: no way")
    assert "ValueError: no way" in row["log"]
    assert answer.unknown is None


@pytest.fixture
def same_image() -> Iterator[str]:
    """A base image for two Pythons, which differ by what uv pins for them alone."""
    client, name = docker_sdk.from_env(), f"formulacode-test/{uuid.uuid4().hex}"
    base = os.environ.get("FC_BASE_IMAGE", "python:{python}-slim-bookworm")
    image = Docker(Path("/nonexistent")).image_id(base.format(python=_PYTHON))
    for minor in ("3.11", "3.10"):
        client.images.get(image).tag(name, minor)
    yield f"{name}:{{python}}"
    for minor in ("3.11", "3.10"):
        client.images.remove(f"{name}:{minor}")


@pytest.mark.docker
def test_a_python_with_which_it_does_not_build_is_passed_over(
    builds: _Builds, same_image: str
) -> None:
    text = "[build-system]\nrequires = ['setuptools', 'six; python_version < \"3.11\"']\n"
    setup = "import six\nfrom setuptools import setup\n"
    setup += "setup(name='mine', version='1', install_requires=list(filter(len, ['attrs'])))"
    row, _ = builds.answer(text, {"setup.py": setup}, image=same_image, available=["3.11", "3.10"])
    assert row["can_install"], row["log"]
    assert (row["built_with"], row["python_version"]) == ("3.10", "3.10")
    assert [a.rpartition(": ")[2] for a in row["attempts"][:2]] == [
        "No module named 'six'",
        "told",
    ]


@pytest.mark.docker
def test_tools_that_do_not_exist_are_told(builds: _Builds) -> None:
    text = _BUILD_SYSTEM.format("no-such-backend-anywhere-1", "no.such") + _DYNAMIC
    row, answer = builds.answer(text, {})
    assert row["can_install"] is None
    assert "what its build needs does not install" in row["reason"]
    assert answer.unknown is None


@pytest.mark.docker
@pytest.mark.parametrize(
    "setup",
    [
        "import time; time.sleep(600); setup(**x)",
        # It holds the pipe that pip reads to its end.
        "import subprocess; subprocess.Popen(['sleep', '600']); setup(**x)",
    ],
)
def test_a_build_that_hangs_is_asked_for_again(builds: _Builds, setup: str) -> None:
    row, answer = builds.answer(None, {"setup.py": setup}, timeout_s=15)
    assert row["can_install"] is None
    assert row["reason"].endswith("fails: it took longer than 15 s")
    assert answer.unknown == row["reason"]


@pytest.mark.docker
def test_what_a_build_does_to_its_container_stays_there(builds: _Builds, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    witness.write_text("here")
    setup = f"""
        import os, shutil, subprocess
        from setuptools import setup
        for path in ({str(witness)!r}, "/fc/output/report.json", "/escaped"):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                open(path, "w").write("gone")
            except OSError:
                pass
        shutil.rmtree({str(tmp_path)!r}, ignore_errors=True)
        null = subprocess.DEVNULL
        subprocess.Popen(["sleep", "600"], stdin=null, stdout=null, stderr=null,
                         start_new_session=True)
        setup(name="mine", version="1", install_requires="".join(["six"]).split())
    """
    row, _ = builds.answer(None, {"setup.py": setup})
    assert row["can_install"], row
    assert witness.read_text() == "here"
    assert not Path("/escaped").exists()


_LIE = """
import os

def prepare_metadata_for_build_wheel(directory, settings=None):
    os.mkdir(os.path.join(directory, "mine-1.dist-info"))
    with open(os.path.join(directory, "mine-1.dist-info", "METADATA"), "wb") as file:
        file.write(b"Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n" + %s)
    return "mine-1.dist-info"
"""


@pytest.mark.docker
def test_metadata_that_lies_is_data(builds: _Builds) -> None:
    lines = (
        b'Requires-Dist: six; platform_system == "Linux"\n'
        b'Requires-Dist: black; extra == "pretended"\n'
        b"Requires-Dist: a @ file:///etc/passwd\n"
        b"Requires-Python: >=3.99\n"
    )
    row, _ = builds.answer(_IN_TREE, {"own.py": _LIE % lines})
    assert row["can_install"] is False, row["log"]
    assert "no Python for requires-python '>=3.99'" in row["reason"]
    assert row["requirements"] == ['six; platform_system == "Linux"', "asv"]
    assert len(row["dropped"]) == 1


@pytest.mark.docker
@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("b'Summary: ' + b'x' * 20_000_000", "more than 1000000 bytes"),
        ("os.urandom(2_000_000).replace(b'\\n', b' ')", ""),
        ("b'Classifier: \\xff\\n'", "UnicodeDecodeError"),
        ("[][0]", "IndexError: list index out of range"),
        ("open(os.environ['FC_OUTPUT'] + '/f', 'wb').truncate(10**11).to_bytes()", ""),
    ],
)
def test_metadata_that_is_garbage_is_unknown_for_good(
    builds: _Builds, content: str, told: str
) -> None:
    row, answer = builds.answer(_IN_TREE, {"own.py": _LIE % content})
    assert row["can_install"] is None
    assert told in row["reason"]
    assert len(row["reason"]) < 1000
    assert answer.unknown is None
