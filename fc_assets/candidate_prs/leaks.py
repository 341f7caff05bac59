"""What of a problem tells its solution, and the problem without it; nothing is ever added.

A problem is compared to the diff and to what was written about the solution. Every sign is a
`Leak` with its kind and what was found: evidence, not a verdict.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from fc_assets.candidate_prs import figures, fixes, links, markdown

_NAME = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]{2,}\b")
_DEFINED = re.compile(
    r"\b(?:def|class|cdef|cpdef|import|as|struct|void)\s+([A-Za-z_]\w*)"
    r"|(?<![\w.])([A-Za-z_]\w*)[ \t]*(?::[^=\n()]{1,80})?=(?!=)|import\s+\(?([\w, ]+)"
)
_SHORTEST = 5
#: `searchSorted`, `KDTree`
_CAPITALS = re.compile(r"[a-z][A-Z]|[A-Z][A-Z][a-z]")
#: `np.bisect`, `bisect(`
_CALLED = re.compile(r"(?<=\w\.)([A-Za-z_]\w{2,})\b|\b([A-Za-z_]\w{2,})\(")
_ASIDE = re.compile(
    r"(?:^|/)(?:tests?|testing|docs?|benchmarks?|asv_bench|examples?|news|changes|changelog\w*)/"
    r"|(?:^|/)(?:test_[^/]*|conftest)\.py$|\.(?:md|rst|txt|json|ya?ml|toml|cfg)$",
    re.IGNORECASE,
)
_FENCE = re.compile(r"[\s>]*(?:`{3,}|~{3,})")
_WORD = re.compile(r"[^\W_]+(?:['_][^\W_]+)*")
#: Words in a row that nobody writes twice by chance; a whole sentence may be shorter.
_RUN, _SENTENCE = 8, 4
_COMMENT = re.compile(r"^\s*(?:#+|//+|\*)\s*(.+)$|\"\"\"(.+?)(?:\"\"\")?$")
#: Comments of the diff that are compared; a diff may have megabytes.
_COMMENTS = 2_000
#: Words left that still say something.
_ENOUGH = 8


@dataclasses.dataclass(frozen=True)
class Leak:
    """A sign that a text tells the solution, and what was found.

    `kind` is `code`, `identifier`, `sentence`, `figure` or `link`.
    """

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

    `texts` tell the solution, `reported` is what those say who opened linked issues, `said` what
    others say there; `known` are those issues. `number` is the pull request's.
    """

    owner: str
    repo: str
    texts: Sequence[str]
    reported: Sequence[str]
    known: Set[links.Reference]
    patch: str | None
    merge_commit_sha: str
    said: Sequence[str] = ()
    number: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any], texts: Sequence[str], patch: str | None) -> "Solution":
        """The solution of a row of `candidate_prs`, as `texts` and `patch` tell it."""
        issues = row["issues"] or []
        reported, said = [], []
        for issue in issues:
            reported += [issue["title"], issue["body"]]
            for comment in issue["comments"]:
                by_reporter = comment["author"] and comment["author"] == issue["author"]
                (reported if by_reporter else said).append(comment["body"])
        return cls(
            owner=row["owner"],
            repo=row["repo"],
            texts=texts,
            reported=reported,
            known={(issue["repository"].lower(), issue["number"]) for issue in issues},
            patch=patch,
            merge_commit_sha=row["merge_commit_sha"] or "",
            said=said,
            number=row["issue_number"],
        )

    @functools.cached_property
    def code(self) -> frozenset[fixes.Run]:
        """Code that only lines added to the library's own files have."""
        return fixes.runs(*self._lines)

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
        """Sentences that nobody who reported has."""
        told = {_normal(s) for text in self._written for s in markdown.units(text)}
        return frozenset(told - {_normal(s) for text in self.reported for s in _sentences(text)})

    @functools.cached_property
    def runs(self) -> frozenset[tuple[str, ...]]:
        told = {run for text in self._written for run in _runs(text)}
        return frozenset(told.difference(*(_runs(text) for text in self.reported)))

    @functools.cached_property
    def figures(self) -> frozenset[str]:
        """Figures it names as its result; what may be either counts unless an issue has it."""
        sides = [figures.sides(text) for text in self.texts]
        told = {side: {f for found in sides for f in found[side]} for side in figures.SIDES}
        issues = {f for text in (*self.reported, *self.said) for f in figures.all_of(text)}
        unclear = told[figures.UNCLEAR] - issues
        return frozenset((told[figures.AFTER] | unclear) - told[figures.BEFORE])

    @functools.cached_property
    def shown(self) -> frozenset[str]:
        """Lines of code that linked issues have."""
        texts = (*self.reported, *self.said)
        found = (block for text in texts for block in markdown.blocks(text) if block.is_code)
        return frozenset(line for block in found for line in _code_lines(block.text))

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


