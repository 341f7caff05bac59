"""From commits of real repositories to rows, with the real uv and a package index on loopback.

How a Python is chosen and what uv's answers mean is tested beside their modules.
"""

import concurrent.futures
import datetime
import subprocess
from pathlib import Path
from typing import Any

import packaging.requirements
import pytest

from fc_assets import sample
from fc_assets.packages import RESOLVER
from fc_assets.packages.built import Builder
from fc_assets.packages.resolve import Commit, Resolver
from fc_assets.tables import PACKAGES
from fc_resources.docker import Docker
from fc_resources.errors import PermanentError, UnavailableError
from fc_resources.git import Mirrors
from fc_resources.git_files import MAX_BYTES
from fc_resources.sandbox import Limits
from fc_resources.uv import Uv
from tests.fakes.package_index import Index, index
from tests.fc_assets.packages.hub import NOON, Hub

__all__ = ["index"]

_SAME_DAY = "2025-03-10T09:00:00Z"
_NEXT_DAY = "2025-03-11T00:00:00Z"


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "git")


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    return Uv(tmp_path / "cache")


@pytest.fixture
def resolver(hub: Hub, uv: Uv, tmp_path: Path, index: Index) -> Resolver:
    index.wheel("asv", "0.6.4")
    index.wheel("setuptools", "80.0")
    index.wheel("wheel", "0.40")
    mirrors = Mirrors(tmp_path / "mirrors", local=hub.root)
    return Resolver(mirrors, uv, ["3.13", "3.12", "3.11"], _builder(tmp_path))


def _builder(home: Path, sandbox: str = "none") -> Builder:
    return Builder(Docker(home), "python:{python}-slim-bookworm", Limits(60), sandbox)


def _project(*dependencies: str, more: str = "") -> str:
    return (
        f'[project]\nname = "mine"\nversion = "1"\ndependencies = {list(dependencies)!r}\n{more}\n'
        '[build-system]\nrequires = ["setuptools"]\n'
    )


def _row(resolver: Resolver, commit: Commit) -> dict[str, Any]:
    [row] = resolver(commit).rows
    PACKAGES.batch([{"partition_month": datetime.date(2025, 3, 1), **row}])
    return dict(row)


