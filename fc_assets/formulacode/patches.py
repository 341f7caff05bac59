"""What makes two patches the same, as `git patch-id --stable` sees it: not blanks, not places."""

import hashlib
import re

_HUNK = re.compile(r"@@ -\d+(,(\d+))? \+\d+(,(\d+))? @@")
_IGNORED = ("index ", "similarity index ", "dissimilarity index ")


def patch_id(patch: str) -> str:
    """SHA-256 of a diff, whatever its files' order, its line numbers and its blanks.

    A file without hunks, such as a binary one, counts with all its lines.
    """
    files = sorted(hashlib.sha256("\n".join(file).encode()).hexdigest() for file in _files(patch))
    return hashlib.sha256("\n".join(files).encode()).hexdigest()


def _files(patch: str) -> list[list[str]]:
    files: list[list[str]] = []
    ignored: list[str] = []
    old = new = 0
    hunks = headed = False
    for line in patch.split("\n"):
        inside = old > 0 or new > 0
        if not inside and _begins(line, headed):
            _close(files, ignored, hunks)
            files.append([])
            ignored, hunks, headed = [], False, line.startswith("diff ")
        if not files:
            continue
        place = None if inside else _HUNK.match(line)
        if place:
            old, new = (int(n) if n is not None else 1 for n in (place[2], place[4]))
            hunks, headed = True, False
        elif inside:
            old -= line[:1] not in ("+", "\\")
            new -= line[:1] not in ("-", "\\")
            files[-1].append("".join(line.split()))
        elif line.startswith(_IGNORED):
            ignored.append(line)
        elif not line.startswith("\\"):
            files[-1].append("".join(line.split()))
    _close(files, ignored, hunks)
    return files


def _begins(line: str, headed: bool) -> bool:
    """Whether a line outside hunks begins a file: `diff`, or `---` where there is no such line."""
    return line.startswith("diff ") or (line.startswith("--- ") and not headed)


def _close(files: list[list[str]], ignored: list[str], hunks: bool) -> None:
    if files:
        files[-1] += [] if hunks else ignored
        while files[-1] and not files[-1][-1]:
            files[-1].pop()
