"""From a commit to its row: which files are read, what is declared, and what came of pinning it."""

import dataclasses
import datetime
import posixpath
from collections.abc import Callable, Sequence
from typing import Any

import packaging.version

from fc_assets import work
from fc_assets.packages import RESOLVER, metadata, python
from fc_assets.packages.built import Attempt, Builder
from fc_assets.packages.pinning import Pinning
from fc_assets.packages.python import Candidate
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


@dataclasses.dataclass
class _Told:
    """How building went, over all Pythons that were tried: `last` is how it ended."""

    last: Attempt
    python: str | None = None
    #: Pythons with which it does not build.
    failed: list[str] = dataclasses.field(default_factory=list)
    attempts: list[str] = dataclasses.field(default_factory=list)
    logs: list[str] = dataclasses.field(default_factory=list)


class Resolver:
    """Resolves commits within one run; nothing known of one repository is used for another."""

    def __init__(
        self,
        mirrors: Mirrors,
        uv: Uv,
        available: Sequence[str],
        builder: Builder,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._mirrors = mirrors
        self._uv = uv
        self._available = available
        self._builder = builder
        self._now = now
        self.pinning = Pinning(uv)

    def __call__(self, commit: Commit) -> work.Answer:
        """The environment of the merge's base commit at the merge's date.

        The base is what a container builds; the merge itself may declare what came with it.
        Raises `PermanentError` for a commit that is not there, `UnavailableError` when git or the
        index cannot be asked; that it is no Python project, or does not build where only that would
        tell what it needs, is an answer. That no container could be used is unknown.
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
            files, read = _reading(mirror, base)
            project = metadata.read_project(files, read)
        except (metadata.NoProjectError, FileTooLargeError) as error:
            return work.Answer([row | {"can_install": False, "reason": str(error)}])
        moment = _moment(mirror, commit.sha)
        pythons = python.candidates(project, moment.date(), self._available)
        told = None
        if pythons and "dependencies" in project.dynamic:
            told = self._build(commit, mirror, base, project, pythons, moment)
            row |= {"attempts": told.attempts, "log": "\n".join(told.logs)}
            if told.last.built is None:
                reason = f"unknown: its dependencies are dynamic, and {told.last.reason}"
                row |= {**_declared(project), "can_install": None, "reason": reason}
                return work.Answer([row], unknown=reason if told.last.may_pass else None)
            row["built_with"] = told.python
            project = metadata.read_project(files, read, told.last.built)
            pythons = python.candidates(project, moment.date(), self._available)
            pythons = [p for p in pythons if p.version not in told.failed]
        found = self._pin(commit, project, pythons, moment)
        if told is not None:
            found["attempts"] = [*told.attempts, *found.get("attempts", ())]
            found["log"] = "\n".join([*told.logs, found.get("log", "")])
        return work.Answer([{**row, **_declared(project), **found}])

    def _build(
        self,
        commit: Commit,
        mirror: Mirror,
        base: str,
        project: metadata.Project,
        pythons: Sequence[Candidate],
        moment: datetime.datetime,
    ) -> _Told:
        """Build the metadata with the first Python that what is declared for building has pins for.

        A Python with which the build fails could build no container either, so the next is tried.
        """
        if obstacle := self._builder.obstacle():
            why = f"only a build in a container could tell them: {obstacle}"
            return _Told(Attempt(reason=why, may_pass=True))
        needs = [*project.build_requirements, *(["wheel"] if project.has("setuptools") else [])]
        try:
            source = mirror.archive(base)
        except FileTooLargeError as error:
            return _Told(Attempt(reason=f"they cannot be built: {error}"))
        told, left = _Told(Attempt()), list(pythons)
        while left:
            tools = self.pinning.environment(f"{commit.owner}/{commit.repo}", needs, left, moment)
            told.logs.append(tools["log"])
            if not tools["can_install"]:
                why = f"what its build needs does not install: {tools['reason']}"
                told.attempts += tools["attempts"]
                told.last = told.last if told.failed else Attempt(reason=why)
                break
            version, pins = tools["python_version"], tools["pins"]
            attempt = self._builder.build(source, project.root, version, pins)
            what = f"python {version}, metadata built with {', '.join(pins)}"
            outcome = "told" if attempt.built else attempt.reason
            told.attempts.append(f"{what}: {outcome}")
            told.logs += [f"{what}:", attempt.log]
            if attempt.built or attempt.may_pass or not told.failed:
                why = f"its build with Python {version} fails: {attempt.reason}"
                told.python, told.last = version, dataclasses.replace(attempt, reason=why)
            if attempt.built or attempt.may_pass:
                break
            tried = [p.version for p in left].index(version) + 1
            told.failed += [p.version for p in left[:tried]]
            left = left[tried:]
        return told

    def _pin(
        self,
        commit: Commit,
        project: metadata.Project,
        pythons: Sequence[Candidate],
        moment: datetime.datetime,
    ) -> dict[str, Any]:
        if not pythons:
            reason = (
                f"no Python for requires-python {project.requires_python!r} "
                f"among {', '.join(self._available)} at {moment:%Y-%m-%d}"
            )
            return {"can_install": False, "reason": reason}
        repository = f"{commit.owner}/{commit.repo}"
        found = self.pinning.environment(repository, project.requirements, pythons, moment)
        if _lacks_wheel(found["pins"] or ()):
            project.need(["wheel"], "setuptools before 70.1", build=True)
            found = self.pinning.environment(repository, project.requirements, pythons, moment)
        inputs = work.digest(
            repository, project.requirements, [vars(p) for p in pythons], f"{moment:%Y-%m-%d}"
        )
        return {"inputs": inputs, **found}


def _lacks_wheel(pins: Sequence[str]) -> bool:
    """Whether setuptools would ask for wheel, by a hook that nobody calls without isolation."""
    versions = dict(pin.split("==", 1) for pin in pins)
    setuptools = versions.get("setuptools")
    return (
        setuptools is not None
        and "wheel" not in versions
        and packaging.version.Version(setuptools) < packaging.version.Version("70.1")
    )


def _declared(project: metadata.Project) -> dict[str, Any]:
    return {
        "project_name": project.name,
        "project_root": project.root,
        "asv_config": project.asv_config,
        "requirements": project.requirements,
        "dropped": project.dropped,
        "system_packages": project.system_packages,
    }


def _reading(mirror: Mirror, sha: str) -> tuple[list[str], metadata.Read]:
    files = mirror.files(sha)
    likely = [f for f in files if posixpath.basename(f).lstrip(".") in _READ_FIRST]
    likely.sort(key=lambda f: (f.count("/"), f))
    texts = mirror.read_many(sha, likely[:_MOST_READ_FIRST])

    def read(path: str) -> str | None:
        if path not in texts:
            texts.update(mirror.read_many(sha, [path]))
        return texts[path]

    return files, read


def _moment(mirror: Mirror, sha: str) -> datetime.datetime:
    """When a commit was made; `PermanentError` for a time that no calendar has."""
    seconds = mirror.commit_time(sha)
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        raise PermanentError(f"commit {sha} was made {seconds} s after 1970") from None
