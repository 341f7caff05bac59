"""Choosing a Python, and pinning real commits of the sample with the real uv."""

import datetime
import subprocess
from pathlib import Path

import packaging.requirements
import pytest

from fc_assets import sample
from fc_assets.packages import python
from fc_assets.packages.metadata import Project
from fc_assets.packages.resolve import Commit, resolve
from fc_resources.git import Mirrors
from fc_resources.uv import Uv

_ALL = ["3.14", "3.13", "3.12", "3.11", "3.10"]
_DAY = datetime.date(2026, 1, 1)


def _classified(*minors: str) -> tuple[str, ...]:
    return tuple(f"Programming Language :: Python :: {minor}" for minor in minors)


@pytest.mark.parametrize(
    ("project", "date", "chosen", "source"),
    [
        (Project("."), _DAY, _ALL, "date"),
        (Project("."), datetime.date(2023, 1, 1), ["3.11", "3.10"], "date"),
        (Project(".", requires_python="<3.12"), _DAY, ["3.11", "3.10"], "requires-python"),
        (Project(".", requires_python=">=3.12,!=3.14.1"), _DAY, _ALL[:3], "requires-python"),
        (
            Project(".", classifiers=_classified("3.11", "3.12")),
            _DAY,
            ["3.12", "3.11"],
            "classifiers",
        ),
        (Project(".", asv_pythons=("3.10",)), _DAY, ["3.10"], "asv"),
        (Project(".", requires_python=">=99"), _DAY, [], "requires-python"),
        (Project(".", requires_python="nonsense"), _DAY, _ALL, "requires-python"),
    ],
)
def test_the_newest_declared_python_of_that_day_comes_first(
    project: Project, date: datetime.date, chosen: list[str], source: str
) -> None:
    assert python.candidates(project, date, _ALL) == (chosen, source)


def test_a_commit_of_the_sample_is_pinned_as_of_its_date(tmp_path: Path) -> None:
    mirrors = Mirrors(tmp_path / "mirrors", local=sample.unpack(tmp_path / "offline") / "git")
    raw = next(row for row in sample.load("pull_requests") if row["pr_number"] == 7)
    commit = Commit(*sample.REPOSITORY, raw["pr_merge_commit_sha"])
    [row] = resolve(commit, mirrors, Uv(tmp_path / "cache"), ["3.12"]).rows
    names = {packaging.requirements.Requirement(pin).name for pin in row["pins"]}
    assert {"sortedcontainers", "setuptools", "asv"} <= names
    assert "wordmill" not in names
    assert (row["python_version"], row["can_install"], row["reason"]) == ("3.12", True, None)
    assert row["cutoff"] == datetime.datetime.fromisoformat(raw["pr_merged_at"])
    # asv 0.6.6 and later appeared after the commit's date.
    assert "asv==0.6.5" in row["pins"]


def test_a_commit_without_packaging_metadata_is_an_answer(tmp_path: Path) -> None:
    git = tmp_path / "git" / "o" / "r.git"
    git.mkdir(parents=True)
    command = ["git", "-C", str(git), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*command, "init", "--quiet"], check=True)
    for message in ("base", "merge"):
        subprocess.run([*command, "commit", "--quiet", "--allow-empty", "-m", message], check=True)
    head = subprocess.run([*command, "rev-parse", "HEAD"], check=True, capture_output=True)
    commit = Commit("o", "r", head.stdout.decode().strip())
    mirrors = Mirrors(tmp_path / "mirrors", local=tmp_path / "git")
    [row] = resolve(commit, mirrors, Uv(tmp_path / "cache"), ["3.12"]).rows
    assert "no pyproject.toml" in row["reason"]


def test_no_suitable_python_is_an_answer_with_its_reason(tmp_path: Path) -> None:
    mirrors = Mirrors(tmp_path / "mirrors", local=sample.unpack(tmp_path / "offline") / "git")
    commit = Commit(*sample.REPOSITORY, sample.load("pull_requests")[0]["pr_merge_commit_sha"])
    [row] = resolve(commit, mirrors, Uv(tmp_path / "cache"), ["3.9"]).rows
    assert "pins" not in row
    assert "no Python for requires-python '>=3.11' among 3.9" in row["reason"]
