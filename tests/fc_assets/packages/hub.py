"""Repositories in a folder that stand in for GitHub: real commits with the files of a test."""

import datetime
import os
import shutil
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

from fc_assets.packages.resolve import Commit

NOON = datetime.datetime(2025, 3, 10, 12, tzinfo=datetime.UTC)


class Hub:
    """Repositories of the owner `o`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def commit(
        self,
        pyproject: str | None,
        moment: datetime.datetime = NOON,
        repo: str = "r",
        files: Mapping[str, str] | None = None,
    ) -> Commit:
        """A base commit with these files and no others, and an empty merge commit after it."""
        path = self.root / "o" / f"{repo}.git"
        if not path.exists():
            path.mkdir(parents=True)
            self._git(path, moment, "init", "--quiet")
        for old in path.iterdir():
            if old.is_dir() and old.name != ".git":
                shutil.rmtree(old)
            elif old.name != ".git":
                old.unlink()
        given = {**({} if pyproject is None else {"pyproject.toml": pyproject}), **(files or {})}
        for name, text in given.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(textwrap.dedent(text))
        self._git(path, moment, "add", "--all")
        for message in ("base", "merge"):
            self._git(path, moment, "commit", "--quiet", "--allow-empty", "-m", message)
        return Commit("o", repo, self._git(path, moment, "rev-parse", "HEAD"))

    def _git(self, path: Path, moment: datetime.datetime, *arguments: str) -> str:
        date = f"{int(moment.timestamp())} +0000"
        env = os.environ | {"GIT_COMMITTER_DATE": date, "GIT_CONFIG_GLOBAL": "/dev/null"}
        command = ["git", "-C", str(path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, env=env)
        return done.stdout.decode().strip()
