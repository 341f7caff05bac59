"""What of a problem tells its solution, and the problem without it; nothing is ever added.

A problem is compared to the diff and to what was written about the solution. Every sign is a
`Leak` with its kind and what was found: evidence, not a verdict.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence, Set

from fc_assets.candidate_prs import figures, links, markdown

KINDS = ("identifier", "sentence", "figure", "link")

_NAME = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]{2,}\b")
_DEFINED = re.compile(
    r"\b(?:def|class|cdef|cpdef|import|as|struct|void)\s+([A-Za-z_]\w*)"
    r"|(?<![\w.])([A-Za-z_]\w*)[ \t]*(?::[^=\n()]{1,80})?=(?!=)|import\s+\(?([\w, ]+)"
)
_SHORTEST = 5
_ASIDE = re.compile(
    r"(?:^|/)(?:tests?|testing|docs?|benchmarks?|asv_bench|examples?|news|changes|changelog\w*)/"
    r"|(?:^|/)(?:test_[^/]*|conftest)\.py$|\.(?:md|rst|txt|json|ya?ml|toml|cfg)$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['_][^\W_]+)*")
#: Words in a row that nobody writes twice by chance; a whole sentence may be shorter.
_RUN, _SENTENCE = 8, 4
_COMMENT = re.compile(r"^\s*(?:#+|//+|\*)\s*(.+)$|\"\"\"(.+?)(?:\"\"\")?$")
_ELSEWHERE = re.compile(
    r"github\.com/[\w.-]+/[\w.-]+/(?:pull/\d+|commits?/\w+|compare/\S+)", re.IGNORECASE
)
_HASH = re.compile(r"(?<![\w-])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40}(?![\w-])")
#: Comments of the diff that are compared; a diff may have megabytes.
_COMMENTS = 2_000
#: Words left that still say something.
_ENOUGH = 8


@dataclasses.dataclass(frozen=True)
class Leak:
    """A sign that a text tells the solution: one of `KINDS`, and what was found."""

    kind: str
    what: str


@dataclasses.dataclass(frozen=True)
class Cut:
    """A part of a problem that was left out, and why."""

    leak: Leak
    text: str


@dataclasses.dataclass(frozen=True)
class Solution:
    """What a problem is compared to.

    `texts` tell the solution, `reported` is what linked issues say; `known` are those issues.
    """

    owner: str
    repo: str
    texts: Sequence[str]
    reported: Sequence[str]
    known: Set[links.Reference]
    patch: str | None
    merge_commit_sha: str

    @functools.cached_property
    def added(self) -> frozenset[str]:
        """Names that only lines added to the library's own files have."""
        return _names(self._lines[0]) - _names(self._lines[1])

    @functools.cached_property
    def defined(self) -> frozenset[str]:
        """Those of them that the diff defines."""
        found = {n for m in _DEFINED.finditer("\n".join(self._lines[0])) for n in m.groups() if n}
        return self.added & {name for text in found for name in _NAME.findall(text)}

    @functools.cached_property
    def sentences(self) -> frozenset[str]:
        return frozenset(_normal(s) for text in self._written for s in markdown.units(text))

    @functools.cached_property
    def runs(self) -> frozenset[tuple[str, ...]]:
        return frozenset(run for text in self._written for run in _runs(text))

    @functools.cached_property
    def figures(self) -> frozenset[str]:
        """Figures of the solution that no report has."""
        told = {figure for text in self.texts for figure in figures.after(text)}
        return frozenset(told - {f for text in self.reported for f in figures.all_of(text)})

    @property
    def _written(self) -> list[str]:
        """Texts, and comments the diff adds."""
        comments = [m[1] or m[2] for line in self._lines[0] for m in _COMMENT.finditer(line)]
        return [*self.texts, *comments[:_COMMENTS]]

    @functools.cached_property
    def _lines(self) -> tuple[list[str], list[str]]:
        """Lines only the solution has, and the others, which may be anything the diff shows."""
        added, before, aside = [], [], False
        for line in (self.patch or "").splitlines():
            if line.startswith(("+++ ", "--- ", "diff ")):
                aside = bool(_ASIDE.search(line.split("\t")[0].strip()))
                before.append(line)
            elif line.startswith("+"):
                added += [] if aside else [line[1:]]
            elif not line.startswith("index "):
                before.append(line)
        return added, before


