"""Git objects of packs and loose files, listed on this machine by content, not by file name.

The packs are hostile: git reads them as it reads a fetch, without a repository, configuration or
hooks, and with bounds. Which objects may be there is for the caller.
"""

import hashlib
import re
import tempfile
import zlib
from pathlib import Path
from typing import IO

from fc_resources import git_program, process
from fc_resources.errors import PermanentError, TransientError

_PACKS = (b"PACK\0\0\0\2", b"PACK\0\0\0\3")
_BUNDLE = re.compile(rb"# v[23] git bundle\n")
_HEADER = re.compile(rb"(blob|tree|commit|tag) (\d{1,19})\0")
_LISTED = re.compile(r"([0-9a-f]{40}) (commit|tree|blob|tag) +(\d+) ")
_MAX_LOOSE_BYTES = 512 * 1024 * 1024
_MAX_MEMORY_BYTES = 4 * 1024 * 1024 * 1024
_LIST_BYTES = 1024 * 1024 * 1024
_CHUNK = 1 << 20
#: As much of a file's start as `kind` has to see.
HEAD = 512


class UnreadableObjectsError(PermanentError):
    """A file that begins like git objects and cannot be read to its end."""


def kind(head: bytes) -> str | None:
    """`pack`, `bundle` or `loose` for a file that begins like one, else None."""
    if head.startswith(_PACKS):
        return "pack"
    if _BUNDLE.match(head):
        return "bundle"
    if head[:1] == b"x":
        try:
            start = zlib.decompressobj().decompress(head, 32)
        except zlib.error:
            return None
        return "loose" if _HEADER.match(start) else None
    return None


def loose(content: IO[bytes]) -> str:
    """The name of the object in a loose file."""
    inflate, digest, size, total = zlib.decompressobj(), hashlib.sha1(usedforsecurity=False), 0, 0
    try:
        while chunk := content.read(_CHUNK):
            while chunk:
                part = inflate.decompress(chunk, _CHUNK)
                if not size and (header := _HEADER.match(part)):
                    size = header.end() + int(header[2])
                total += len(part)
                if not size or total > min(size, _MAX_LOOSE_BYTES):
                    raise UnreadableObjectsError("a loose object larger than it says, or too large")
                digest.update(part)
                chunk = inflate.unconsumed_tail
            if inflate.eof:
                break
    except zlib.error as error:
        raise UnreadableObjectsError(f"a loose object that does not inflate: {error}") from None
    if not inflate.eof:
        raise UnreadableObjectsError("a loose object that ends too early")
    return digest.hexdigest()


def packed(content: IO[bytes], timeout_s: float) -> dict[str, tuple[str, int]]:
    """Type and size of every object of a pack or bundle, reachable or not.

    Raises `UnreadableObjectsError`, or `TransientError` when git takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder, "objects.pack")
        with pack.open("wb") as file:
            head = content.read(_CHUNK)
            if _BUNDLE.match(head):
                head = head[head.find(b"\n\n") + 2 :]
            while head:
                file.write(head)
                head = content.read(_CHUNK)
        _git(folder, "index-pack", pack.name, timeout_s=timeout_s)
        listed = _git(folder, "verify-pack", "--verbose", "objects.idx", timeout_s=timeout_s)
    found = {}
    for line in listed.decode("ascii", "replace").splitlines():
        if match := _LISTED.match(line):
            found[match[1]] = (match[2], int(match[3]))
    return found


def tree(pack: bytes, commit: str, timeout_s: float) -> dict[str, tuple[str, str]]:
    """Mode and blob of every path of a commit, from a pack with all its objects."""
    with tempfile.TemporaryDirectory() as folder:
        git_program.init(Path(folder, "scratch.git"), timeout_s)
        scratch = f"{folder}/scratch.git"
        at = ("--git-dir", scratch)
        _git(folder, *at, "index-pack", "--stdin", stdin=pack, timeout_s=timeout_s)
        listing = ("ls-tree", "-r", "-z", "--full-tree", commit)
        entries = _git(folder, *at, *listing, timeout_s=timeout_s).split(b"\0")[:-1]
    found = {}
    for entry in entries:
        about, _, path = entry.partition(b"\t")
        mode, _, blob = about.decode().split(" ")
        found[path.decode("utf-8", "surrogateescape")] = (mode, blob)
    return found


def _git(folder: str, *arguments: str, timeout_s: float, stdin: bytes | None = None) -> bytes:
    done = process.run(
        git_program.command(*arguments),
        timeout_s=timeout_s,
        env=git_program.unconfigured(GIT_CEILING_DIRECTORIES=folder),
        cwd=Path(folder),
        stdin=stdin,
        output_limit=_LIST_BYTES,
        memory_limit=_MAX_MEMORY_BYTES,
    )
    if done.timed_out:
        raise TransientError(f"git {arguments[0]} took > {timeout_s:g} s")
    if not done.ok or done.truncated:
        raise UnreadableObjectsError(f"git {arguments[0]}: {git_program.last_line(done.text)}")
    return done.stdout
