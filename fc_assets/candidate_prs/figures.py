"""Figures that tell how much faster something became, in one spelling each.

`3.0x`, `3 times` and `3-fold` are "3x"; `0.30 s` and `300 ms` are "0.3 s"; `50 %` is "50%".
"""

import re

_NUMBER = r"(?<![\w.])(?P<{0}>\d{{1,9}}(?:,\d{{3}})*(?:\.\d{{1,9}})?)"
_RATIO = re.compile(
    _NUMBER.format("n") + r"\s?(?:x\b|\u00d7|-?fold\b|times\s(?=faster|quicker|less|fewer|smaller|"
    r"more|as\s|slower|speed))",
    re.IGNORECASE,
)
_PERCENT = re.compile(_NUMBER.format("n") + r"\s?(?:%|percent\b)", re.IGNORECASE)
_WORDS = re.compile(
    r"\b(?P<word>twice|thrice|half|an order of magnitude|orders of magnitude)\b"
    r"(?= (?:as |the )?(?:fast|quick|time|memory|faster|quicker|speed))",
    re.IGNORECASE,
)
_TIME = re.compile(
    _NUMBER.format("n") + r"(?:\s?(?:\u00b1|\+/-)\s?[\d.]+)?\s?"
    r"(?P<unit>ns|nanosec\w*|us|\u00b5s|\u03bcs|microsec\w*|ms|millisec\w*|s|secs?|seconds?"
    r"|m|mins?|minutes?|h|hrs?|hours?|[KMGT]i?B)(?![\w/])"
)
_SECONDS = {"n": 1e-9, "u": 1e-6, "\u00b5": 1e-6, "\u03bc": 1e-6, "s": 1.0, "h": 3600.0}
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def all_of(text: str) -> frozenset[str]:
    """Every figure of a text."""
    return frozenset([*_relative(text), *(figure for _, figure in _absolute(text))])


def after(text: str) -> frozenset[str]:
    """Figures that are there with the solution: the first time of several in a line was before."""
    found = set(_relative(text))
    for line in text.splitlines():
        absolute = [figure for _, figure in _absolute(line)]
        found.update(absolute[1:] if len(absolute) > 1 else absolute)
        if len(absolute) > 1:
            found.discard(absolute[0])
    return frozenset(found)


def _relative(text: str) -> list[str]:
    return [
        *(f"{_plain(match['n'])}x" for match in _RATIO.finditer(text)),
        *(f"{_plain(match['n'])}%" for match in _PERCENT.finditer(text)),
        *(match["word"].lower() for match in _WORDS.finditer(text)),
    ]


def _absolute(text: str) -> list[tuple[int, str]]:
    return [(m.start(), _measure(m["n"], m["unit"])) for m in _TIME.finditer(text)]


def _measure(number: str, unit: str) -> str:
    value = float(number.replace(",", ""))
    if unit[-1] == "B":
        return f"{value * _BYTES[unit[0]]:.6g} B"
    if unit == "m" or unit.startswith("min"):
        return f"{value * 60:.6g} s"
    if unit == "ms" or unit.startswith("mil"):
        return f"{value * 1e-3:.6g} s"
    if unit.startswith("mic"):
        return f"{value * 1e-6:.6g} s"
    return f"{value * _SECONDS[unit[0]]:.6g} s"


def _plain(number: str) -> str:
    return f"{float(number.replace(',', '')):g}"
