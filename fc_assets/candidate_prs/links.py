"""Which issues a text refers to: `#1`, `owner/repo#1`, `GH-1` and addresses, in any repository.

And where it leads to changed code: pull requests, commits, branches, files. Whether a
number is an issue or a pull request is not known here.
"""

import functools
import re
from collections.abc import Set

from fc_assets.candidate_prs import markdown

#: A repository's name (owner/name, lower case), and a number in it.
Reference = tuple[str, int]

_EMAIL = re.compile(r"[\w.+#%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_NAME = r"[A-Za-z0-9][\w-]{0,38}/[\w.-]{1,100}"
_REFERENCE = re.compile(
    rf"https?://(?:www\.)?github\.com/(?P<page>{_NAME})/(?P<kind>issues|pull)/(?P<at>\d{{1,9}})(?!\w)"
    rf"|(?<![\w/@.&#-])(?P<name>{_NAME})?#(?P<number>\d{{1,9}})(?![\w@])"
    r"|(?<![\w/@.&#-])gh-(?P<short>\d{1,9})(?![\w@])",
    re.IGNORECASE,
)
#: Addresses of other kinds are taken whole, so that `#12` at their end is no reference.
_ADDRESS = re.compile(r"https?://[^\s<>()\[\]\"']+", re.IGNORECASE)

#: Where changed code is.
_CHANGES = re.compile(
    r"github\.com/(?:repos/)?[\w.-]+/[\w.-]+/"
    r"(?:pulls?/\d+|commits?/\w+|(?:compare|tree|blob|raw|files|branches)/[^\s)>\]\"'`]+)"
    r"|(?:raw|patch-diff|codeload)\.githubusercontent\.com/[^\s)>\]\"'`]+"
    r"|gist\.github(?:usercontent)?\.com/[^\s)>\]\"'`]+"
    r"|/-/merge_requests/\d+|\bcodspeed\.io/[\w.-]+/[\w.-]+/[^\s)>\]\"'`]+"
    r"|\bgit\+(?:https?|ssh|git)://[^\s)>\]\"'`]+"
    r"|(?<![\w/.-])[\w.-]{1,39}/[\w.-]{1,100}@[0-9a-f]{7,40}\b",
    re.IGNORECASE,
)
_SINCE = re.compile(r"/(?:pulls?|commits?)/", re.IGNORECASE)
_HASH = re.compile(r"(?<![\w-])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40}(?![\w-])")
_COMMIT = re.compile(r"(?:commit|rev\w{0,8}|sha)\W{1,3}$", re.IGNORECASE)
#: What made it slow is no way to what makes it fast.
_CULPRIT = re.compile(
    r"\b(?:introduced (?:in|by|with)|bisect\w*|caused by|regress\w* (?:in|from|since|by|to)"
    r"|culprit|blame)\b[^\n]{0,80}$",
    re.IGNORECASE,
)


def references(text: str, owner: str, repo: str) -> list[Reference]:
    """Issues that a text refers to, each once, in its order; `#1` is one of owner/repo.

    Code and e-mail addresses do not count, and the address of a pull request is none.
    """
    own = f"{owner}/{repo}".lower()
    found: dict[Reference, None] = {}
    for match in _REFERENCE.finditer(_plain(text)):
        if match["kind"] and match["kind"].lower() == "pull":
            continue
        name = (match["page"] or match["name"] or own).lower()
        number = int(match["at"] or match["number"] or match["short"])
        if number:
            found[name, number] = None
    return list(found)


def to_changes(
    text: str, is_code: bool, own: tuple[str, str, int], known: Set[Reference], merge_commit: str
) -> list[str]:
    """Where a part of a text leads to changed code, or to issues nobody knows.

    `own` is the pull request: owner, repository, number. A commit said to be the cause is no
    change in this sense.
    """
    owner, repo, number = own
    prose = "" if is_code else text
    found = [
        match[0]
        for match in _CHANGES.finditer(text)
        if not (_SINCE.search(match[0]) and is_culprit(text, match.start()))
    ]
    found += [
        match[0]
        for match in _HASH.finditer(prose)
        if merge_commit.startswith(match[0])
        or (
            (len(match[0]) == 40 or _COMMIT.search(prose[: match.start()][-20:]))
            and not is_culprit(prose, match.start())
        )
    ]
    named = [] if is_code else references(text.strip(), owner, repo)
    found += [
        f"{name}#{at}"
        for name, at in named
        if (name, at) not in known
        and ((name, at) == _key(own) or not is_culprit(text, text.rfind(f"{at}")))
    ]
    if number and not any(str(number) in what for what in found):
        found += [match[0] for match in _own(number).finditer(text)][:1]
    return found


def is_culprit(text: str, at: int) -> bool:
    """Whether what is named there is said to be the cause."""
    return _CULPRIT.search(text[max(0, at - 160) : at]) is not None


def _key(own: tuple[str, str, int]) -> Reference:
    return f"{own[0]}/{own[1]}".lower(), own[2]


@functools.cache
def _own(number: int) -> re.Pattern[str]:
    """A pull request's number, however it is spelled."""
    return re.compile(
        rf"(?:(?<![\w/&#.-])(?:#|gh-|PRs?\s{{0,3}}#?|pulls?(?:[ -]?requests?)?\s{{0,3}}[/#]?)"
        rf"|/(?:pulls?|issues)/){number}(?![\w]|\.\d)",
        re.IGNORECASE,
    )


def _plain(text: str) -> str:
    prose = _EMAIL.sub(" ", markdown.without_code(text))
    return _ADDRESS.sub(lambda address: address[0] if _is_page(address[0]) else " ", prose)


def _is_page(address: str) -> bool:
    found = _REFERENCE.match(address)
    return found is not None and found["page"] is not None