def find(unit: markdown.Unit, solution: Solution) -> list[Leak]:
    """Signs in a part of a problem, without doubles, in a stable order."""
    text, own = unit.text, (solution.owner, solution.repo, solution.number)
    to = links.to_changes(text, unit.is_code, own, solution.known, solution.merge_commit_sha)
    found = [
        *(Leak("code", text) for text in _code(unit, solution)),
        *(Leak("identifier", name) for name in _identifiers(unit, solution)),
        *(Leak("sentence", text) for text in _shared(unit, solution)),
        *(Leak("figure", f) for f in sorted(figures.all_of(text) & solution.figures)),
        *(Leak("link", text) for text in to),
    ]
    return list(dict.fromkeys(found))


def find_all(text: str, solution: Solution) -> list[Leak]:
    """Signs in a whole text."""
    return list(dict.fromkeys(leak for u in markdown.parts(text) for leak in find(u, solution)))


def cut(text: str, solution: Solution) -> tuple[str, list[Cut]]:
    """The text without the parts that tell the solution, and these."""
    kept, out = list[str](), []
    for unit in markdown.parts(text):
        leaks, part = find(unit, solution), unit.text
        out += [Cut(leak, part.strip()) for leak in leaks]
        if leaks:
            # What ended a line or a paragraph still does.
            end = part[len(part.rstrip()) :]
            part = end if "\n" in end and kept and not kept[-1].endswith("\n\n") else ""
        kept += [part] if part else []
    return "".join(kept), out


def says_something(rest: str, whole: str) -> bool:
    """Whether what is left of a text is worth being read alone."""
    below = "".join(u for u in markdown.units(rest) if not u.lstrip().startswith("#"))
    return _words(below) >= _ENOUGH or 3 <= _words(rest) >= _words(whole) / 2


def _code(unit: markdown.Unit, solution: Solution) -> list[str]:
    """Code of the fix, or any change as a diff."""
    found = [" ".join(run) for run in fixes.shared(unit.text, solution.code)][:1]
    return found or (["diff"] if unit.is_code and fixes.is_diff(unit.text) else [])


def _identifiers(unit: markdown.Unit, solution: Solution) -> list[str]:
    if unit.is_code:
        # Whoever reports writes code too: only what the diff makes up counts there.
        return sorted(n for n in set(_NAME.findall(unit.text)) & solution.defined if _is_code(n))
    found: set[str] = set()
    for piece, is_code in markdown.spans(unit.text):
        names = set(_NAME.findall(piece))
        alone = is_code and len(names) <= 2  # `bisect`, `np.bisect()`: marked as code
        called = set() if is_code else _called(piece)
        found |= {n for n in names & solution.added if _is_code(n) or alone or n in called}
    return sorted(found)


def _called(prose: str) -> set[str]:
    """Names in prose that are written as parts of others, or as calls."""
    return {match[1] or match[2] for match in _CALLED.finditer(prose)}


def _is_code(name: str) -> bool:
    """Plain words occur in any prose; what leaks a solution is spelled like code."""
    if len(name) < _SHORTEST:
        return False
    return "_" in name.strip("_") or _CAPITALS.search(name) is not None


def _names(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(name for line in lines for name in _NAME.findall(line))


def _shared(unit: markdown.Unit, solution: Solution) -> list[str]:
    # Pull requests measure with the code of the report.
    if unit.is_code and solution.shown.issuperset(_code_lines(unit.text)):
        return []
    normal = _normal(unit.text)
    if len(normal.split()) >= _SENTENCE and normal in solution.sentences:
        return [_quoted(normal)]
    return [_quoted(" ".join(run)) for run in _runs(unit.text) if run in solution.runs][:1]


def _code_lines(block: str) -> Iterator[str]:
    lines = (_normal(line) for line in block.splitlines() if not _FENCE.match(line))
    return (line for line in lines if line)


def _sentences(text: str) -> Iterator[str]:
    """Sentences, and the whole as one, as a report may be no more."""
    yield text
    yield from markdown.units(text)


def _runs(text: str) -> Iterable[tuple[str, ...]]:
    words = _normal(text).split()
    return (tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))


def _normal(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _words(text: str) -> int:
    return len(_WORD.findall(re.sub(r"https?://\S+", "", text)))


def _quoted(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
