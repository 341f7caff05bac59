"""Which issues a pull request is about, from the references in its title and body."""

import re

_CODE = re.compile(r"```.*?(```|\Z)|~~~.*?(~~~|\Z)|`[^`\n]*`", re.DOTALL)
_REFERENCE = re.compile(
    r"(?<![\w/@.&-])(?:https?://github\.com/)?"
    r"(?P<name>[\w.-]+/[\w.-]+)?(?:#|/(?:issues)/|(?<=gh-)|(?<=GH-))(?P<number>\d{1,9})\b"
)


def without_code(text: str) -> str:
    """The text without code blocks and inline code, where `#1` is a comment or a colour."""
    return _CODE.sub(" ", text)


def references(text: str, owner: str, repo: str) -> list[int]:
    """Numbers in the same repository that a text refers to: `#1`, `owner/repo#1` and addresses."""
    own = f"{owner}/{repo}".lower()
    found = (
        int(match["number"])
        for match in _REFERENCE.finditer(without_code(text))
        if (match["name"] or own).lower() == own
    )
    return list(dict.fromkeys(found))
