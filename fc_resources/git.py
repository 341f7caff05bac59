"""Git mirrors: one bare, blobless clone per repository under the home, fetched when a commit lacks.

Repositories are hostile input: no prompts, no hooks, no submodules, only https, ssh and file
transports, no option-like arguments. The user's git configuration (`url.*.insteadOf`) is honoured.
"""

import dataclasses
import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from fc_resources import locks, process
from fc_resources.errors import PermanentError, TransientError, UnavailableError, UsageError

_SHA = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"(?!-)(?!\.+$)[A-Za-z0-9._-]{1,100}")
_MAX_DIFF_BYTES = 16 * 1024 * 1024
_MAX_PACK_BYTES = 2 * 1024 * 1024 * 1024
_GONE = re.compile(
    rb"not our ref|not found|does not exist in|bad object|bad revision|not a tree object", re.I
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
#: Plumbing, and nothing of the user's configuration: the same commits give the same patch.
_DIFF = (
    "-c", "core.attributesFile=/dev/null", "-c", "core.quotePath=true", "-c",
    "diff.suppressBlankEmpty=false", "diff-tree", "-r", "--no-renames",
)  # fmt: skip


class DiffTooLargeError(PermanentError):
    """There is a diff, but none that could be stored and judged."""


@dataclasses.dataclass(frozen=True)
class FileChange:
    """One line of a diff's summary; line counts are None for a binary file."""

    path: str
    additions: int | None
    deletions: int | None


def check_repository(owner: str, repo: str) -> None:
    """`UsageError` unless both are names GitHub could have given: no `..`, blank or leading `-`."""
    for part in (owner, repo):
        if not _NAME.fullmatch(part) or ".." in part:
            raise UsageError(f"{f'{owner}/{repo}'!r} is not a repository name such as numpy/numpy")


class Mirrors:
    """Mirrors below `root`. `local` holds repositories that are the origin instead of GitHub."""

    def __init__(self, root: Path, *, timeout_s: float = 1800, local: Path | None = None) -> None:
        self._root = root
        self._timeout_s = timeout_s
        self._local = local
        self._fetched: dict[Path, TransientError | None] = {}
        self._mutexes: dict[Path, threading.Lock] = {}
        self._mutex = threading.Lock()

    def with_local(self, local: Path | None) -> "Mirrors":
        """The same mirrors for an offline source that brings repositories of its own."""
        return Mirrors(self._root, timeout_s=self._timeout_s, local=local)

    def mirror(self, owner: str, repo: str, commits: Sequence[str]) -> "Mirror":
        """The repository's mirror, fetched at most once per process if a commit lacks.

        Whether all commits are there is for the caller to see: `Mirror.has`. Raises
        `UnavailableError` when the origin cannot be reached and a commit is missing.
        """
        check_repository(owner, repo)
        path = self._root / owner / f"{repo}.git"
        mirror = Mirror(path, self._timeout_s)
        with self._mutex:
            mutex = self._mutexes.setdefault(path, threading.Lock())
        with mutex:
            if path.exists() and all(mirror.has(sha, ask_origin=False) for sha in commits):
                return mirror
            if path not in self._fetched:
                try:
                    with locks.exclusive(path.with_suffix(".lock"), self._timeout_s):
                        self._fetch(owner, repo, path)
                    self._fetched[path] = None
                except TransientError as error:
                    self._fetched[path] = error
            failed = self._fetched[path]
        if failed is not None:
            raise UnavailableError(str(failed))
        return mirror

    def _fetch(self, owner: str, repo: str, path: Path) -> None:
        """Clone into a side folder and rename, so that a killed clone is never taken for one."""
        if path.exists():
            # The lock is ours alone: what git left of its own locks is from a killed fetch.
            for left in (*path.glob("*.lock"), *(path / "refs").rglob("*.lock")):
                left.unlink(missing_ok=True)
            # An offline source may have moved, or come and gone.
            self._git("-C", path, "config", "remote.origin.url", self._origin(owner, repo))
            git = ["-C", path, "fetch", "--prune", "--no-recurse-submodules", "origin"]
            git += ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        else:
            part = path.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            git = ["clone", "--bare", "--filter=blob:none", "--no-recurse-submodules"]
            git += ["--", self._origin(owner, repo), part]
        done = self._git(*git)
        if not done.ok:
            why = "timed out" if done.timed_out else _last_line(done.text)
            raise TransientError(f"git could not reach {owner}/{repo}: {why}")
        if not path.exists():
            path.with_suffix(".part").rename(path)

    def _git(self, *arguments: str | Path) -> process.Completed:
        return process.run(_git(*arguments), timeout_s=self._timeout_s, env=_environment())

    def _origin(self, owner: str, repo: str) -> str:
        own = None if self._local is None else self._local / owner / f"{repo}.git"
        if own is not None and own.is_dir():
            return own.absolute().as_uri()
        return f"https://github.com/{owner}/{repo}.git"


class Mirror:
    """Reading one bare repository; every method runs git and raises its errors as ours."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self._timeout_s = timeout_s

    def has(self, sha: str, *, ask_origin: bool = True) -> bool:
        """Whether the commit is here; a blobless mirror asks its origin for it unless told not."""
        if not _SHA.fullmatch(sha):
            return False
        # Git before 2.44 has no other way to keep a lookup local.
        own = {} if ask_origin else {"GIT_ALLOW_PROTOCOL": "none"}
        return self._run("cat-file", "-e", f"{sha}^{{commit}}", check=False, env=own).ok

    def first_parent(self, sha: str) -> str:
        """The base of a merge or squash commit; `PermanentError` for a root or missing commit."""
        done = self._run("rev-parse", "--verify", "--quiet", f"{_checked(sha)}^1", check=False)
        if not done.ok:
            raise PermanentError(f"commit {sha} or its parent is not in {self._label}")
        return done.stdout.decode().strip()

    def commit_time(self, sha: str) -> int:
        """Committer time in seconds since the epoch."""
        return int(self._run("log", "-1", "--format=%ct", _checked(sha)).stdout)

    def diff(self, base: str, head: str) -> str:
        """The patch from base to head, `git apply`-able; `DiffTooLargeError` above 16 MiB."""
        options = ("-p", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv")
        done = self._run(*_DIFF, *options, _checked(base), _checked(head))
        if done.truncated or len(done.stdout) > _MAX_DIFF_BYTES:
            raise DiffTooLargeError(f"the diff of {head} is > {_MAX_DIFF_BYTES >> 20} MiB")
        return done.stdout.decode("utf-8", "replace").replace("\0", "\ufffd")

    def changes(self, base: str, head: str) -> list[FileChange]:
        """Changed files with their line counts."""
        out = self._run(*_DIFF, "--numstat", "-z", _checked(base), _checked(head))
        changes = []
        for record in out.stdout.decode("utf-8", "replace").split("\0"):
            if record:
                added, deleted, path = record.split("\t", 2)
                counts = [None if n == "-" else int(n) for n in (added, deleted)]
                changes.append(FileChange(path, *counts))
        return changes

    def files(self, sha: str) -> list[str]:
        """Paths of all files of a commit's tree."""
        out = self._run("ls-tree", "-r", "-z", "--name-only", _checked(sha)).stdout
        return [path for path in out.decode("utf-8", "replace").split("\0") if path]

    def read(self, sha: str, path: str) -> str | None:
        """A file's text (a BOM is dropped), or None when the commit has no such file."""
        done = self._run("cat-file", "blob", f"{_checked(sha)}:{path}", check=False)
        if done.ok:
            return done.stdout.decode("utf-8-sig", "replace")
        if path in self.files(sha):
            raise UnavailableError(f"{path} of {sha}: {_last_line(done.text)}")
        return None

    def last_commit_before(self, sha: str, iso_time: str) -> str | None:
        """The newest first-parent ancestor committed before a moment, or None."""
        out = self._run("rev-list", "-1", "--first-parent", f"--before={iso_time}", _checked(sha))
        return out.stdout.decode().strip() or None

    def tags(self, sha: str) -> list[tuple[str, str]]:
        """(name, commit) of the tags that are ancestors of a commit, as at that time."""
        template = "%(refname:strip=2) %(objectname) %(*objectname)"
        out = self._run(
            "for-each-ref", f"--merged={_checked(sha)}", f"--format={template}", "refs/tags"
        )
        rows = [line.split(" ") for line in out.stdout.decode().splitlines()]
        return [(name, peeled or sha) for name, sha, peeled in rows]

    def pack(self, wanted: str, known: str | None) -> bytes:
        """A pack with all objects of `wanted`'s history that `known`'s does not have."""
        revisions = f"{_checked(wanted)}\n" + (f"^{_checked(known)}\n" if known else "")
        command = ("pack-objects", "--revs", "--stdout", "--quiet", "--delta-base-offset")
        done = self._run(*command, stdin=revisions.encode(), output_limit=_MAX_PACK_BYTES)
        if done.truncated:
            limit = f"{_MAX_PACK_BYTES >> 20} MiB"
            raise PermanentError(f"the history of {self._label} packs to more than {limit}")
        return done.stdout

    @property
    def _label(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    def _run(
        self,
        *arguments: str,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        output_limit: int = process.OUTPUT_LIMIT,
    ) -> process.Completed:
        done = process.run(
            _git("-C", self.path, *arguments),
            timeout_s=self._timeout_s,
            env={**_environment(), **(env or {})},
            stdin=stdin,
            output_limit=output_limit,
        )
        if done.timed_out:
            raise TransientError(f"git in {self._label} took > {self._timeout_s:g} s")
        if check and not done.ok:
            why = f"git in {self._label}: {_last_line(done.text)}"
            raise PermanentError(why) if _GONE.search(done.stderr) else TransientError(why)
        return done


def _checked(sha: str) -> str:
    if not _SHA.fullmatch(sha):
        raise PermanentError(f"{sha!r} is not a full commit hash")
    return sha


def _git(*arguments: str | Path) -> list[str | Path]:
    return ["git", "-c", "core.hooksPath=/dev/null", *arguments]


def _environment() -> dict[str, str]:
    config = {k: v for k, v in os.environ.items() if k.startswith(("GIT_CONFIG", "GIT_SSL"))}
    return process.environment(
        **config,
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="true",
        SSH_ASKPASS="true",
        GIT_SSH_COMMAND="ssh -oBatchMode=yes",
        GIT_ALLOW_PROTOCOL="https:ssh:file",
        GIT_OPTIONAL_LOCKS="0",
        LC_ALL="C",
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return _CREDENTIALS.sub("", lines[-1].strip()) if lines else "no message"