def test_a_commit_gets_what_it_declared_as_of_its_day(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("some", "1.0")
    index.wheel("some", "2.0", uploaded=_NEXT_DAY)
    row = _row(resolver, hub.commit(_project("some")))
    assert row["pins"] == ["asv==0.6.4", "setuptools==80.0", "some==1.0"]
    assert (row["can_install"], row["reason"], row["unsatisfiable"]) == (True, None, None)
    assert (row["python_version"], row["interpreter_source"]) == ("3.13", "date")
    assert row["cutoff"] == NOON.replace(hour=0)
    assert row["attempts"] == ["python 3.13, releases up to 2025-03-10T00:00:00Z: installs"]
    assert row["uv_version"].count(".") == 2
    assert (row["resolver"], row["dropped"], row["project_root"]) == (RESOLVER, [], ".")
    assert row["resolved_at"].tzinfo is datetime.UTC
    assert "Would install 3 packages" in row["log"]


def test_markers_are_those_of_a_container(resolver: Resolver, hub: Hub, index: Index) -> None:
    index.wheel("posix", "1.0")
    lines = ["posix; platform_system == 'Linux'", "other; platform_system == 'Windows'"]
    lines += ["old; python_version < '3.8'", "arm; platform_machine == 'aarch64'"]
    row = _row(resolver, hub.commit(_project(*lines)))
    assert row["pins"] == ["asv==0.6.4", "posix==1.0", "setuptools==80.0"]
    assert row["requirements"][1] == 'other; platform_system == "Windows"'


def test_a_project_in_a_subdirectory_with_a_bom_is_found(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("some", "1.0")
    index.wheel("speed", "1.0")
    extras = '[project.optional-dependencies]\nall = ["mine[bench]"]\n'
    extras += 'bench = ["speed", "mine[all]"]\ndev = ["black"]\n'
    files = {
        "python/pyproject.toml": "\ufeff"
        + _project("some", "./x", "y @ https://e.org", more=extras),
        "python/asv.conf.json": '{"install_command": ["pip install {build_dir}[all]"]}',
        "requirements.txt": "black",
    }
    row = _row(resolver, hub.commit(None, files=files))
    assert (row["project_root"], row["asv_config"]) == ("python", "python/asv.conf.json")
    assert row["pins"] == ["asv==0.6.4", "setuptools==80.0", "some==1.0", "speed==1.0"]
    assert len(row["dropped"]) == 2


def test_a_release_of_the_commits_own_day_is_found_when_it_is_needed(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("some", "1.0")
    index.wheel("some", "2.0", uploaded=_SAME_DAY)
    row = _row(resolver, hub.commit(_project("some>=2")))
    assert row["can_install"]
    assert (row["cutoff"], row["python_version"]) == (NOON, "3.13")
    assert len(row["attempts"]) == 2


def test_an_older_python_with_the_cutoff_comes_before_none(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("some", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    index.wheel("some", "1.1", tag="cp313-cp313-manylinux_2_17_x86_64", uploaded=_NEXT_DAY)
    row = _row(resolver, hub.commit(_project("some")))
    assert (row["python_version"], row["cutoff"]) == ("3.11", NOON.replace(hour=0))
    assert row["unsatisfiable"] is None
    assert [a.split(":")[0].split(",")[0] for a in row["attempts"]] == [
        *["python 3.13"] * 2,
        *["python 3.12"] * 2,
        "python 3.11",
    ]
    assert "no wheel that fits" in row["attempts"][0]


def test_what_only_the_cutoff_forbids_is_pinned_without_and_says_so(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("young", "1.0", uploaded=_NEXT_DAY)
    row = _row(resolver, hub.commit(_project("young")))
    assert "young==1.0" in row["pins"]
    assert (row["cutoff"], row["can_install"], row["unsatisfiable"]) == (None, True, "cutoff")
    assert row["python_version"] == "3.13"
    assert len(row["attempts"]) == 10
    assert "2025-03-11" in row["attempts"][0]


def test_a_harness_without_wheels_costs_a_commit_its_cutoff_for_the_harness_only(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.files["asv"].clear()
    index.sdist("asv", "0.4")
    index.wheel("asv", "0.6.4", "asv-runner", uploaded=_NEXT_DAY)
    index.wheel("asv-runner", "1.0", uploaded=_NEXT_DAY)
    index.wheel("some", "1.0")
    index.wheel("some", "2.0", uploaded=_NEXT_DAY)
    row = _row(resolver, hub.commit(_project("some")))
    assert row["pins"] == ["asv==0.6.4", "asv-runner==1.0", "setuptools==80.0", "some==1.0"]
    assert (row["cutoff"], row["python_version"]) == (NOON.replace(hour=0), "3.13")
    assert (row["can_install"], row["unsatisfiable"]) == (True, "cutoff")
    assert "asv" in row["exempt"]
    assert row["attempts"][-1].endswith("but for the harness: installs")


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        (["one", "shared==2.0"], "shared<2"),
        (["missing"], "missing was not found"),
        (["source-only"], "no wheel that fits, and nothing is built"),
        (["windows-only"], "no wheel that fits, and nothing is built"),
        (["taken-back"], "yanked (reason: broken)"),
    ],
)
def test_what_has_no_solution_is_false_with_the_reason(
    resolver: Resolver, hub: Hub, index: Index, requirements: list[str], told: str
) -> None:
    index.wheel("one", "1.0", "shared<2")
    index.wheel("shared", "1.0")
    index.wheel("shared", "2.0")
    index.sdist("source-only", "1.0")
    index.wheel("windows-only", "1.0", tag="py3-none-win_amd64")
    index.wheel("taken-back", "1.0", yanked="broken")
    row = _row(resolver, hub.commit(_project(*requirements)))
    assert (row["can_install"], row["pins"], row["unsatisfiable"]) == (False, None, "always")
    assert told in row["reason"]
    assert len(row["attempts"]) == 12


def test_notes_tell_of_yanked_pins_and_of_releases_without_wheels(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("some", "1.0", yanked="broken")
    index.wheel("old", "1.0")
    index.sdist("old", "2.0")
    row = _row(resolver, hub.commit(_project("some==1.0", "old")))
    assert row["can_install"]
    assert row["notes"] == [
        'some==1.0 is yanked (reason: "broken")',
        "old==2.0 has no wheel that fits",
    ]


def test_pythons_that_the_project_refuses_are_not_tried(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    row = _row(resolver, hub.commit(_project("gone", more='requires-python = "<3.12"')))
    assert {a.split(",")[0] for a in row["attempts"]} == {"python 3.11"}
    row = _row(resolver, hub.commit(_project(more='requires-python = "<3.11"')))
    assert "no Python for requires-python '<3.11' among 3.13, 3.12, 3.11" in row["reason"]
    assert (row["can_install"], row["attempts"]) == (False, [])


@pytest.mark.parametrize(
    ("sandbox", "told"),
    [
        ("none", "FC_SANDBOX is none"),
        ("process", "FC_SANDBOX is process"),
        ("auto", "no Docker daemon answers"),
        ("docker", "no Docker daemon answers"),
    ],
)
def test_without_containers_dynamic_dependencies_are_unknown_and_asked_for_again(
    hub: Hub,
    uv: Uv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: str,
    told: str,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    text = '[project]\nname = "mine"\nversion = "1"\ndynamic = ["dependencies"]\n'
    text += '[build-system]\nrequires = ["own-backend"]\nbuild-backend = "own.backend"\n'
    mirrors = Mirrors(tmp_path / "mirrors", local=hub.root)
    resolver = Resolver(mirrors, uv, ["3.12"], _builder(tmp_path, sandbox))
    commit = hub.commit(text)
    row = _row(resolver, commit)
    assert (row["can_install"], row["project_name"]) == (None, "mine")
    assert row["reason"].startswith("unknown: its dependencies are dynamic, ")
    assert row["reason"].endswith(told)
    assert resolver(commit).unknown == row["reason"]


def test_a_commit_without_packaging_metadata_is_an_answer(resolver: Resolver, hub: Hub) -> None:
    row = _row(resolver, hub.commit(None))
    assert not row["can_install"]
    assert "no pyproject.toml" in row["reason"]


def test_metadata_of_a_hostile_size_is_an_answer(resolver: Resolver, hub: Hub) -> None:
    row = _row(resolver, hub.commit("#" * (MAX_BYTES + 1)))
    assert "more than 4 MiB" in row["reason"]


def test_no_calendar_has_the_time_of_a_commit(resolver: Resolver, hub: Hub) -> None:
    commit = hub.commit(_project())
    path = hub.root / "o" / "r.git"
    git = ["git", "-C", str(path)]
    text = subprocess.run(
        [*git, "cat-file", "commit", commit.sha], check=True, capture_output=True
    ).stdout.replace(b"1741608000 +0000\n\nmerge", b"99999999999999 +0000\n\nmerge")
    made = subprocess.run(
        [*git, "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        input=text, check=True, capture_output=True,
    )  # fmt: skip
    sha = made.stdout.decode().strip()
    subprocess.run([*git, "update-ref", "refs/heads/far", sha], check=True)
    with pytest.raises(PermanentError, match="was made 99999999999999 s after 1970"):
        resolver(Commit("o", "r", sha))


def test_an_index_that_is_down_gives_no_answer_and_is_asked_again(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    commit = hub.commit(_project())
    index.status = 503
    with pytest.raises(UnavailableError):
        resolver(commit)
    index.status = 200
    assert _row(resolver, commit)["can_install"]


def test_commits_of_one_day_with_the_same_needs_are_resolved_once(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("some", "1.0")
    index.delay_s = 0.05
    commits = [hub.commit(_project("some"), NOON + datetime.timedelta(minutes=n)) for n in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        rows = list(pool.map(lambda commit: _row(resolver, commit), commits))
    assert (resolver.pinning.asked, resolver.pinning.shared) == (1, 5)
    assert len({row["inputs"] for row in rows}) == 1
    own = {"sha", "base_sha", "resolved_at"}
    assert all({**row, **{k: rows[0][k] for k in own}} == rows[0] for row in rows)


def test_other_needs_other_days_and_other_repositories_are_not_shared(
    resolver: Resolver, hub: Hub, index: Index
) -> None:
    index.wheel("some", "1.0")
    commits = [
        hub.commit(_project("some")),
        hub.commit(_project("some>=1")),
        hub.commit(_project("some"), NOON + datetime.timedelta(days=1)),
        hub.commit(_project("some"), repo="other"),
    ]
    rows = [_row(resolver, commit) for commit in commits]
    assert (resolver.pinning.asked, resolver.pinning.shared) == (4, 0)
    assert len({row["inputs"] for row in rows}) == 4


@pytest.mark.parametrize(("version", "needs_wheel"), [("70.0", True), ("70.1", False)])
def test_setuptools_that_cannot_make_wheels_gets_the_package_that_can(
    resolver: Resolver, hub: Hub, index: Index, version: str, needs_wheel: bool
) -> None:
    index.wheel("setuptools", version)
    text = _project().replace('["setuptools"]', f'["setuptools=={version}"]')
    row = _row(resolver, hub.commit(text))
    assert ("wheel==0.40" in row["pins"], "wheel" in row["requirements"]) == (needs_wheel,) * 2
    assert row["can_install"]


def test_a_row_does_not_depend_on_what_was_resolved_before(
    resolver: Resolver, hub: Hub, index: Index, tmp_path: Path
) -> None:
    index.wheel("some", "1.0")
    first = hub.commit(_project("some", "missing"))
    second = hub.commit(_project("some"), NOON + datetime.timedelta(minutes=1))
    after = {**_row(resolver, first), **_row(resolver, second)}
    mirrors = Mirrors(tmp_path / "fresh", local=hub.root)
    fresh = Resolver(
        mirrors, Uv(tmp_path / "fresh-cache"), ["3.13", "3.12", "3.11"], _builder(tmp_path)
    )
    assert after | {"resolved_at": None} == _row(fresh, second) | {"resolved_at": None}


def test_a_commit_of_the_sample_is_pinned_as_of_its_date(
    index: Index, uv: Uv, tmp_path: Path
) -> None:
    for name, version, uploaded in (
        ("asv", "0.6.5", "2025-01-01T00:00:00Z"),
        ("asv", "0.9", "2099-01-01T00:00:00Z"),
        ("sortedcontainers", "2.4.0", "2021-05-16T00:00:00Z"),
        ("setuptools", "80.0", "2021-05-16T00:00:00Z"),
    ):
        index.wheel(name, version, uploaded=uploaded)
    mirrors = Mirrors(tmp_path / "mirrors", local=sample.unpack(tmp_path / "offline") / "git")
    raw = next(row for row in sample.load("pull_requests") if row["pr_number"] == 7)
    commit = Commit(*sample.REPOSITORY, raw["pr_merge_commit_sha"])
    row = _row(Resolver(mirrors, uv, ["3.12"], _builder(tmp_path)), commit)
    names = {packaging.requirements.Requirement(pin).name for pin in row["pins"]}
    assert names == {"sortedcontainers", "setuptools", "asv"}
    assert (row["python_version"], row["can_install"]) == ("3.12", True)
    merged = datetime.datetime.fromisoformat(raw["pr_merged_at"])
    assert row["cutoff"] == merged.replace(hour=0, minute=0, second=0)
