"""Git mirrors: one bare, blobless clone per repository under the home, fetched when a commit lacks.

Which there are, when an origin is asked and what is read of a commit is here; how an origin is
asked (`git_origin`), objects are looked up (`git_objects`) and compared (`git_diffs`) is not.
"""

import contextlib
import dataclasses
import functools
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path

from fc_resources import git_diffs, git_files, git_program, locks, process
from fc_resources.errors import PermanentError, TransientError, UnavailableError, UsageError
from fc_resources.git_diffs import Diff
from fc_resources.git_objects import CommitGoneError, Objects, Wanted, checked
from fc_resources.git_origin import FetchTooLargeError, Limits, Origin
from fc_resources.settings import Settings

_NAME = re.compile(r"(?!-)(?!\.+$)[A-Za-z0-9._-]{1,100}")
_MAX_PACK_BYTES = 2 * 1024 * 1024 * 1024
_RETRY_S = 300
_GIB = 1024**3


@dataclasses.dataclass
class _Asked:
    """What an origin was asked so far, and until when it is left alone after a failure."""

    mutex: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    branches: bool = False
    commits: set[str] = dataclasses.field(default_factory=set)
    failure: str = ""
    retry_at: float = -math.inf


def check_repository(owner: str, repo: str) -> None:
    """`UsageError` unless both are names GitHub could have given: no `..`, blank or leading `-`."""
    for part in (owner, repo):
        if not _NAME.fullmatch(part) or ".." in part:
            raise UsageError(f"{f'{owner}/{repo}'!r} is not a repository name such as numpy/numpy")


