"""A tiny repository with a benchmark, made by the tests: its base commit and its solution."""

import dataclasses
import datetime
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fc_assets import work
from fc_assets.candidate_containers import stock
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.synthesizer import Synthesizer
from fc_assets.candidate_containers.trial import Tools

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny"
version = "1"
[tool.setuptools]
packages = ["tiny"]
""",
    "tiny/__init__.py": "def work():\n    return sum(range(1000))\n",
    "asv.conf.json": '{"version": 1, "project": "tiny", "repo": ".", "branches": ["master"]}',
    "benchmarks/__init__.py": "",
    "benchmarks/bench.py": "import tiny\n\ndef time_work():\n    tiny.work()\n",
}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MERGED_AT = datetime.datetime.now(datetime.UTC)
#: What the solution changes; the benchmark it adds must not be measured.
SOLUTION = {
    "tiny/__init__.py": "from tiny.solution import known_sum_of_the_first_thousand\n\n"
    "def work():\n    return known_sum_of_the_first_thousand()\n",
    "tiny/solution.py": "SECRET_OF_THE_SOLUTION = 499500\n\n"
    "def known_sum_of_the_first_thousand():\n    return SECRET_OF_THE_SOLUTION\n",
    "benchmarks/more.py": "def time_more():\n    pass\n",
}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def candidate(
    tmp_path: Path,
    pins: tuple[str, ...],
    solution: Mapping[str, str] = SOLUTION,
    /,
    **changed: str | None,
) -> Candidate:
    """A repository whose last commit is the solution, and the one before it the base."""
    work = tmp_path / "git" / "o" / "tiny.git"
    work.mkdir(parents=True)
    git(work, "init", "--quiet", "--initial-branch", "trunk")
    for name, content in {**FILES, **changed}.items():
        if content is not None:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(content)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "-m", "base")
    for name, content in solution.items():
        (work / name).write_text(content)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "-m", "solution")
    return again(tmp_path, pins)


def again(tmp_path: Path, pins: tuple[str, ...]) -> Candidate:
    """The candidate of the repository that `candidate` made."""
    work = tmp_path / "git" / "o" / "tiny.git"
    return Candidate(
        "o",
        "tiny",
        1,
        git(work, "rev-parse", "HEAD"),
        git(work, "rev-parse", "HEAD^"),
        "tiny",
        ".",
        "asv.conf.json",
        PYTHON,
        pins,
        (),
        None,
        MERGED_AT,
    )


def numbered(candidate: Candidate, number: int) -> Candidate:
    """The same under another number, as a neighbour."""
    return dataclasses.replace(candidate, issue_number=number)


def working(candidate: Candidate, number: int, days: int = 0, **changed: Any) -> dict[str, Any]:
    """A row of `candidate_containers` of a neighbour."""
    merged_at = candidate.merged_at - datetime.timedelta(days)
    scripts = stock.stock()
    scripts["docker_build_pkg.sh"] += changed.pop("extra", f"# {number}\n")
    return {
        **{name: getattr(candidate, name) for name in ("owner", "repo", "base_sha")},
        "python_version": candidate.python_version,
        "issue_number": number,
        "merged_at": merged_at,
        "origin": "claude",
        "scripts": [{"name": name, "content": text} for name, text in scripts.items()],
        **changed,
    }


def verify(candidate: Candidate, tools: Tools) -> work.Answer:
    """What stage 6 stores of a candidate that it sees for the first time."""
    return Synthesizer(tools).synthesize(candidate).answer()


def attempt(answer: work.Answer) -> Mapping[str, Any]:
    """The only attempt there was."""
    [row] = answer.also["error_logs"]
    return row


def supply(scripts: Path, name: str, old: str, new: str) -> None:
    """Replace a stock script for the tiny repository, as a user would: `old` in it by `new`."""
    text = stock.stock()[name]
    assert old in text
    own = scripts / "o" / "tiny"
    own.mkdir(parents=True, exist_ok=True)
    (own / name).write_text(text.replace(old, new))
