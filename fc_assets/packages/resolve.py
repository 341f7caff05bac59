"""From a commit to its row: which files are read, what is declared, and what came of pinning it."""

import dataclasses
import datetime
import posixpath
from collections.abc import Callable, Sequence
from typing import Any

from fc_assets import work
from fc_assets.packages import RESOLVER, metadata, python
from fc_assets.packages.pinning import Pinning
from fc_resources.errors import PermanentError
from fc_resources.git import Mirror, Mirrors
from fc_resources.git_files import FileTooLargeError
from fc_resources.uv import Uv

#: What is read first, all at once; declarations elsewhere are read when they are referred to.
_READ_FIRST = ("pyproject.toml", "setup.cfg", "setup.py", "asv.conf.json", "asv.conf.jsonc")
_MOST_READ_FIRST = 20


@dataclasses.dataclass(frozen=True)
class Commit:
    """The merge commit of a performance pull request."""

    owner: str
    repo: str
    sha: str


class Resolver:
    """Resolves commits within one run; nothing known of one repository is used for another."""

    def __init__(
        self,
        mirrors: Mirrors,
        uv: Uv,
        available: Sequence[str],
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._mirrors = mirrors
        self._uv = uv
        self._available = available
        self._now = now
        self.pinning = Pinning(uv)

    def __call__(self, commit: Commit) -> work.Answer:
        """The environment of the merge's base commit at the merge's date.

        The base is what a container builds; the merge itself may declare what came with it.
        Raises `PermanentError` for a commit that is not there, `UnavailableError` when git or the
        index cannot be asked; that it is no Python project, or that only building it would tell
        what it needs, is an answer.
        """
        mirror = self._mirrors.mirror(commit.owner, commit.repo, [commit.sha])
        base = mirror.first_parent(commit.sha)
        row: dict[str, Any] = {
            **dataclasses.asdict(commit),
            "base_sha": base,
            "requirements": [],
            "dropped": [],
            "system_packages": [],
            "exempt": [],
            "attempts": [],
            "notes": [],
            "resolver": RESOLVER,
            "uv_version": self._uv.version,
            "resolved_at": self._now(),
            "log": "",
        }
        try:
            project = _project(mirror, base)
        except (metadata.NoProjectError, FileTooLargeError) as error:
            return work.Answer([row | {"can_install": False, "reason": str(error)}])
        row |= {
            "project_name": project.name,
            "project_root": project.root,
            "asv_config": project.asv_config,
            "requirements": project.requirements,
            "dropped": project.dropped,
            "system_packages": project.system_packages,
        }
        return work.Answer([row | self._pin(commit, project, _moment(mirror, commit.sha))])

    def _pin(
        self, commit: Commit, project: metadata.Project, moment: datetime.datetime
    ) -> dict[str, Any]:
        if "dependencies" in project.dynamic:
            reason = "unknown: its dependencies are dynamic, so only its build could tell them"
            return {"can_install": None, "reason": reason}
        pythons = python.candidates(project, moment.date(), self._available)
        if not pythons:
            reason = (
                f"no Python for requires-python {project.requires_python!r} "
                f"among {', '.join(self._available)} at {moment:%Y-%m-%d}"
            )
            return {"can_install": False, "reason": reason}
        repository = f"{commit.owner}/{commit.repo}"
        inputs = work.digest(
            repository, project.requirements, [vars(p) for p in pythons], f"{moment:%Y-%m-%d}"
        )
        found = self.pinning.environment(repository, project.requirements, pythons, moment)
        return {"inputs": inputs, **found}


def _project(mirror: Mirror, sha: str) -> metadata.Project:
    files = mirror.files(sha)
    likely = [f for f in files if posixpath.basename(f).lstrip(".") in _READ_FIRST]
    likely.sort(key=lambda f: (f.count("/"), f))
    texts = mirror.read_many(sha, likely[:_MOST_READ_FIRST])

    def read(path: str) -> str | None:
        if path not in texts:
            texts.update(mirror.read_many(sha, [path]))
        return texts[path]

    return metadata.read_project(files, read)


def _moment(mirror: Mirror, sha: str) -> datetime.datetime:
    """When a commit was made; `PermanentError` for a time that no calendar has."""
    seconds = mirror.commit_time(sha)
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        raise PermanentError(f"commit {sha} was made {seconds} s after 1970") from None
