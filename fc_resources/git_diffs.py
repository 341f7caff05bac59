"""Diffs of many commits at once, from a handful of git processes on the objects that are here.

How contents that lack get here is for the caller, what a diff means for a pull request too.
"""

import dataclasses
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence

from fc_resources import git_objects, process
from fc_resources.errors import PermanentError, TransientError, UnavailableError
from fc_resources.git_objects import CommitGoneError, Objects, Wanted
from fc_resources.git_origin import FetchTooLargeError

_MAX_DIFF_BYTES = 16 * 1024 * 1024
_MAX_DIFF_FILES = 3_000
#: The largest patch that is kept and its summary fit in the output of one process.
_ROUND_BYTES = 2 * _MAX_DIFF_BYTES
_NO_MEMORY = re.compile(rb"out of memory|mmap failed", re.I)
#: A blob has neither the mode of an absent file nor that of a submodule.
_NO_BLOB = (b"000000", b"160000")
#: Of the user's only the attributes are left to switch off: `Objects` reads no configuration.
_DIFF = (
    "-c", "core.attributesFile=/dev/null", "diff-tree", "--stdin", "--always", "-z", "-r",
    "--no-renames",
)  # fmt: skip
_PATCH = (
    "--numstat", "-p", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv",
)  # fmt: skip


class DiffTooLargeError(PermanentError):
    """There is a diff, but not even its files can be listed."""


@dataclasses.dataclass(frozen=True)
class FileChange:
    """One line of a diff's summary; line counts are None for a binary file or where unknown."""

    path: str
    additions: int | None
    deletions: int | None


@dataclasses.dataclass(frozen=True)
class Diff:
    """What a commit changed since its first parent `base`.

    `patch` can be given to `git apply`. It is None where it has more than 16 MiB, more than 3,000
    files, or needs more than 1 GiB of contents or 4 GiB of memory; line counts may be unknown then.
    """

    base: str
    files: tuple[FileChange, ...]
    patch: str | None


#: Fetches the contents that lack of what each commit wants; the errors of those left without.
Fetch = Callable[[Wanted], Mapping[str, CommitGoneError | UnavailableError]]


def diffs(
    objects: Objects, commits: Sequence[str], fetch: Fetch
) -> dict[str, Diff | PermanentError | TransientError]:
    """What each commit changed since its first parent, or why that cannot be told.

    All commits share a handful of git processes and one fetch of the contents that lack.
    `CommitGoneError` stands for a commit that is not here, has no parent or has contents the
    origin has lost, `UnavailableError` for one whose contents could not be fetched,
    `DiffTooLargeError` for one with some 200,000 files. Every other `PermanentError` or
    `TransientError` is git's. All patches of a batch are held in memory.
    """
    hashes = git_objects.hashes(commits)
    found: dict[str, Diff | PermanentError | TransientError] = {
        sha: PermanentError(f"{sha!r} is not a full commit hash") for sha in commits
    }
    try:
        found |= _diffs(objects, hashes, fetch)
    except TransientError as error:
        found |= dict.fromkeys(hashes, error)
    return found


def _diffs(
    objects: Objects, commits: Sequence[str], fetch: Fetch
) -> Iterator[tuple[str, Diff | PermanentError | TransientError]]:
    listed: dict[str, Diff] = {}
    wanted: Wanted = {}
    bases = objects.bases(commits)
    yield from ((sha, gone) for sha, gone in bases.items() if not isinstance(gone, str))
    pairs = {sha: base for sha, base in bases.items() if isinstance(base, str)}
    for sha, output, error in _each(objects, pairs, "--raw"):
        if error is not None:
            yield sha, error
            continue
        listed[sha], blobs = _listed(pairs[sha], output)
        if len(listed[sha].files) <= _MAX_DIFF_FILES:
            wanted[sha] = blobs
        else:
            yield sha, listed[sha]
    for sha, error in fetch(wanted).items():
        del wanted[sha]
        yield sha, listed[sha] if isinstance(error, FetchTooLargeError) else error
    for sha, output, error in _each(objects, {sha: pairs[sha] for sha in wanted}, *_PATCH):
        yield sha, _patched(listed[sha], output, error)


def _each(
    objects: Objects, pairs: Mapping[str, str], *options: str
) -> Iterator[tuple[str, bytes, PermanentError | TransientError | None]]:
    """`diff-tree` of commits and their bases: commit, output, and why that is not all of it.

    One process for as many as its output has room for. What ends a process (a broken object,
    a full limit) is the fault of the pair it was at; the next process goes on behind it.
    """
    waiting = list(pairs)
    while waiting:
        # What is no hash is echoed; no content or file name can know this line.
        mark = f"={secrets.token_hex(16)}\n"
        lines = "".join(f"{sha} {pairs[sha]}\n{mark}" for sha in waiting)
        done = objects.run(*_DIFF, *options, stdin=lines, output_limit=_ROUND_BYTES)
        *outputs, rest = done.stdout.split(mark.encode())
        for sha, output in zip(waiting, outputs, strict=False):
            whole = output.startswith(_head(sha))
            # A line that git cannot use is passed over without a word.
            error = None if whole else TransientError(f"git did not compare {sha}")
            yield sha, output.removeprefix(_head(sha)), error
        del waiting[: len(outputs)]
        # A pair that began late in the output or the time gets all of both.
        if waiting and not (outputs and (done.truncated or done.timed_out)):
            sha = waiting.pop(0)
            yield sha, rest.removeprefix(_head(sha)), _why_not(objects, sha, done)


def _why_not(
    objects: Objects, sha: str, done: process.Completed
) -> PermanentError | TransientError:
    if done.truncated or _NO_MEMORY.search(done.stderr):
        return DiffTooLargeError(f"the diff of {sha} has too many files")
    return objects.failure(done)


def _head(sha: str) -> bytes:
    """What `diff-tree --always -z` writes before each comparison."""
    return f"{sha}\0".encode()


def _listed(base: str, output: bytes) -> tuple[Diff, set[str]]:
    """The diff without its patch, and the contents a patch needs, from `diff-tree --raw -z`."""
    fields = output.split(b"\0")
    files, blobs = [], set[str]()
    for entry, path in zip(fields[::2], fields[1::2], strict=False):
        modes_and_hashes = entry.removeprefix(b":").split(b" ")
        for mode, blob in zip(modes_and_hashes[:2], modes_and_hashes[2:4], strict=True):
            if mode not in _NO_BLOB:
                blobs.add(blob.decode())
        files.append(FileChange(path.decode("utf-8", "replace"), None, None))
    return Diff(base, tuple(files), None), blobs


def _patched(
    listed: Diff, output: bytes, error: PermanentError | TransientError | None
) -> Diff | PermanentError | TransientError:
    """The diff from `diff-tree --numstat -p -z`: an empty field is between the two."""
    if error is not None and not isinstance(error, DiffTooLargeError):
        return error
    if not output:
        return dataclasses.replace(listed, patch="")
    summary, found, patch = output.partition(b"\0\0")
    if not found:
        return listed
    files = tuple(_file_change(row) for row in summary.decode("utf-8", "replace").split("\0"))
    if error is not None or len(patch) > _MAX_DIFF_BYTES:
        return dataclasses.replace(listed, files=files)
    text = patch.decode("utf-8", "replace").replace("\0", "\ufffd")
    return dataclasses.replace(listed, files=files, patch=text)


def _file_change(row: str) -> FileChange:
    added, deleted, path = row.split("\t", 2)
    return FileChange(path, *(None if n == "-" else int(n) for n in (added, deleted)))
