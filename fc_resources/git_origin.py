"""Asking a mirror's origin, within limits of time, bytes and disk, for branches and for objects.

All that may reach an origin is here; when one is asked, and under which lock, is for the mirror.
"""

import contextlib
import dataclasses
import re
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from fc_resources import git_objects, git_program, process
from fc_resources.errors import UnavailableError
from fc_resources.git_objects import CommitGoneError, Wanted

#: Compressed, of one fetch by hash: a commit whose contents alone are more has too large a diff.
_MAX_OBJECTS_BYTES = 1024 * 1024 * 1024
#: 0.4 MB of request.
_MAX_HASHES = 10_000
_GIB = 1024**3
#: How upload-pack says that it has no such object, or gives none that no branch has.
_REFUSED = re.compile(r"^.*(?:not our ref|unadvertised object).*$", re.M)


class FetchTooLargeError(UnavailableError):
    """The origin was left while it still sent: what it has is above the limit of one fetch."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of one git process, of one file it writes, and of the disk that has to be free before it."""

    timeout_s: float
    max_bytes: int
    min_free_bytes: int


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the mirror of a repository such as `numpy/numpy`, below `root`, is fetched from."""

    repository: str
    url: str
    root: Path
    limits: Limits

    def fetch_branches(self, path: Path) -> None:
        """Fetch branches and tags into `path`; `UnavailableError` when it cannot be reached."""
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        options = ("--prune", "--no-recurse-submodules", "--filter=blob:none")
        self._download(path, "fetch", *options, "origin", *refs)
        command = git_program.command("--git-dir", path, "pack-refs", "--all")
        process.run(command, timeout_s=self.limits.timeout_s, env=git_program.environment())

    def fetch_objects(
        self, path: Path, wanted: Wanted, *config: str
    ) -> dict[str, CommitGoneError | UnavailableError]:
        """Fetch the objects each commit wants, many at once; the errors of those left without.

        An origin refuses a whole fetch for one object, so the others are asked for again. An
        origin that does not answer is not asked any more.
        """
        errors: dict[str, CommitGoneError | UnavailableError] = {}
        command = (*config, "fetch", "--no-tags", "--no-write-fetch-head")
        command += ("--no-prune", "--no-prune-tags", "--no-recurse-submodules")
        command += ("--filter=blob:none", "--stdin", "origin")
        waiting = _portions(wanted)
        while waiting:
            portion = waiting.pop(0)
            hashes = sorted(set().union(*portion.values()))
            try:
                self._download(path, *command, hashes=hashes)
            except (CommitGoneError, FetchTooLargeError) as error:
                blamed = _blamed(portion, error)
                errors |= dict.fromkeys(blamed, error)
                rest = {sha: own for sha, own in portion.items() if sha not in blamed}
                waiting = (_portions(rest) if blamed else _halves(rest)) + waiting
            except UnavailableError as error:
                unasked = [sha for portion in (portion, *waiting) for sha in portion]
                return errors | dict.fromkeys(unasked, error)
        return errors

    def run(
        self,
        path: Path,
        *arguments: str,
        check: bool = True,
        stdin: bytes | None = None,
        output_limit: int = process.OUTPUT_LIMIT,
    ) -> process.Completed:
        """Run a git in the mirror at `path` that fetches what it finds lacking by itself.

        Raises what its failure means, with `check` off only that it took too long or too much.
        """
        done = process.run(
            git_program.command(*self._at(path), *arguments),
            timeout_s=self.limits.timeout_s,
            env=git_program.environment(),
            stdin=stdin,
            output_limit=output_limit,
            file_limit=self.limits.max_bytes,
        )
        if not done.ok:
            self._check_size(path, done, self.limits.max_bytes)
        if done.timed_out or (check and not done.ok):
            raise git_program.failure(done, self.repository, self.limits.timeout_s)
        return done

    def check_space(self) -> None:
        """`UnavailableError` when too little disk is free for anything to be fetched."""
        free, kept = shutil.disk_usage(self.root).free, self.limits.min_free_bytes
        if free < kept:
            raise UnavailableError(
                f"only {free / _GIB:.1f} GiB free below {self.root}, {kept / _GIB:.3g} GiB are "
                "kept free; remove something or move FC_HOME"
            )

    def _download(self, path: Path, *arguments: str, hashes: Sequence[str] = ()) -> None:
        """Run a git that asks the origin; `CommitGoneError` when it does not have the hashes."""
        self.check_space()
        limit = self.limits.max_bytes
        if hashes:
            limit = min(limit, _MAX_OBJECTS_BYTES)
        done = process.run(
            git_program.command(*self._at(path), *arguments),
            timeout_s=self.limits.timeout_s,
            env=git_program.environment(),
            stdin="".join(f"{sha}\n" for sha in hashes).encode(),
            file_limit=limit,
        )
        if done.ok:
            return
        self._check_size(path, done, limit)
        if hashes and (refusal := _REFUSED.search(done.text)):
            raise CommitGoneError(f"{self.repository}: {git_program.last_line(refusal[0])}")
        why = "timed out" if done.timed_out else git_program.last_line(done.text)
        raise UnavailableError(f"git could not reach {self.repository}: {why}")

    def _check_size(self, path: Path, failed: process.Completed, limit: int) -> None:
        """`FetchTooLargeError` if a git failed at the limit; what killed ones left is removed.

        Git does not always tell that its child was killed, but the file cut at the limit does.
        Files that are younger than git may run belong to a process that reads without the lock.
        """
        cut = failed.returncode == -signal.SIGXFSZ
        oldest = time.time() - self.limits.timeout_s
        for left in path.glob("objects/pack/tmp_*"):
            with contextlib.suppress(FileNotFoundError):
                found = left.stat()
                at_limit = process.at_file_limit(found.st_size, limit)
                cut = cut or at_limit
                if at_limit or found.st_mtime < oldest:
                    left.unlink()
        if cut:
            raise FetchTooLargeError(
                f"git fetched more than {limit / _GIB:.3g} GiB, its limit, from {self.repository}"
            )

    def _at(self, path: Path) -> tuple[str | Path, ...]:
        # Not kept in the mirror: an offline source may move, or come and go.
        return ("--git-dir", path, "-c", f"remote.origin.url={self.url}")


def _portions(wanted: Wanted) -> list[Wanted]:
    """Commits with what they want, as many together as one fetch may ask for."""
    portions: list[Wanted] = []
    size = _MAX_HASHES
    for sha, hashes in wanted.items():
        size += len(hashes)
        if size > _MAX_HASHES:
            portions.append({})
            size = len(hashes)
        portions[-1][sha] = hashes
    return portions


def _halves(portion: Wanted) -> list[Wanted]:
    commits = list(portion)
    middle = len(commits) // 2
    return [{sha: portion[sha] for sha in half} for half in (commits[:middle], commits[middle:])]


def _blamed(portion: Wanted, error: CommitGoneError | FetchTooLargeError) -> set[str]:
    """The commits a failed fetch is known to have failed for: none, before it is tried in parts."""
    if len(portion) == 1:
        return set(portion)
    named = set(git_objects.SHA.findall(str(error)))
    return {sha for sha, hashes in portion.items() if hashes & named}
