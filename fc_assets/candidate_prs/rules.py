"""The embedded extractor: by rules, the problem from linked issues, the solution kept apart.

Of a report its reporter's words count as the problem, of others only what measures or reproduces
it; who suggests or announces a solution is on the other side. Of the pull request's own
text only what it marks as the problem counts, and only when no issue tells it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fc_assets import candidate_prs
from fc_assets.candidate_prs import fixes, markdown
from fc_assets.candidate_prs.sides import Material, Sides

_SOLUTION = re.compile(
    r"\bfix(?:ed|es|ing)? (?:by|in|with|it|this|for)\b|\b(?:the|a|easy|simple|proposed) fix\b"
    r"|\b(?:we|i|you|one) (?:can|could|should|might|would)\b(?! (?:also |still |not |easily )*"
    r"(?:reproduce|confirm|see|provide|share|test|try|expect|have thought|like|say|not|run|observe"
    r"|notice|find|download|time|profile|measure|finish|be able|no longer|barely|hardly)\b)"
    r"|\bwould (?:be (?:faster|quicker|better)|help|fix|solve|avoid|let|make)\b"
    r"|\b(?:why not|how about|what about|workaround|work-around|my branch|a branch|prototype)\b"
    r"|\b(?:pull request|PRs?|propos(?:e|al|ed|ing))\b|\b(?:was|is|been|got) merged\b"
    r"|\b(?:my|this|attached|following) patch\b|\b(?:this|that|it|which) (?:solve[sd]?|fixe[sd])\b"
    r"|\b(?:a|my|one|possible|simple|better|proposed|obvious) (?:\w+ )?solution\b"
    r"|\b(?:I|we|you|would|'d) suggest\b|\bsuggest(?:ed|ing) (?:to|that|by|fix|change)\b"
    # "3 s instead of 1" measures.
    r"|\binstead of\b(?! (?:~|about |around |just |only )?(?:\d|once|twice))"
    r"|\breplac(?:e|ing) .{1,60} (?:with|by)\b"
    r"|\b(?:should|could|by) switch(?:ing)? to\b|\brewr(?:ite|ote|itten)\w*"
    r"|\b(?:please |should |could |just |by |now )us(?:e|ing)\b(?! (?:version|v?\d))"
    r"|\bby (?:keeping|cach\w+|avoid\w+|skipp\w+|stor\w+)\b"
    r"|\bvectori[sz]\w*|\bway to go\b|\bhave you (?:tried|considered)\b|\bturns out\b"
    r"|\bmonkey-?patch\w*|\bspeed(?:s|ed)? (?:it|this|that|things) up\b"
    r"|\bmakes? (?:it|this|that|things) (?:much )?faster"
    r"|\b\d+(?:\.\d+)?\s?(?:x|\u00d7|times)\s(?:faster|quicker|speed)",
    re.IGNORECASE,
)
#: Speed, time and memory, measured or felt.
_PERFORMANCE = re.compile(
    r"slow|fast|quick|perform|speed|time|minute|second|hours?\b|forever|hangs?\b|latenc|memory"
    r"|quadratic|scal(?:e|es|ing)\b|O\(n|bottleneck"
    r"|profil|benchmark|overhead|regress|\b\d+(?:\.\d+)? ?(?:s|ms|us|\u00b5s|ns|min|[KMG]i?B)\b",
    re.IGNORECASE,
)
_TRIAGE = re.compile(
    r"reproduc|confirm|profil|bisect|regress|quadratic|bottleneck|O\(n|benchmark"
    r"|same (?:\w+ )?(?:problem|issue|here)|time is spent|\bslow|memory|perform|timeit"
    r"|\b\d+(?:\.\d+)? ?(?:s|ms|us|\u00b5s|ns|sec|seconds|min|minutes|[KMG]i?B)\b",
    re.IGNORECASE,
)
_MEASURED = re.compile(
    r"faster|speed-?up|benchmark|\bbefore\b.{0,300}\bafter\b|\bratio\b|\b\d+(?:\.\d+)?\s?(?:x|\u00d7)\b"
    r"|\b\d+(?:\.\d+)? ?(?:s|ms|us|\u00b5s|ns|%|[KMG]i?B)(?!\w)",
    re.IGNORECASE | re.DOTALL,
)
#: Parts of a report's form that say nothing: ticked boxes, fields left empty, lists of versions.
_FORM = re.compile(
    r"^[ \t]*[-*] \[[ xX]\] [^\n]*\n?|^_No response_[ \t]*\n?"
    r"|<details>(?=(?:(?!</?details>).){0,300}?(?:installed versions|show_versions|python {0,20}:))"
    r"(?:(?!</?details>).){0,8000}+</details>",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
#: What reproduces the problem is no solution of it.
_REPRODUCES = re.compile(r"\W*(?:steps )?to (?:reproduce|see|measure|time)\b", re.IGNORECASE)
#: A title that says what to do.
_PROPOSES = re.compile(
    r"(?:\W*(?:\[[^\]\n]{1,40}\]|\w{1,12}:))?\W*(?:us(?:e|ing)\b(?! of\b)|switch(?:ing)? to\b"
    r"|cach(?:e|ing) (?!is\b|miss|grow|takes|never|file|size)|replac(?:e|ing)\b"
    r"|vectori[sz](?:e|ing)\b|avoid(?:ing)?\b|rewrit(?:e|ing)\b|parallelis\w+|parallelize\b|pre-?comput(?:e|ing)\b"
    r"|memoi[sz](?:e|ing)\b|(?:add|implement)(?:ing)? (?:a |an |the )?(?:\w+ )?(?:cache|index)\b)",
    re.IGNORECASE,
)
_HEADING = re.compile(r"\s*(?:#{1,6}\s+(?P<text>.*?)|\*\*(?P<bold>[^*\n]{1,60})\*\*:?)\s*#*\s*\Z")
_PROBLEM_HEADING = re.compile(
    r"\W*(?:the )?(?:problem|motivation|background|issue|current (?:behaviou?r|state)|symptoms?"
    r"|context|why)\b",
    re.IGNORECASE,
)
_SOLUTION_HEADING = re.compile(
    r"\W*(?:(?:describe|the|a|any|possible|potential|proposed|suggested|your|my|preferred) ){0,4}"
    r"(?:solutions?|alternatives?|propos(?:al|als|ed)|suggestions?|fix(?:es)?|workarounds?|ideas?"
    r"|implementation|feature description)\b",
    re.IGNORECASE,
)
_EXPECTED = re.compile(r"\W*expected\b", re.IGNORECASE)
_CURRENTLY = re.compile(r"\W*(?:currently|at the moment|right now|at present|as of now)\b", re.I)
_QUOTE = re.compile(r"\s*>")


class Rules:
    """The extractor that needs nothing."""

    name = candidate_prs.RULES

    def extract(self, material: Material) -> Sides:
        own, solution, measured = of_pull_request(material.title, material.body)
        problem: list[str] = []
        triage: list[str] = []
        for issue in _relevant(material.issues, tells=bool(own)):
            found = _of_issue(issue)
            problem += found[0]
            triage += found[1]
            solution += found[2]
        if not problem:
            problem = own
        else:
            solution += own
        for comment in material.discussion:
            (measured if _MEASURED.search(comment) else solution).append(comment)
        parts = (problem, triage, solution, measured)
        return Sides(*("\n\n".join(part) for part in parts)).bounded()


def of_pull_request(title: str, body: str) -> tuple[list[str], list[str], list[str]]:
    """What a pull request says of the problem, of its solution, and of what that brought."""
    problem, solution, measured = [], [title.strip()] if title.strip() else [], []
    marked, cut = False, False
    for block in markdown.blocks(body):
        text = block.text.strip("\n")
        heading = None if block.is_code else _HEADING.match(text.partition("\n")[0].strip()[:200])
        if heading:
            name = heading["text"] or heading["bold"] or ""
            marked = bool(_PROBLEM_HEADING.match(name))
        bare = heading and "\n" not in text.strip()
        if not text.strip() or (not block.is_code and _QUOTE.match(text)):
            continue  # who quotes repeats others
        tells = cut if block.is_code else _tells(text)
        if not tells and (marked or _CURRENTLY.match(text)):
            if not bare:
                problem.append(text)
            cut = False
            continue
        cut = not block.is_code
        (measured if _MEASURED.search(text) else solution).append(text)
    return problem, solution, measured


def split(text: str) -> tuple[str, str]:
    """Text on the problem, and what suggests or announces a solution; nothing is lost.

    What comes after a suggestion in its paragraph belongs to it, and so does the code below;
    under a heading that asks for a solution all does.
    """
    kept, cut = list[str](), list[str]()
    below = asked = expected = False
    for block in markdown.blocks(text):
        if block.is_code:
            (cut if below or asked or fixes.is_diff(block.text) else kept).append(block.text)
            continue
        sides: tuple[list[str], list[str]] = ([], [])
        below = False
        for unit in markdown.units(block.text):
            heading = _HEADING.match(unit.strip()[:200])
            if heading:
                name = heading["text"] or heading["bold"] or ""
                asked = bool(_SOLUTION_HEADING.match(name))
                expected = bool(_EXPECTED.match(name))
            below = below or _tells(unit) or (expected and bool(_PROPOSES.match(unit)))
            sides[below or asked].append(unit)
        kept += ["".join(sides[0])] if sides[0] else []
        cut += ["".join(sides[1])] if sides[1] else []
    return _joined(kept), _joined(cut)


def _relevant(issues: Sequence[Mapping[str, Any]], *, tells: bool) -> list[Mapping[str, Any]]:
    """Issues about speed; when none is, those that the pull request names, unless it `tells`."""
    found = [i for i in issues if _PERFORMANCE.search(f"{i['title']}\n{i['body']}")]
    return found or [issue for issue in issues if issue["depth"] == 1 and not tells]


def _of_issue(issue: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """What an issue and its comments say of the problem, of its cause, and of a solution.

    A title alone says nothing, and one that says what to do is no problem.
    """
    problem, triage, solution = list[str](), list[str](), list[str]()
    for entry in (issue, *issue["comments"]):
        # Each is closed, so that none makes code of the next.
        kept, cut = split(markdown.closed(_FORM.sub("", entry["body"])))
        solution += [cut] if cut else []
        if entry is issue or (entry["author"] and entry["author"] == issue["author"]):
            problem += [kept] if kept else []
        elif kept:
            (triage if _TRIAGE.search(kept) else solution).append(kept)
    title = issue["title"]
    if _PROPOSES.match(title) or _tells(title):
        solution.append(title)
    elif problem or triage:
        problem.insert(0, f"## {title}")
    return problem, triage, solution


def _tells(text: str) -> bool:
    prose = markdown.without_code(text.strip())
    return _SOLUTION.search(prose) is not None and not _REPRODUCES.match(prose)


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip("\r\n") for part in parts if part.strip())
