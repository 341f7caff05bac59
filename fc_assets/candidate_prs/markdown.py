"""What is code and what is prose in Markdown, and the parts a text can be cut into; no meaning.

Only as much of CommonMark as issues and pull requests need. Parts always join to the whole text.
"""

import bisect
import dataclasses
import re
from typing import NamedTuple

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(
    r"[\s>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++)?+(?P<fence>`{3,60}+(?=[^`]*$)|~{3,60}+)"
)
_INDENTED = re.compile(r" {4}|\t")
_LIST = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s")
#: Lines that stand for themselves: list items, headings, rows of tables.
_LINES = re.compile(r"[\s>]*(?:[-*+]\s|\d{1,9}[.)]\s|#{1,6}\s|\|)")
_QUOTE = re.compile(r"\s*>")
_INLINE = re.compile(r"(?<!`)(`+)(?!`)(?:.*?)(?<!`)\1(?!`)", re.DOTALL)
_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)|<(pre|code)\b.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_COMMENT = re.compile(r"<!--")
#: Removing a comment may show that what follows is no code.
_PASSES = 5
_IMAGE = re.compile(
    r"!\[([^\[\]]{0,200}+)\](?:\((?:[^()\n]|\([^()\n]{0,200}+\)){0,2000}+\)|\[[^\]\n]{0,200}\])"
    r"|<img\b[^<>]{0,2000}>?",
    re.IGNORECASE,
)
#: A line that nobody would run.
_RUNNING = re.compile(r"[A-Z][\w']*,?(?: [\w'#`/.-]+,?){3}")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9`@*_(\"'\[])")
_ABBREVIATED = re.compile(r"\b(?:e\.g|i\.e|vs|cf|ca|approx|resp|etc|[A-Z])\.[\"')\]]*\s+\Z")


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block, or a paragraph, with the blank lines after it."""

    text: str
    is_code: bool


class Unit(NamedTuple):
    """A part that can be left out, and whether it is a code block where it stands."""

    text: str
    is_code: bool


def blocks(text: str) -> list[Block]:
    """Code blocks, fenced or indented, and paragraphs; together they are the text."""
    found: list[Block] = []
    lines: list[str] = []
    fence, indented, blank, in_list = "", False, True, False

    def end(is_code: bool) -> None:
        if lines:
            found.append(Block("".join(lines), is_code))
            lines.clear()

    for line in _LINE.findall(text):
        is_blank = not line.strip()
        if fence:
            lines.append(line)
            if _closes(line, fence):
                fence = ""
                end(True)
            continue
        opening = _FENCE.match(line)
        if opening:
            end(indented)
            fence, indented = opening["fence"], False
            lines.append(line)
        elif is_blank:
            if lines:
                lines.append(line)
            elif found:
                found[-1] = Block(found[-1].text + line, found[-1].is_code)
            else:
                lines.append(line)
        elif indented and _INDENTED.match(line):
            lines.append(line)
        elif blank and _INDENTED.match(line) and not in_list:
            end(indented)
            indented = True
            lines.append(line)
        else:
            if blank or indented:
                end(indented)
                indented = False
            lines.append(line)
            # What is indented after a list item goes on with it.
            in_list = bool(_LIST.match(line)) or (in_list and line[:1].isspace())
        blank = is_blank
    end(bool(fence) or indented)
    return found


def spans(text: str) -> list[tuple[str, bool]]:
    """Pieces of a paragraph and whether each is inline code, its backticks included."""
    pieces, at = [], 0
    for match in _INLINE.finditer(text):
        pieces += [(text[at : match.start()], False), (match[0], True)]
        at = match.end()
    return [piece for piece in [*pieces, (text[at:], False)] if piece[0]]


def pieces(text: str) -> list[tuple[str, bool]]:
    """The whole text as pieces, and whether each is code: blocks as well as inline."""
    return [
        piece
        for block in blocks(text)
        for piece in ([(block.text, True)] if block.is_code else spans(block.text))
    ]


def without_code(text: str) -> str:
    """The visible prose: without code, where `#1` is a comment or a colour, and comments."""
    return _HIDDEN.sub(" ", "".join(" " if is_code else piece for piece, is_code in pieces(text)))


