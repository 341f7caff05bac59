"""Objects that are in a mirror, looked up without its origin and with nobody's configuration.

What lacks is told and not fetched; whoever may ask an origin for it is in `git_origin`.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from fc_resources import git_program, locks, process
from fc_resources.errors import PermanentError, TransientError

SHA = re.compile(r"[0-9a-f]{40}")
#: No owner has an `@`.
_EMPTY = "@empty.git"
#: Git holds the list of all files of a diff, and the contents of two.
_MAX_MEMORY_BYTES = 4 * 1024 * 1024 * 1024

#: Objects by the commit that wants them.
Wanted = dict[str, Set[str]]


class CommitGoneError(PermanentError):
    """Its repository does not have the commit or its contents (any more), or it has no parent."""


def checked(sha: str) -> str:
    """`sha`, or a `PermanentError` that it is none."""
    if not SHA.fullmatch(sha):
        raise PermanentError(f"{sha!r} is not a full commit hash")
    return sha


def hashes(names: Iterable[str]) -> list[str]:
    """Those of the names that are a full hash, each once."""
    return [name for name in dict.fromkeys(names) if SHA.fullmatch(name)]


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of the mirror at `path` below `root`, of a repository such as `numpy/numpy`.

    They are looked up from an empty repository that borrows them. It has no origin, so what lacks
    is told at once; in the mirror itself git before 2.44 asks the origin for one object after the
    other.
    """

    repository: str
    path: Path
    root: Path
    timeout_s: float

    def lacking(self, commits: Iterable[str]) -> list[str]:
        """The commits that are not here; what is no hash is no commit."""
        asked = hashes(commits)
        found = self._found(f"{sha}^{{commit}}" for sha in asked)
        return [sha for sha, kind in zip(asked, found, strict=True) if kind is None]

    def without(self, wanted: Wanted) -> Wanted:
        """What of each commit's objects is not here, for commits that lack one."""
        objects = sorted(set().union(*wanted.values()))
        found = self._found(objects)
        absent = {sha for sha, kind in zip(objects, found, strict=True) if kind is None}
        return {sha: own & absent for sha, own in wanted.items() if own & absent}

    def bases(self, commits: Sequence[str]) -> dict[str, str | CommitGoneError]:
        """The first parent of each commit."""
        names = (name for sha in commits for name in (sha, f"{sha}^1^{{commit}}"))
        found = self._found(names)
        bases: dict[str, str | CommitGoneError] = {}
        for sha, own, parent in zip(commits, found[::2], found[1::2], strict=True):
            if own is None or own[1] != "commit":
                bases[sha] = CommitGoneError(f"commit {sha} is not in {self.repository}")
            elif parent is None:
                bases[sha] = CommitGoneError(f"commit {sha} has no parent in {self.repository}")
            else:
                bases[sha] = parent[0]
        return bases

    def run(self, *arguments: str, stdin: str, output_limit: int) -> process.Completed:
        """Run git on the objects that are here; what its failure means is told by `failure`."""
        env = git_program.unconfigured(
            GIT_DIR=str(_empty(self.root, self.timeout_s)),
            GIT_OBJECT_DIRECTORY=str(self.path / "objects"),
        )
        # Without these, git maps as much of the packs as there is address space.
        packs = ("-c", "core.packedGitWindowSize=64m", "-c", "core.packedGitLimit=512m")
        return process.run(
            git_program.command(*packs, *arguments),
            timeout_s=self.timeout_s,
            env=env,
            stdin=stdin.encode(),
            output_limit=output_limit,
            # One byte more, which tells output that was cut from output that just fits.
            file_limit=output_limit + 1,
            memory_limit=_MAX_MEMORY_BYTES,
        )

    def failure(self, done: process.Completed) -> PermanentError | TransientError:
        """Why a git of `run` failed."""
        return git_program.failure(done, self.repository, self.timeout_s)

    def _found(self, names: Iterable[str]) -> list[tuple[str, str] | None]:
        """Hash and type of each object that is here."""
        lines = "".join(f"{name}\n" for name in names)
        if not lines:
            return []
        # A hash, a type and more for each name, all of which have at least a hash.
        done = self.run(
            "cat-file",
            "--batch-check=%(objectname) %(objecttype)",
            stdin=lines,
            output_limit=2 * len(lines) + process.OUTPUT_LIMIT,
        )
        if not done.ok:
            raise TransientError(str(self.failure(done)))
        rows = [line.split(" ") for line in done.stdout.decode().splitlines()]
        return [None if kind == "missing" else (name, kind) for name, kind in rows]


def _empty(root: Path, timeout_s: float) -> Path:
    """The repository without objects, branches and origin below `root`, made when it lacks."""
    path, part = root / _EMPTY, root / f"{_EMPTY}.part"
    if not path.exists():
        with locks.exclusive(root / f"{_EMPTY}.lock", timeout_s):
            if not path.exists():
                git_program.init(part, timeout_s)
                part.rename(path)
    return path
