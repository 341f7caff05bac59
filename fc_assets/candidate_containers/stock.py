"""The build context of a pull request: stock scripts, or those a user supplies instead.

A context is five scripts and what they are given; the same context gives the same image tags.
"""

import dataclasses
import datetime
import hashlib
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fc_resources.errors import PermanentError
from fc_resources.git import Mirror

SCRIPTS = (
    "docker_build_base.sh",
    "docker_build_env.sh",
    "docker_build_pkg.sh",
    "docker_build_run.sh",
    "profile.sh",
)
#: Origins of contexts in which no stranger, such as an agent, wrote anything.
OURS = ("stock", "user", "repair")
#: Part of every image tag: changes when the way images are made does.
_RECIPE = "images/1"
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")


class NoPackageError(PermanentError):
    """There is nothing that could be imported."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A pull request with its environment, as `packages` and `candidate_prs` know it."""

    owner: str
    repo: str
    issue_number: int
    sha: str
    base_sha: str
    project_name: str | None
    project_root: str
    asv_config: str | None
    python_version: str | None
    pins: tuple[str, ...]
    system_packages: tuple[str, ...]
    reason: str | None
    merged_at: datetime.datetime

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.repo}"

    @property
    def key(self) -> str:
        """Names the pull request, as in `work.key_of`."""
        return f"{self.repository}#{self.issue_number}"

    @classmethod
    def of(cls, row: Mapping[str, Any], environment: Mapping[str, Any]) -> "Candidate":
        """From its rows of `candidate_prs` and `packages`."""
        copied = ("owner", "repo", "sha", "base_sha", "project_name", "asv_config", "reason")
        return cls(
            **{name: environment[name] for name in copied},
            issue_number=row["issue_number"],
            merged_at=row["merged_at"],
            project_root=environment["project_root"] or ".",
            python_version=environment["python_version"],
            pins=tuple(environment["pins"] or ()),
            system_packages=tuple(environment["system_packages"]),
        )

    def obstacle(self) -> str | None:
        """Why no container can be tried, or None."""
        if not self.pins or self.python_version is None:
            return f"no environment: {self.reason}"
        return None if self.asv_config else "the base commit has no ASV configuration"


@dataclasses.dataclass(frozen=True)
class Context:
    """Scripts by name, and whose they are: `stock`, `user`, `repair` or an agent's name."""

    scripts: Mapping[str, str]
    origin: str

    def rows(self) -> list[dict[str, str]]:
        return [{"name": name, "content": self.scripts[name]} for name in SCRIPTS]


def stock() -> dict[str, str]:
    """The scripts that come with the project."""
    return {name: text(name) for name in SCRIPTS}


def text(name: str) -> str:
    """A script that comes with the project."""
    folder = importlib.resources.files("fc_assets.candidate_containers") / "scripts"
    return (folder / name).read_text("utf-8")


def context(owner: str, repo: str, supplied: Path) -> Context:
    """Stock scripts, each replaced by `<supplied>/<owner>/<repo>/<script>` where that exists."""
    own = {
        name: (supplied / owner / repo / name).read_text("utf-8")
        for name in SCRIPTS
        if (supplied / owner / repo / name).is_file()
    }
    return Context(stock() | own, "user" if own else "stock")


def version(supplied: Path) -> str:
    """Changes with any stock or supplied script, wherever the home is."""
    texts = [*stock().values(), text("measure.sh")]
    for file in sorted(supplied.glob("*/*/*.sh")):
        texts.append(f"{file.relative_to(supplied)} {file.read_text('utf-8')}")
    return tag(texts)


@dataclasses.dataclass(frozen=True)
class History:
    """Git objects of the base commit in two packs, split where the commit's year began.

    The split depends on the base commit alone, so pull requests of one year share the image with
    the older part, and no image ever holds an object of a later commit.
    """

    anchor: str | None
    base: str
    tags: bytes

    @classmethod
    def of(cls, mirror: Mirror, base: str, year: int) -> "History":
        anchor = mirror.last_commit_before(base, f"{year}-01-01T00:00:00Z")
        tags = [f"{name} {sha}\n" for name, sha in mirror.tags(base) if _TAG.fullmatch(name)]
        return cls(anchor, base, "".join(sorted(tags)).encode())

    def older(self, mirror: Mirror) -> dict[str, bytes]:
        return {"older.pack": mirror.pack(self.anchor, None)} if self.anchor else {}

    def newer(self, mirror: Mirror) -> dict[str, bytes]:
        same = {"tags": self.tags}
        if self.anchor == self.base:
            return same
        return same | {"newer.pack": mirror.pack(self.base, self.anchor)}


def variables(candidate: Candidate, root: str, python: str) -> dict[str, str]:
    """What scripts learn about the pull request: nothing of its solution."""
    return {
        "FC_ROOT": root,
        "FC_REPOSITORY": candidate.repo,
        "FC_BASE_SHA": candidate.base_sha,
        "FC_PROJECT_ROOT": candidate.project_root,
        "FC_ASV_CONFIG": candidate.asv_config or "",
        "FC_SYSTEM_PACKAGES": " ".join(candidate.system_packages),
        "FC_MERGED_AT": candidate.merged_at.isoformat(),
        "FC_PYTHON": python,
    }


def tag(*parts: object) -> str:
    """A content-derived tag: the same recipe, the same twelve hexadecimal digits."""
    return hashlib.sha256(repr((_RECIPE, parts)).encode()).hexdigest()[:12]


def import_names(files: Sequence[str], root: str, name: str | None) -> list[str]:
    """Packages and modules of the project in its checkout, the one named like it first."""
    prefix = "" if root == "." else f"{root}/"
    found: dict[str, None] = {}
    wanted = re.sub(r"[-.]+", "_", name or "").lower()
    for path in files:
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].removeprefix("src/").split("/")
        if len(parts) == 2 and parts[1] in ("__init__.py", "__init__.pyx"):
            found[parts[0]] = None
        elif len(parts) == 1 and parts[0].lower() == f"{wanted}.py":
            found[parts[0].removesuffix(".py")] = None
    beside = {"tests", "test", "docs", "doc", "benchmarks", "examples", "tools", "ci"}
    names = sorted(n for n in found if n.isidentifier() and n not in beside)
    if not names:
        raise NoPackageError(f"no importable package below {root}")
    return sorted(names, key=lambda n: (n.lower() != wanted, n))
