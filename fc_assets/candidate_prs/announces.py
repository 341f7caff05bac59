"""What tells that, and where, an issue is solved: cut from a comment, the rest of it stays."""

import re
from collections.abc import Callable

from fc_assets.candidate_prs import links, markdown

_WHERE = (
    r"(?:PR\b|pull request|commit\b|main\b|master\b|#|gh-|https?://|[\w.-]+/[\w.-]+#"
    r"|[0-9a-f]{7,40}\b)"
)
#: Not "not fixed in 1.4", nor "should be fixed": who reports says so too.
_YES = r"(?<!not )(?<!n't )(?<!never )(?<!should be )(?<!must be )(?<!to be )"
_TOLD = re.compile(
    rf"\b{_YES}(?:fixed|closed|resolved|solved|addressed|implemented|added|done|merged|landed"
    r"|handled|taken back|reverted|superseded)\s+(?:this\s+)?(?:by|in|via|with|on|through)\s+"
    rf"(?:the\s+)?{_WHERE}"
    rf"|\b{_YES}(?:fixed|resolved|solved|released|available)\s+(?:in|with|as|since)\s+"
    r"(?:version\s+)?v?\d+\.\d+"
    r"|\b(?:should be|to be|must be)\s+(?:now\s+)?(?:fixed|resolved)\s+"
    r"(?:now|by|in|with|on|since)\b"
    r"|\b(?:been|(?:this|that|it|issue)(?: is| was|'s))\s+(?:now\s+)?(?:fixed|resolved)\b"
    r"|\b(?:opened|submitted|sent|made|created|filed|put up|prepared|pushed|wrote|my)\s+"
    r"(?:\w+\s+)?(?:PR|pull request)\b(?!\s*:\s*no\b)"
    r"|\b(?:PR|pull request)\s*(?:#|:(?!\s*no\b)|is (?:up|open|ready|here)|at https?://)"
    r"|\b(?:proposal|proposed|attempt|fix|patch)\s+(?:is\s+)?(?:in|at|up)\b\s*:?\s*(?:#|https?://)"
    r"|(?P<link>\bgithub\.com/[\w.-]+/[\w.-]+/(?:pull|commit)/)",
    re.IGNORECASE,
)


def cut(text: str, refers: Callable[[str], bool]) -> tuple[str, str]:
    """The text without what announces the solution, and that; `refers` to it announces it too.

    What comes after an announcement in its paragraph goes with it, and so does the code below.
    """
    kept, told, below = list[str](), list[str](), False
    for block in markdown.blocks(markdown.closed(text)):
        if block.is_code:
            (told if below else kept).append(block.text)
            continue
        below = False
        for unit in markdown.units(block.text):
            below = below or tells(unit) or refers(unit)
            (told if below else kept).append(unit)
    return "".join(kept), "".join(told)


def tells(unit: str) -> bool:
    """Whether a part of a text announces a solution: no question, and no cause does."""
    if unit.rstrip().endswith("?"):
        return False
    return any(
        not (match["link"] and links.is_culprit(unit, match.start()))
        for match in _TOLD.finditer(unit)
    )