def visible(text: str) -> str:
    """The text without comments, which nobody sees, and images, which tell who looks at them."""
    for _ in range(_PASSES):
        before, text = text, _without_comments(text)
        if text == before:
            break
    return "".join(p if c else _IMAGE.sub(r"(image \1)", p) for p, c in pieces(text))


def closed(text: str) -> str:
    """The text with its last code block closed, so that what is put after it is read as prose.

    It ends where running text begins, else at the end.
    """
    fence, start, at = "", 0, 0
    for line in _LINE.findall(text):
        if fence:
            fence = "" if _closes(line, fence) else fence
        elif opening := _FENCE.match(line):
            fence, start = opening["fence"], at + len(line)
        at += len(line)
    if not fence:
        return text
    end, blank = start, False
    for line in _LINE.findall(text[start:]):
        if blank and _RUNNING.match(line):
            break
        blank = not line.strip()
        end += len(line)
    code = text[:end].rstrip("\r\n")
    return f"{code}\n{fence}" + (f"\n\n{text[end:]}" if end < len(text) else "\n")


def parts(text: str) -> list[Unit]:
    """The smallest parts that can be left out: sentences, list items, rows, code blocks.

    What is code is decided here, in its context: an indented item of a list is none.
    """
    return [
        Unit(unit, block.is_code)
        for block in blocks(text)
        for unit in ([block.text] if block.is_code else _units(block.text))
    ]


def units(text: str) -> list[str]:
    """Texts of the parts."""
    return [unit.text for unit in parts(text)]


def sentences(text: str) -> list[str]:
    """Sentences of running text, each with the blanks after it; none ends within inline code."""
    inside, at = [], 0
    for piece, is_code in spans(text):
        if is_code:
            inside.append((at, at + len(piece)))
        at += len(piece)
    found, start = [], 0
    for match in _SENTENCE.finditer(text):
        end = match.end()
        while inside and inside[0][1] <= match.start():
            inside.pop(0)
        hidden = bool(inside) and inside[0][0] < end and match.start() < inside[0][1]
        if (hidden and inside[0][0] < match.start()) or _ABBREVIATED.search(
            text[max(start, match.start() - 8) : end]
        ):
            continue
        found.append(text[start:end])
        start = end
    return [*found, text[start:]] if start < len(text) else found


def _units(paragraph: str) -> list[str]:
    found: list[str] = []
    prose: list[str] = []
    was_quote = False
    for line in _LINE.findall(paragraph):
        is_quote = bool(_QUOTE.match(line))
        if is_quote != was_quote and line.strip():
            # Lines of a quote go on with each other, as those of a paragraph do.
            found += sentences("".join(prose))
            prose, was_quote = [], is_quote
        if found and not prose and not line.strip():
            found[-1] += line
        elif _LINES.match(line):
            found += sentences("".join(prose))
            prose = []
            found.append(line)
        else:
            prose.append(line)
    return [*found, *sentences("".join(prose))]


def _closes(line: str, fence: str) -> bool:
    closing = line.strip().lstrip("> ")
    return len(closing) >= len(fence) and not closing.strip(fence[0])


def _without_comments(text: str) -> str:
    starts, code, position = [], [], 0
    for piece, is_code in pieces(text):
        starts.append(position)
        code.append(is_code)
        position += len(piece)
    shown, at = [], 0
    for match in _COMMENT.finditer(text):
        start = match.start()
        if start >= at and not code[bisect.bisect(starts, start) - 1]:
            shown.append(text[at:start])
            end = text.find("-->", start + 4)
            at = end + 3 if end >= 0 else len(text)
    return "".join([*shown, text[at:]])
