"""A diff cut to what a model can take: the library's own files first, hunks whole or not at all."""

import ast
import dataclasses
import re
from collections.abc import Callable, Iterator

from fc_assets import texts

_HUNK = re.compile(r"^@@ ", re.MULTILINE)
_NAMED = re.compile(r'^diff --git .*? ("b/.*"|b/.*)$', re.MULTILINE)
_TARGET = re.compile(r"^(?:\+\+\+|rename to) (.+?)\t?$", re.MULTILINE)
_LONGEST_PATH = 200
#: What is told about files that lack hunks takes at most this part of the room.
_NOTES = 10


@dataclasses.dataclass(frozen=True)
class _File:
    path: str
    head: str
    hunks: list[str]


def shortened(patch: str, tokens: int, is_core: Callable[[str], bool]) -> str:
    """The patch in at most about `tokens` tokens, with a line for every file that lacks hunks.

    Files of the library come first, then the others, each in the order of the patch; of a file as
    many hunks as fit, from its first. A hunk that does not fit is left out whole, the next may fit.
    """
    room = tokens * texts.CHARACTERS_PER_TOKEN
    if len(patch) <= room:
        return patch
    left, kept, cut = room - room // _NOTES, [], []
    for file in sorted(map(_file, _parts(patch)), key=lambda file: not is_core(file.path)):
        hunks = []
        for hunk in file.hunks:
            size = len(hunk) + (0 if hunks else len(file.head))
            if size <= left:
                hunks.append(hunk)
                left -= size
        if hunks:
            kept.append(file.head + "".join(hunks))
        if len(hunks) < len(file.hunks):
            lacking = f"{len(file.hunks) - len(hunks)} of {len(file.hunks)}"
            cut.append(f"# {lacking} hunks of {file.path[-_LONGEST_PATH:]} left out\n")
    return "".join([*kept, *_fitting(cut, room // _NOTES)])


def _fitting(notes: list[str], room: int) -> Iterator[str]:
    for number, note in enumerate(notes):
        room -= len(note)
        if room < 0 and number:
            yield f"# hunks of {len(notes) - number} more files left out\n"
            return
        yield note


def _parts(patch: str) -> Iterator[str]:
    """The patch by files, which begin with git's line or, in other diffs, with their two names."""
    lines, part, has_hunks = patch.splitlines(keepends=True), [], True
    for number, line in enumerate(lines):
        follows = lines[number + 1] if number + 1 < len(lines) else ""
        is_named = line.startswith("--- ") and follows.startswith("+++ ")
        if line.startswith("diff --git ") or (is_named and has_hunks):
            if part:
                yield "".join(part)
            part, has_hunks = [], False
        part.append(line)
        has_hunks = has_hunks or line.startswith("@@ ")
    if part:
        yield "".join(part)


def _file(text: str) -> _File:
    starts = [match.start() for match in _HUNK.finditer(text)]
    head = text[: starts[0]] if starts else text
    plain = head.replace("\r", "")
    named = _TARGET.search(plain) or _NAMED.search(plain)
    path = _unquoted(named[1]).removeprefix("b/") if named else ""
    if path == "/dev/null" and (named := _NAMED.search(plain)):
        path = _unquoted(named[1]).removeprefix("b/")
    # A renamed or binary file is all head.
    hunks = [text[s:e] for s, e in zip(starts, [*starts[1:], len(text)], strict=False)]
    return _File(path, head if starts else "", hunks or [text])


def _unquoted(path: str) -> str:
    """Git quotes names with other than plain characters as C does."""
    if not (path.startswith('"') and path.endswith('"')):
        return path
    try:
        return ast.literal_eval(f"b{path}").decode("utf-8", "replace")
    except (ValueError, SyntaxError):
        return path