def find(unit: str, solution: Solution) -> list[Leak]:
    """Signs in a part of a problem, without doubles, in a stable order."""
    found = [
        *(Leak("identifier", name) for name in _identifiers(unit, solution)),
        *(Leak("sentence", text) for text in _shared(unit, solution)),
        *(Leak("figure", f) for f in sorted(figures.all_of(unit) & solution.figures)),
        *(Leak("link", text) for text in _links(unit, solution)),
    ]
    return list(dict.fromkeys(found))


def find_all(text: str, solution: Solution) -> list[Leak]:
    """Signs in a whole text."""
    return list(dict.fromkeys(leak for u in markdown.units(text) for leak in find(u, solution)))


def cut(text: str, solution: Solution) -> tuple[str, list[Cut]]:
    """The text without the parts that tell the solution, and these."""
    kept, out = "", []
    for unit in markdown.units(text):
        leaks = find(unit, solution)
        out += [Cut(leak, unit.strip()) for leak in leaks]
        # What ended a line or a paragraph still does.
        end = unit[len(unit.rstrip()) :] if "\n" in unit[len(unit.rstrip()) :] else ""
        kept += (end if kept and not kept.endswith("\n\n") else "") if leaks else unit
    return kept, out


def says_something(rest: str, whole: str) -> bool:
    """Whether what is left of a text is worth being read alone."""
    below = "".join(u for u in markdown.units(rest) if not u.lstrip().startswith("#"))
    return _words(below) >= _ENOUGH or 3 <= _words(rest) >= _words(whole) / 2


def _identifiers(unit: str, solution: Solution) -> list[str]:
    found: set[str] = set()
    for piece, is_code in markdown.pieces(unit):
        names = set(_NAME.findall(piece))
        if is_code and "\n" in piece:
            # Whoever reports writes code too: only what the diff makes up counts there.
            found |= {n for n in names & solution.defined if _is_code(n)}
        else:
            alone = is_code and len(names) <= 2  # `bisect`, `np.bisect()`: marked as code
            found |= {n for n in names & solution.added if _is_code(n) or alone}
    return sorted(found)


def _is_code(name: str) -> bool:
    """Plain words occur in any prose; what leaks a solution is spelled like code."""
    if len(name) < _SHORTEST:
        return False
    return "_" in name.strip("_") or re.search(r"[a-z][A-Z]", name) is not None


def _names(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(name for line in lines for name in _NAME.findall(line))


def _shared(unit: str, solution: Solution) -> list[str]:
    normal = _normal(unit)
    # Pull requests measure with the code of the report.
    if _is_block(unit) and any(normal in _normal(text) for text in solution.reported):
        return []
    if len(normal.split()) >= _SENTENCE and normal in solution.sentences:
        return [_quoted(normal)]
    return [_quoted(" ".join(run)) for run in _runs(unit) if run in solution.runs][:1]


def _runs(text: str) -> Iterable[tuple[str, ...]]:
    words = _normal(text).split()
    return (tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))


def _normal(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _links(unit: str, solution: Solution) -> list[str]:
    prose = unit if not _is_block(unit) else markdown.without_code(unit)
    found = [match[0] for match in _ELSEWHERE.finditer(unit)]
    found += [
        match[0]
        for match in _HASH.finditer(prose)
        if len(match[0]) == 40
        or solution.merge_commit_sha.startswith(match[0])
        or re.search(r"(?:commit|rev\w*|sha)\W{1,3}$", prose[: match.start()], re.IGNORECASE)
    ]
    found += [
        f"{name}#{number}"
        for name, number in links.references(unit, solution.owner, solution.repo)
        if (name, number) not in solution.known
    ]
    return found


def _is_block(unit: str) -> bool:
    return any(block.is_code for block in markdown.blocks(unit))


def _words(text: str) -> int:
    return len(_WORD.findall(re.sub(r"https?://\S+", "", text)))


def _quoted(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
