"""A diff cut to what a model can take: the library's own files first, hunks whole or not at all."""

import dataclasses
import itertools
import re
from collections.abc import Callable

#: Characters of source code a token stands for, on average.
_CHARACTERS_PER_TOKEN = 4
_FILE = re.compile(r"^diff --git ", re.MULTILINE)
_HUNK = re.compile(r"^@@ ", re.MULTILINE)
_TARGET = re.compile(r"^(?:\+\+\+ b/|rename to )(.*?)\t?$", re.MULTILINE)
_NAMED = re.compile(r"^diff --git a/.* b/(.*)$", re.MULTILINE)


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
    if len(patch) <= tokens * _CHARACTERS_PER_TOKEN:
        return patch
    files = sorted(_files(patch), key=lambda file: not is_core(file.path))
    left, kept, cut = tokens * _CHARACTERS_PER_TOKEN, [], []
    for file in files:
        hunks = []
        for hunk in file.hunks:
            size = len(hunk) + (0 if hunks else len(file.head))
            if size <= left:
                hunks.append(hunk)
                left -= size
        if hunks:
            kept.append(file.head + "".join(hunks))
        if len(hunks) < len(file.hunks):
            cut.append(f"# {len(file.hunks) - len(hunks)} of {len(file.hunks)} hunks of {file.path}"
                       " left out\n")  # fmt: skip
    # A patch of thousands of files would not even fit as a list of them.
    shown = cut[: max(1, tokens // 100)]
    more = [f"# and hunks of {len(cut) - len(shown)} more files\n"] if len(cut) > len(shown) else []
    return "".join([*kept, *shown, *more])


def _files(patch: str) -> list[_File]:
    starts = [match.start() for match in _FILE.finditer(patch)] or [0]
    return [_file(patch[start:end]) for start, end in itertools.pairwise([*starts, len(patch)])]


def _file(text: str) -> _File:
    starts = [match.start() for match in _HUNK.finditer(text)]
    head = text[: starts[0]] if starts else text
    named = _TARGET.search(head) or _NAMED.search(head)
    hunks = [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]
    # A renamed or binary file is all head.
    return _File(named[1] if named else "", head if starts else "", hunks or [text])