class Mirrors:
    """Mirrors below `root`. `local` holds repositories that are the origin instead of GitHub.

    `timeout_s` is for one git process, `max_bytes` for one file it writes, which is the pack of a
    clone or fetch; nothing is fetched that begins with less than `min_free_bytes` of free disk.
    """

    def __init__(
        self,
        root: Path,
        *,
        timeout_s: float = 1800,
        local: Path | None = None,
        max_bytes: int = 20 * _GIB,
        min_free_bytes: int = 2 * _GIB,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._local = local
        self._limits = Limits(timeout_s, max_bytes, min_free_bytes)
        self._clock = clock
        self._asked: dict[Path, _Asked] = {}
        self._mutex = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> "Mirrors":
        """Those of a home."""
        return cls(
            settings.mirrors,
            timeout_s=settings.fc_git_timeout_s,
            max_bytes=int(settings.fc_mirror_gb * _GIB),
            min_free_bytes=int(settings.fc_free_gb * _GIB),
        )

    def with_local(self, local: Path | None) -> "Mirrors":
        """The same mirrors for an offline source that brings repositories of its own."""
        limits = dataclasses.asdict(self._limits)
        return Mirrors(self._root, local=local, clock=self._clock, **limits)

    def mirror(self, owner: str, repo: str, commits: Sequence[str]) -> "Mirror":
        """The repository's mirror; its origin is asked only if a commit lacks.

        Per process it is asked once for its branches, and once by its hash for each commit that is
        in none of them, as bases of a force-pushed branch are. Whether all commits are there then
        is for the caller to see: `Mirror.lacking`. Raises `UnavailableError` when a commit lacks
        and the origin cannot be reached, is larger than a limit, or failed within 5 minutes.
        """
        check_repository(owner, repo)
        mirror = self._mirror(owner, repo)
        with self._mutex:
            asked = self._asked.setdefault(mirror.path, _Asked())
        with asked.mutex:
            mirror.touch()
            if mirror.path.exists() and asked.commits.issuperset(mirror.lacking(commits)):
                return mirror
            if self._clock() < asked.retry_at:
                raise UnavailableError(asked.failure)
            try:
                with mirror.locked():
                    _complete(mirror, commits, asked)
            except TransientError as error:
                again_s = math.inf if isinstance(error, FetchTooLargeError) else _RETRY_S
                asked.failure, asked.retry_at = str(error), self._clock() + again_s
                raise UnavailableError(asked.failure) from error
        return mirror

    def prune(self, max_age_days: float) -> list[str]:
        """Remove mirrors nobody asked for in `max_age_days`, and what killed clones left.

        Returns what was removed, such as `numpy/numpy`. Mirrors another process works on are left,
        and so is all that is no mirror.
        """
        oldest = time.time() - max_age_days * 86_400
        removed = []
        for owner in sorted(self._root.glob("*")):
            if not _NAME.fullmatch(owner.name) or owner.is_symlink() or not owner.is_dir():
                continue
            entries = [e for e in owner.iterdir() if e.suffix in (".git", ".part", ".lock")]
            for repo in sorted({e.stem for e in entries if _NAME.fullmatch(e.stem)}):
                mirror = self._mirror(owner.name, repo)
                with contextlib.suppress(TransientError), mirror.locked(0):
                    if mirror.remove_unless_asked(oldest):
                        removed.append(f"{owner.name}/{repo}")
            with contextlib.suppress(OSError):
                owner.rmdir()
        return removed

    def _mirror(self, owner: str, repo: str) -> "Mirror":
        own = None if self._local is None else self._local / owner / f"{repo}.git"
        if own is not None and own.is_dir():
            url = own.absolute().as_uri()
        else:
            url = f"https://github.com/{owner}/{repo}.git"
        return Mirror(self._root, owner, repo, url, self._limits)


def _complete(mirror: "Mirror", commits: Sequence[str], asked: _Asked) -> None:
    """Under the mirror's lock: whoever held it before may have fetched what lacked."""
    if not mirror.path.exists():
        mirror.clone()
        asked.branches = True
    lacking = mirror.lacking(commits)
    if lacking and not asked.branches:
        mirror.fetch()
        asked.branches = True
        lacking = mirror.lacking(commits)
    if unasked := set(lacking) - asked.commits:
        mirror.fetch_commits(unasked)
        asked.commits |= unasked


class Mirror:
    """One bare repository; every method runs git and raises its errors as ours."""

    def __init__(self, root: Path, owner: str, repo: str, url: str, limits: Limits) -> None:
        self.path = root / owner / f"{repo}.git"
        self._repository = f"{owner}/{repo}"
        self._timeout_s = limits.timeout_s
        self._origin = Origin(self._repository, url, root, limits)
        self._run = functools.partial(self._origin.run, self.path)
        self._objects = Objects(self._repository, self.path, root, limits.timeout_s)
        self._lock = self.path.with_suffix(".lock")
        self._part = self.path.with_suffix(".part")

    # Keeping.

    def touch(self) -> None:
        """Note that the mirror is in use, for `Mirrors.prune`."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        self._lock.touch()

    @contextlib.contextmanager
    def locked(self, timeout_s: float | None = None) -> Iterator[None]:
        """Hold the mirror's lock; `TransientError` after a time, which is that of a git process."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        while True:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            self._lock.open("a").close()
            inode = _inode(self._lock)
            with locks.exclusive(self._lock, timeout_s):
                # Pruning removes the file: a lock on a file without a name locks nobody out.
                if _inode(self._lock) == inode:
                    yield
                    return

    def remove_unless_asked(self, since: float) -> bool:
        """Under the lock: remove the mirror last asked for before `since`, in epoch seconds."""
        git_program.remove(self._part)
        if self._lock.stat().st_mtime >= since:
            return False
        removed = self.path.is_dir() and not self.path.is_symlink()
        if removed:
            # Half a mirror is never taken for one.
            self.path.rename(self._part)
            git_program.remove(self._part)
        self._lock.unlink()
        return removed

    def clone(self) -> None:
        """Clone under the lock; `UnavailableError` when the origin cannot be reached."""
        # Renamed at the end, so that a killed clone is never taken for a mirror.
        git_program.init(self._part, self._timeout_s)
        try:
            self._origin.fetch_branches(self._part)
        except TransientError:
            git_program.remove(self._part)
            raise
        self._part.rename(self.path)

    def fetch(self) -> None:
        """Fetch branches and tags under the lock; raises as `clone`."""
        # The lock is ours alone: what git left of its own locks is from a killed fetch.
        for left in (*self.path.glob("*.lock"), *(self.path / "refs").rglob("*.lock")):
            left.unlink(missing_ok=True)
        # An address in the mirror's own configuration comes before ours.
        command = git_program.command(
            "--git-dir", self.path, "config", "--unset-all", "remote.origin.url"
        )
        process.run(command, timeout_s=self._timeout_s, env=git_program.environment())
        self._origin.fetch_branches(self.path)

    def fetch_commits(self, commits: Set[str]) -> None:
        """Ask for commits by hash under the lock; raises as `clone`, not for those it refuses."""
        errors = self._origin.fetch_objects(self.path, {sha: {sha} for sha in commits})
        for error in errors.values():
            if isinstance(error, TransientError):
                raise error

    def _fetch_contents(self, wanted: Wanted) -> dict[str, CommitGoneError | UnavailableError]:
        """Fetch the contents that lack; the errors of the commits left without."""
        lacking = self._objects.without(wanted)
        if not lacking:
            return {}
        try:
            with self.locked():
                # Whoever held the lock may have fetched the same.
                lacking = self._objects.without(lacking)
                # As git does for contents: what is here tells the origin nothing about them.
                config = ("-c", "fetch.negotiationAlgorithm=noop")
                return self._origin.fetch_objects(self.path, lacking, *config)
        except TransientError as error:
            return dict.fromkeys(lacking, UnavailableError(str(error)))

    # Reading.

    def lacking(self, commits: Iterable[str]) -> list[str]:
        """The commits that are not here; nobody is asked for them. What is no hash is no commit."""
        return self._objects.lacking(commits)

    def first_parent(self, sha: str) -> str:
        """The base of a merge or squash commit; `CommitGoneError` for a root or missing commit."""
        base = self._objects.bases([checked(sha)])[sha]
        if isinstance(base, CommitGoneError):
            raise base
        return base

    def diffs(self, commits: Sequence[str]) -> dict[str, Diff | PermanentError | TransientError]:
        """What each commit changed since its first parent, or why not: `git_diffs.diffs`."""
        return git_diffs.diffs(self._objects, commits, self._fetch_contents)

    def commit_time(self, sha: str) -> int:
        """Committer time in seconds since the epoch."""
        return int(self._run("log", "-1", "--format=%ct", checked(sha)).stdout)

    def files(self, sha: str) -> list[str]:
        """Paths of all files of a commit's tree."""
        out = self._run("ls-tree", "-r", "-z", "--name-only", checked(sha)).stdout
        return [path for path in out.decode("utf-8", "replace").split("\0") if path]

    def read(self, sha: str, path: str) -> str | None:
        """A file's text (a BOM is dropped), or None when the commit has no such file."""
        self._origin.check_space()
        done = self._run("cat-file", "blob", f"{checked(sha)}:{path}", check=False)
        if done.ok:
            return done.stdout.decode("utf-8-sig", "replace")
        if path in self.files(sha):
            raise UnavailableError(f"{path} of {sha}: {git_program.last_line(done.text)}")
        return None

    def read_many(self, sha: str, paths: Sequence[str]) -> dict[str, str | None]:
        """Texts of several files, None for what is no file: `git_files.read_many`."""
        return git_files.read_many(self._objects, sha, paths, self._fetch_contents)

    def archive(self, sha: str) -> bytes:
        """All files of a commit as a tar archive: `git_files.archive`."""
        return git_files.archive(self._objects, sha, self._fetch_contents)

    def last_commit_before(self, sha: str, iso_time: str) -> str | None:
        """The newest first-parent ancestor committed before a moment, or None."""
        out = self._run("rev-list", "-1", "--first-parent", f"--before={iso_time}", checked(sha))
        return out.stdout.decode().strip() or None

    def tags(self, sha: str) -> list[tuple[str, str]]:
        """(name, commit) of the tags that are ancestors of a commit, as at that time."""
        template = "%(refname:strip=2) %(objectname) %(*objectname)"
        out = self._run(
            "for-each-ref", f"--merged={checked(sha)}", f"--format={template}", "refs/tags"
        )
        rows = [line.split(" ") for line in out.stdout.decode().splitlines()]
        return [(name, peeled or sha) for name, sha, peeled in rows]

    def pack(self, wanted: str, known: str | None) -> bytes:
        """A pack with all objects of `wanted`'s history that `known`'s does not have."""
        revisions = f"{checked(wanted)}\n" + (f"^{checked(known)}\n" if known else "")
        self._origin.check_space()
        command = ("pack-objects", "--revs", "--stdout", "--quiet", "--delta-base-offset")
        done = self._run(*command, stdin=revisions.encode(), output_limit=_MAX_PACK_BYTES)
        if done.truncated:
            limit = f"{_MAX_PACK_BYTES >> 20} MiB"
            raise PermanentError(f"the history of {self._repository} packs to more than {limit}")
        return done.stdout


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
