"""The embedded extractor: by rules, the problem from linked issues, the solution kept apart.

Only the reporter's own words count as problem: others in a thread tend to discuss the fix. What
the reporter says about one, speed-ups and links to it belong to the solution side as well. The
pull request's own text is never shown: it describes the solution.
"""

import dataclasses
import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fc_assets.candidate_prs import links

EXTRACTOR = "rules/1"

_SOLUTION = re.compile(
    r"\b(fix(ed|es)? (by|in|with|it)|(we|i|you) (can|could|should|might)|"
    r"(would|will) (be faster|help|fix|solve)|the fix|a fix|patch|pull request|merged|PR|"
    r"solution|instead of|replace|switch(ing)? to|rewrit\w+|use an?|using an?|by keeping|"
    r"by caching)\b"
    r"|\b\d+(\.\d+)?\s?(x|\u00d7|times)\s(faster|slower)\b",
    re.IGNORECASE,
)
_PULL_REFERENCE = re.compile(r"github\.com/[\w.-]+/[\w.-]+/(pull|commit)/", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63}){1,8}")
_MENTION = re.compile(r"(?<![\w`@/.])@([A-Za-z0-9][A-Za-z0-9-]*)(?![\w(.])")
_HOME = re.compile(r"(/home/|/Users/|[A-Z]:\\Users\\)[^/\\\s\"']+")
_IDENTIFIER = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]{4,}\b")
_CODE_SPLIT = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Extract:
    """Both sides of the discussion; `observations` is None when there is nothing on the problem."""

    observations: str | None
    solution: str | None
    used: list[int]


def extract(
    issues: Sequence[Mapping[str, Any]], body: str, merged_at: datetime.datetime
) -> Extract:
    """Split linked issues, as they were before the merge, into problem and solution.

    `issues` are rows of an offline source: title, body, author, created_at and comments with
    author, created_at and body.
    """
    problem: list[str] = []
    solution = [body.strip()] if body.strip() else []
    used = []
    for issue in issues:
        if _time(issue["created_at"]) >= merged_at:
            continue
        used.append(issue["issue_number"])
        problem.append(f"## {issue['title']}")
        comments = [c for c in issue["comments"] or [] if _time(c["created_at"]) < merged_at]
        for entry in (issue, *comments):
            text = entry["body"] or ""
            if entry["author"] != issue["author"]:
                solution.append(text)
                continue
            kept, cut = split(text)
            problem += [kept] if kept else []
            solution += [cut] if cut else []
    observations = anonymize("\n\n".join(problem)) if problem else None
    return Extract(observations, "\n\n".join(solution) or None, used)


def split(text: str) -> tuple[str, str]:
    """Paragraphs on the problem, and those that suggest, announce or link a solution.

    A reference such as `#12` counts as a link only outside code blocks.
    """
    kept, cut = [], []
    for paragraph in _paragraphs(text):
        prose = links.without_code(paragraph)
        tells = (
            _SOLUTION.search(prose) or _PULL_REFERENCE.search(prose) or re.search(r"#\d+", prose)
        )
        (cut if tells else kept).append(paragraph)
    return "\n\n".join(kept), "\n\n".join(cut)


def _paragraphs(text: str) -> list[str]:
    """Blocks between blank lines; a fenced code block stays whole."""
    paragraphs, lines, fenced = [], [], False
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if line.strip() or fenced:
            lines.append(line)
        elif lines:
            paragraphs.append("\n".join(lines))
            lines = []
    return [*paragraphs, "\n".join(lines)] if lines else paragraphs


def anonymize(text: str) -> str:
    """Replace e-mail addresses, home folders and, outside code, mentions; decorators stay."""
    people: dict[str, str] = {}

    def person(match: re.Match[str]) -> str:
        return people.setdefault(match[1].lower(), f"@user_{len(people) + 1}")

    parts = _CODE_SPLIT.split(text)
    for index, part in enumerate(parts):
        masked = _HOME.sub(r"\1user", _EMAIL.sub("user@example.org", part))
        # Odd parts are code: an `@` there is a decorator or an operator.
        parts[index] = masked if index % 2 else _MENTION.sub(person, masked)
    return "".join(parts)


def leaked_identifiers(statement: str, patch: str | None) -> list[str]:
    """Names in the statement that only the added lines of the diff have, sorted."""
    added, before = set(), set()
    for line in (patch or "").splitlines():
        names = _IDENTIFIER.findall(line[1:])
        if line.startswith("+") and not line.startswith("+++"):
            added.update(names)
        elif not line.startswith(("+++", "index ")):
            before.update(names)
    # Plain words occur in any prose; what leaks a solution is spelled like code.
    only_added = {n for n in added - before if "_" in n.strip("_") or re.search(r"[a-z][A-Z]", n)}
    return sorted(only_added & set(_IDENTIFIER.findall(statement)))


def _time(text: str) -> datetime.datetime:
    """A moment; without a zone it is in UTC, as everywhere in an offline source."""
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
