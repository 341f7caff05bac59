"""Which issues a text refers to: `#1`, `owner/repo#1`, `GH-1` and addresses, in any repository.

Whether a number is an issue or a pull request is not known here.
"""

import re

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


def _plain(text: str) -> str:
    prose = _EMAIL.sub(" ", markdown.without_code(text))
    return _ADDRESS.sub(lambda address: address[0] if _is_page(address[0]) else " ", prose)


def _is_page(address: str) -> bool:
    found = _REFERENCE.match(address)
    return found is not None and found["page"] is not None
