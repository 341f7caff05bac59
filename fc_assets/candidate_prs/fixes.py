"""Code of a fix: what a diff adds, found again in other texts, and code blocks that are diffs."""

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator, Set

#: Tokens of a line of code.
Run = tuple[str, ...]

_TOKEN = re.compile(r"\w+|[^\w\s]")
#: A line is known by its first tokens.
_FIRST, _FEWEST, _SHORTEST = 12, 5, 15
_NOT_CODE = re.compile(r"(?:#|//|\*|\"\"\"|'''|import\b|from\b)")
_VALUE = re.compile(r"(?:[^=()\"']{1,80}[^=!<>()\"']=(?!=)|return\b)\s*")
_USUAL = {*keyword.kwlist, *dir(builtins), "self", "cls", "__init__", "__main__", "__name__"}
_FENCED = re.compile(r"[\s>]*(?:(?:[-*+]|\d{1,9}[.)])\s+)?(?:`{3,}|~{3,})[ \t]*(?P<kind>\w*)")
_MARKED = re.compile(r"^[ \t>]*(?:@@ -\d|\+\+\+ b/|--- a/|diff --git )", re.MULTILINE)
#: Rows of tables and of benchmarks begin with these signs too, but go on with no word.
_ADDED = re.compile(r"^[ \t>]*\+[ \t]*[A-Za-z_@(\[]", re.MULTILINE)
_REMOVED = re.compile(r"^[ \t>]*-[ \t]*[A-Za-z_@(\[]", re.MULTILINE)


def is_diff(block: str) -> bool:
    """Whether a code block shows a change, whatever it is called."""
    fence = _FENCED.match(block)
    if fence and fence["kind"].lower() in ("diff", "patch", "suggestion"):
        return True
    return bool(_MARKED.search(block) or (_ADDED.search(block) and _REMOVED.search(block)))


def runs(added: Iterable[str], others: Iterable[str]) -> frozenset[Run]:
    """Lines, and values they assign or return, that only the added lines have."""
    found = frozenset(run for line in added for run in _runs(line))
    return found - frozenset(shared("\n".join(others), found)) if found else found


def shared(text: str, wanted: Set[Run]) -> Iterator[Run]:
    """Those of the wanted runs that a text has, in its order."""
    heads = {run[:_FEWEST] for run in wanted}
    tokens = tuple(_tokens(text)) if heads else ()
    for start in range(len(tokens) - _FEWEST + 1):
        if tokens[start : start + _FEWEST] in heads:
            for end in range(start + _FEWEST, min(start + _FIRST, len(tokens)) + 1):
                if tokens[start:end] in wanted:
                    yield tokens[start:end]


def _runs(line: str) -> Iterator[Run]:
    line = line.strip()
    if _NOT_CODE.match(line):
        return
    value = _VALUE.match(line)
    for text in (line, line[value.end() :] if value else ""):
        tokens = _tokens(text[:400])
        named = {t for t in tokens if len(t) > 2 and not t.isdigit()} - _USUAL
        if len(text) >= _SHORTEST and len(tokens) >= _FEWEST and len(named) > 1:
            yield tuple(tokens[:_FIRST])


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.replace("'", '"'))
