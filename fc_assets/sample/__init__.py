"""The sample history that ships with the project: a small library, its pull requests and issues.

`wordmill` is written for this purpose and is the only code trusted enough to be run without a
container. A name proves nothing; a commit hash does.
"""

import functools
import importlib.resources
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fc_resources import process
from fc_resources.errors import PermanentError

REPOSITORY = ("formulacode", "wordmill")
_PARQUET = ("pull_requests", "issues", "repositories")


@functools.cache
def load(name: str) -> list[dict[str, Any]]:
    """One of the sample's lists: pull_requests, issues, repositories, labels."""
    text = importlib.resources.files("fc_assets.sample").joinpath(f"{name}.json").read_text("utf-8")
    return json.loads(text)


@functools.cache
def _commits() -> frozenset[str]:
    return frozenset(row["pr_merge_commit_sha"] for row in load("pull_requests"))


def ships(owner: str, repo: str, sha: str) -> bool:
    """Whether a merge commit, and with it all its history, is the sample's own."""
    return (owner, repo) == REPOSITORY and sha in _commits()


def unpack(folder: Path) -> Path:
    """Write the sample as an offline source into `folder`, whole or not at all; its path."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    git = part / "git" / REPOSITORY[0] / f"{REPOSITORY[1]}.git"
    git.mkdir(parents=True)
    for name in _PARQUET:
        pq.write_table(pa.Table.from_pylist(load(name)), part / f"{name}.parquet")
    history = (
        importlib.resources.files("fc_assets.sample").joinpath("history.fast-export").read_bytes()
    )
    for command, stdin in (
        (["git", "init", "--quiet", "--bare", "--initial-branch", "main", git], None),
        (["git", "-C", git, "fast-import", "--quiet"], history),
    ):
        done = process.run(command, timeout_s=60, env=process.environment(), stdin=stdin)
        if not done.ok:
            raise PermanentError(f"the sample could not be unpacked: {done.text}")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder
