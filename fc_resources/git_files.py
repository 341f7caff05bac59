"""Files of one commit, some or all, with sizes bounded: no checkout, one fetch for what lacks.

Which files are worth reading is the caller's; how contents are fetched is the mirror's.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence

from fc_resources import git_objects, process
from fc_resources.errors import PermanentError, TransientError, UnavailableError
from fc_resources.git_objects import CommitGoneError, Objects, Wanted

#: No declaration is that large; what is would be read into memory by a parser.
MAX_BYTES = 4 * 1024 * 1024
#: Of all files together; the largest real ones, of scientific libraries with data, have 100 MiB.
MAX_ARCHIVE_BYTES = 256 * 1024 * 1024
_LINE = 512
Fetch = Callable[[Wanted], Mapping[str, CommitGoneError | UnavailableError]]


class FileTooLargeError(PermanentError):
    """A file that was asked for is larger than `MAX_BYTES`, or an archive than its limit."""


def read_many(
    objects: Objects, sha: str, paths: Sequence[str], fetch: Fetch
) -> dict[str, str | None]:
    """Text of each path (a BOM is dropped), or None where the commit has no such regular file.

    Raises `FileTooLargeError`, or what the fetch says about contents that cannot be had.
    """
    blobs = _blobs(objects, git_objects.checked(sha), paths)
    wanted: Wanted = {sha: set(blobs.values())}
    if error := fetch(wanted).get(sha):
        raise error
    _check_sizes(objects, sha, blobs)
    texts = _contents(objects, sorted(wanted[sha]))
    return {path: texts[blobs[path]] if path in blobs else None for path in paths}


def archive(objects: Objects, sha: str, fetch: Fetch) -> bytes:
    """All files of a commit as a tar archive, but for what its `.gitattributes` leave out.

    Raises `FileTooLargeError`, or what the fetch says about contents that cannot be had.
    """
    tree = ("ls-tree", "-r", "-z", "--full-tree", git_objects.checked(sha))
    entries = _git(objects, *tree, stdin="", limit=process.OUTPUT_LIMIT).split(b"\0")[:-1]
    abouts = [entry.partition(b"\t")[0].decode().split(" ") for entry in entries]
    wanted: Wanted = {sha: {blob for _, kind, blob in abouts if kind == "blob"}}
    if error := fetch(wanted).get(sha):
        raise error
    return _git(objects, "archive", "--format=tar", sha, stdin="", limit=MAX_ARCHIVE_BYTES)


def _blobs(objects: Objects, sha: str, paths: Sequence[str]) -> dict[str, str]:
    """Hashes of the contents of those paths that are regular files."""
    # Of other paths, git would say that they are outside of the repository, and list folders.
    inside = [path for path in paths if _is_inside(path)]
    if not inside:
        return {}
    command = ("--literal-pathspecs", "ls-tree", "-z", "--full-tree", sha, "--", *inside)
    out = _git(objects, *command, stdin="", limit=process.OUTPUT_LIMIT)
    blobs = {}
    for entry in out.split(b"\0")[:-1]:
        about, _, name = entry.partition(b"\t")
        mode, _, blob = about.decode().split(" ")
        if mode.startswith("100"):
            blobs[name.decode("utf-8", "replace")] = blob
    return {path: blobs[path] for path in paths if path in blobs}


def _is_inside(path: str) -> bool:
    if path != posixpath.normpath(path) or path in (".", "..") or path.startswith(("/", "../")):
        return False
    # What is declared may hold anything; a program's argument may not.
    return "\0" not in path and path == path.encode("utf-8", "replace").decode()


def _check_sizes(objects: Objects, sha: str, blobs: Mapping[str, str]) -> None:
    hashes = list(blobs.values())
    lines = "".join(f"{blob}\n" for blob in hashes)
    out = _git(objects, "cat-file", "--batch-check", stdin=lines, limit=_LINE * (len(hashes) + 1))
    for path, line in zip(blobs, out.decode().splitlines(), strict=True):
        size = line.rpartition(" ")[2]
        if not size.isdigit():
            raise UnavailableError(f"{path} of {sha}: {line}")
        if int(size) > MAX_BYTES:
            limit = f"{MAX_BYTES >> 20} MiB"
            raise FileTooLargeError(f"{path} of {sha} has {int(size):,} bytes, more than {limit}")


def _contents(objects: Objects, blobs: Sequence[str]) -> dict[str, str]:
    lines = "".join(f"{blob}\n" for blob in blobs)
    limit = (MAX_BYTES + _LINE) * (len(blobs) + 1)
    out = _git(objects, "cat-file", "--batch", stdin=lines, limit=limit)
    texts, start = {}, 0
    for blob in blobs:
        head, _, _ = out[start : start + _LINE].partition(b"\n")
        start += len(head) + 1
        size = int(head.rpartition(b" ")[2])
        texts[blob] = out[start : start + size].decode("utf-8-sig", "replace")
        start += size + 1
    return texts


def _git(objects: Objects, *arguments: str, stdin: str, limit: int) -> bytes:
    done = objects.run(*arguments, stdin=stdin, output_limit=limit)
    if done.truncated:
        limit_mib = f"{limit >> 20} MiB"
        raise FileTooLargeError(f"{arguments[0]} of {objects.repository}: more than {limit_mib}")
    if not done.ok:
        error = objects.failure(done)
        raise error if isinstance(error, TransientError) else PermanentError(str(error))
    return done.stdout
