"""Figures that tell how much faster something became, in one spelling each.

`3.0x`, `3 times` and `3-fold` are "3x"; `0.30 s` and `300 ms` are "0.3 s"; `50 %` is "50%".
No pattern looks twice at a number, however long: texts are written by strangers.
"""

import re
from collections.abc import Iterable

_NUMBER = (
    r"(?<![\w.\u00b1])(?<!\d,)(?<!\u00b1\s)(?P<n>\d{1,9}+(?:,\d{3}(?!\d))*+(?:\.\d{1,9}+|,\d{1,2}(?!\d))?+"
    r"(?:e[+-]?\d{1,3})?+)"
)
_FASTER = r"(?=\s(?:faster|quicker|less|fewer|smaller|more|as\s|slower|speed|longer))"
_RATIO = re.compile(
    _NUMBER + rf"\s?(?:x\b|\u00d7|-?fold\b|times{_FASTER})"
    r"|\b(?:factors?\s+of|speed-?\s?ups?(?:\s+of|:)?|ratio(?:\s+of|:))\s+(?:about |around |~)?"
    r"(?P<factor>\d{1,9}+(?:\.\d{1,9}+)?+)(?![\w.%])",
    re.IGNORECASE,
)
_TIMES = re.compile(_NUMBER + r"\stimes\b", re.IGNORECASE)
_PERCENT = re.compile(_NUMBER + r"\s?(?:%|percent\b)", re.IGNORECASE)
_WORDS = re.compile(
    r"\b(?P<word>twice|thrice|half|an order of magnitude|orders of magnitude)\b"
    r"(?= (?:as |the )?(?:fast|quick|time|memory|faster|quicker|speed))",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(
    _NUMBER + r"(?:\(\d{1,3}\))?(?:\s?(?:\u00b1|\+/-)\s?[\d.]{1,12}+)?[\s-]?"
    r"(?P<unit>ns|nano-?sec\w{0,9}|us|\u00b5s|\u03bcs|micro-?sec\w{0,9}|ms|msecs?"
    r"|milli-?sec\w{0,9}|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|[KMGT]i?B)(?![\w/])"
)
_SECONDS = {"n": 1e-9, "u": 1e-6, "\u00b5": 1e-6, "\u03bc": 1e-6, "s": 1.0, "h": 3600.0}
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

SIDES = BEFORE, AFTER, UNCLEAR = "before", "after", "unclear"
_SIDE = re.compile(
    r"\b(?:(?P<before>before|was|were|instead\s+of|rather\s+than|compared\s+(?:to|with)|previously"
    r"|used\s+to|main|master|currently|current|originally|original|old|without|baseline|upstream"
    r"|from(?=\s+(?:about |around |~)?\d))"
    r"|(?P<after>after|afterwards|now|mine|ours?|new|PR|this\s+branch|patched|optimi[sz]ed|becomes?"
    r"|ends?\s+up|proposed|down\s+to|with(?=\s+(?:this|the|my|our|it|a)\b|:|\s*$)"
    r"|to(?=\s+(?:about |around |just |only |~)?\d)))\b|(?P<arrow>[-=]>|\u2192)",
    re.IGNORECASE,
)
#: `3 s before, 1 s after`
_FOLLOWING = re.compile(
    r"\s{0,3}(?:\(?(?:(?P<after>after|now)|(?P<before>before|previously|(?=[-=]{0,3}(?:>|\u2192))))"
    r"(?:\b|(?=[-=>\u2192])))(?!\s{0,3}:)",
    re.IGNORECASE,
)
_SLOWER = re.compile(r"\s{0,3}(?:slower|longer|worse)\b", re.IGNORECASE)
#: A line without a figure that says what those below it are.
_LABEL = 80
_HEADING = re.compile(r"\s*(?:#{1,6}\s|\*\*|[^\n]{0,200}:\s*$)")
#: A share is a result only where something is said to be less.
_GAIN = re.compile(
    r"\s{0,3}(?:\w{1,12} ){0,2}(?:faster|quicker|less|fewer|lower|smaller|better|reduc|improve"
    r"|speed|sav|gain)",
    re.IGNORECASE,
)


def all_of(text: str) -> frozenset[str]:
    """Every figure of a text."""
    found = {figure for _, _, figure, _ in _found(text)}
    return frozenset(found | {f"{_plain(match['n'])}x" for match in _TIMES.finditer(text)})


def sides(text: str) -> dict[str, frozenset[str]]:
    """Figures of the time before a solution, with it, and those that may be either.

    Words and headings of columns tell; without them the first of several in a line was before.
    """
    marked: list[tuple[str, str]] = []
    label, header = UNCLEAR, list[str]()
    for line in text.splitlines():
        if line.count("|") > 1:
            cells = line.strip().strip("|").split("|")
            found = [_line(cell, UNCLEAR, alone=True) for cell in cells]
            if not any(found):
                named = [_named(cell) for cell in cells]
                header = named if any(s != UNCLEAR for s in named) else header
            elif header:
                marked += _columns(found, header)
            else:
                marked += _ordered([figure for cell in found for figure in cell])
            continue
        header = [] if line.strip() else header
        found = _line(line, label)
        marked += found
        if not found and (_HEADING.match(line) or _is_label(line)):
            label = _named(line) if len(line) <= _LABEL else UNCLEAR
    return {side: frozenset(figure for figure, at in marked if at == side) for side in SIDES}


def after(text: str) -> frozenset[str]:
    """Figures that are there with the solution."""
    return sides(text)[AFTER]


def _columns(cells: "list[list[tuple[str, str]]]", header: list[str]) -> list[tuple[str, str]]:
    """Figures of a row, each on the side that its column's heading names."""
    names = [*header, *[UNCLEAR] * len(cells)]
    return [
        (figure, names[i] if side == UNCLEAR and names[i] != UNCLEAR else side)
        for i, cell in enumerate(cells)
        for figure, side in cell
    ]


def _line(line: str, label: str, *, alone: bool = False) -> list[tuple[str, str]]:
    """Figures of a line with their sides; `label` is that of lines without a word of their own."""
    found = _found(line)
    words = list(_SIDE.finditer(line)) if found else []
    marked, at, last = [], 0, UNCLEAR
    arrow = next((w.start() for w in words if w["arrow"]), None)
    for start, end, figure, is_relative in found:
        while at < len(words) and words[at].start() < start:
            last = AFTER if words[at]["arrow"] else (words[at].lastgroup or last)
            at += 1
        following = _FOLLOWING.match(line, end)
        side = (following.lastgroup if following else None) or last
        if side == UNCLEAR and arrow is not None:
            side = BEFORE
        if is_relative and not (
            figure[-1] == "%" and side == UNCLEAR and not _GAIN.match(line, end)
        ):
            side = BEFORE if side == BEFORE or _SLOWER.match(line, end) else AFTER
        marked.append((figure, side))
    absolute = {side for figure, side in marked if _dimension(figure) != "x"}
    if label != UNCLEAR and absolute == {UNCLEAR}:
        return [(figure, label if side == UNCLEAR else side) for figure, side in marked]
    return marked if alone else _ordered(marked)


def _ordered(marked: "list[tuple[str, str]]") -> list[tuple[str, str]]:
    """Times, and sizes, of no side are on the other than the rest of their line.

    Where no word tells, the first was before.
    """
    settled = list(marked)
    for dimension in ("s", "B"):
        places = [i for i, (figure, _) in enumerate(marked) if _dimension(figure) == dimension]
        named = {marked[i][1] for i in places} - {UNCLEAR}
        for order, i in enumerate(places):
            figure, side = marked[i]
            if side == UNCLEAR and len(named) == 1:
                settled[i] = (figure, BEFORE if named == {AFTER} else AFTER)
            elif side == UNCLEAR and not named and len(places) > 1:
                settled[i] = (figure, AFTER if order else BEFORE)
    return settled


def _is_label(line: str) -> bool:
    """A line of few words that is no sentence, one of which tells a side."""
    few = len(line) <= _LABEL and len(line.split()) <= 3 and not line.rstrip().endswith(".")
    return few and _named(line) != UNCLEAR


def _dimension(figure: str) -> str:
    return figure[-1] if figure.endswith((" s", " B")) else "x"


def _named(text: str) -> str:
    words = {match.lastgroup for match in _SIDE.finditer(text[:_LABEL])} & {BEFORE, AFTER}
    return words.pop() or UNCLEAR if len(words) == 1 else UNCLEAR


def _found(text: str) -> list[tuple[int, int, str, bool]]:
    """Where figures begin and end, and whether they compare."""

    def relative() -> Iterable[tuple[int, int, str, bool]]:
        for match in _RATIO.finditer(text):
            yield *match.span(), f"{_plain(match['n'] or match['factor'])}x", True
        for match in _PERCENT.finditer(text):
            yield *match.span(), f"{_plain(match['n'])}%", True
        for match in _WORDS.finditer(text):
            yield *match.span(), match["word"].lower(), True

    absolute = ((*m.span(), _measure(m["n"], m["unit"]), False) for m in _ABSOLUTE.finditer(text))
    return sorted([*relative(), *absolute])


def _measure(number: str, unit: str) -> str:
    value = _value(number)
    if unit[-1] == "B":
        return f"{value * _BYTES[unit[0]]:.6g} B"
    if unit == "m" or unit.startswith("min"):
        return f"{value * 60:.6g} s"
    if unit.startswith(("ms", "mil")):
        return f"{value * 1e-3:.6g} s"
    if unit.startswith("mic"):
        return f"{value * 1e-6:.6g} s"
    return f"{value * _SECONDS[unit[0]]:.6g} s"


def _plain(number: str) -> str:
    return f"{_value(number):g}"


def _value(number: str) -> float:
    decimal = re.sub(r",(?=\d{1,2}(?:e|$))", ".", number, flags=re.IGNORECASE)
    return float(decimal.replace(",", ""))
