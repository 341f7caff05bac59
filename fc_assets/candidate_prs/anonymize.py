"""Names of people, e-mail addresses and home folders out of texts, and code left as it is.

One `People` per pull request, so that a person has the same number in all of its texts.
"""

import re

from fc_assets.candidate_prs import markdown

_HOST = r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,7}"
#: In code `a@b.dot` multiplies; what ends like a usual domain does not.
_USUAL = r"(?:com|org|net|edu|gov|io|de|fr|uk|ch|at|jp|cn|ru|it|nl|es|br|au|ca|se|no|dk|fi|pl|dev)"
_ADDRESS = r"(?<![\w.+@%-])(?!git@)[\w.+%-]{{1,64}}@{host}\.{top}(?![\w(\[]|\.\w|-\w)"
_EMAIL = re.compile(_ADDRESS.format(host=_HOST, top="[A-Za-z]{2,24}"))
_CODE_EMAIL = re.compile(_ADDRESS.format(host=_HOST, top=_USUAL))
_TRAILER = re.compile(
    r"^([ \t>]*(?:signed-off|co-authored|authored|reviewed|acked|tested|reported|suggested|helped)"
    r"-by:[ \t]*+)[^\n`\r]*+(?=\r?$)",
    re.MULTILINE | re.IGNORECASE,
)
#: `Ana Duarte <ana@example.org>`, as commits and trailers write people: words in upper case.
_SIGNATURE = re.compile(r"(?<![\w@])(?:[^\W\d_a-z][\w.'-]{0,40} ){1,4}(?=<[^<>@\s]{1,64}@)")
_MENTION = re.compile(r"(?<![\w`@/.\\])@([A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}+)(?![\w(/\[]|[.-]\w)")
_DECORATED = re.compile(
    r"^[ \t]*+@[\w.]++[^\n]*+\n"
    r"(?=(?:[ \t]*+@[^\n]*+\n){0,9}+[ \t]*+(?:async[ \t]++)?(?:def|class|cdef|cpdef)\b)",
    re.MULTILINE,
)
#: Decorators that people write about without marking them as code.
_DECORATORS = frozenset(
    {
        *("property", "staticmethod", "classmethod", "cache", "jit", "njit", "vectorize"),
        *("dataclass", "overload", "override", "abstractmethod", "contextmanager", "wraps"),
        *("final", "profile", "fixture", "numba", "torch", "tf", "guvectorize", "delayed", "cuda"),
        *("singledispatch", "singledispatchmethod", "lru_cache", "functools", "pytest", "stencil"),
        *("cached_property", "total_ordering", "generated_jit", "cfunc", "memoize", "jitclass"),
    }
)
#: What mail programs put above a quote.
_REPLY = re.compile(
    r"^([ \t>]*+)On (?=[^\n]{0,60}\d)[^\n]{1,200}(?:\n[^\n]{1,100})?[ \t]?wrote:[ \t]*$",
    re.MULTILINE,
)
_PROMPT = re.compile(
    r"^([ \t>]*+(?:\([^()\n]{1,40}\) ?)?\[?)[\w.-]{1,40}@[\w.-]{1,64}"
    r"(?=[: ][^\s$#%]{0,100}\]?[$#%] )",
    re.MULTILINE,
)
#: `x@self.weight` multiplies in prose too.
_PRODUCT = re.compile(r"\w@\w\.|[\w.+%-]+@self\.")
_NO_PATH = re.compile(r"[^\w.~/-]")
#: Characters before a folder that are looked at.
_BEFORE = 200
_HOME = re.compile(
    r"(?<![\w@])https?://[^\s<>\"')]+"
    r"|(?P<home>/home/|/Users/)[\w.-]*[\w-]"
    r"|(?P<windows>\b[A-Za-z]:(?P<slash>\\+|/)(?:Users|Documents and Settings)(?P=slash))"
    r"(?:[^\\/\s\"'`<>|:*?][^\\/\r\n\"'`<>|:*?]{0,63}(?=(?P=slash))|[\w.-]*[\w-])"
)
_PROFILE = re.compile(
    r"((?<![\w.@/-])(?:https?://)?(?:www\.)?github\.com/)([A-Za-z0-9-]{1,39})"
    r"(?=/?(?:[\s)>,;\]\"']|[.:]\s|\.?\Z))"
)
_GIST = re.compile(r"(\bgist\.github(?:usercontent)?\.com/)([A-Za-z0-9-]{1,39})(?=/[0-9a-f])")


class People:
    """Who is who in the texts of one pull request."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, login: str | None) -> str | None:
        """The name that stands for an account; nobody's words stay nobody's."""
        if login is None:
            return None
        return self._names.setdefault(login.lower(), f"user_{len(self._names) + 1}")

    def mask(self, text: str) -> str:
        """The text without people; applying it again changes nothing."""
        return "".join(
            _code(piece) if is_code else self._prose(piece)
            for piece, is_code in markdown.pieces(text)
        )

    def _prose(self, text: str) -> str:
        decorated = [match.span() for match in _DECORATED.finditer(text)]
        kept, at = [], 0
        for start, end in [*decorated, (len(text), len(text))]:
            kept += [self._mentions(text[at:start]), _code(text[start:end])]
            at = end
        return "".join(kept)

    def _mentions(self, text: str) -> str:
        masked = _EMAIL.sub(_address, _code(_REPLY.sub(r"\1user wrote:", text)))
        masked = _GIST.sub(lambda m: f"{m[1]}{self.name(m[2])}", masked)
        masked = _PROFILE.sub(lambda m: f"{m[1]}{self.name(m[2])}", masked)
        return _MENTION.sub(self._mention, masked)

    def _mention(self, match: re.Match[str]) -> str:
        return match[0] if match[1] in _DECORATORS else f"@{self.name(match[1])}"


def anonymize(text: str) -> str:
    """A single text without people."""
    return People().mask(text)


def _code(text: str) -> str:
    """What names a person in code as well: signatures, addresses, home folders."""
    masked = _TRAILER.sub(r"\1user <user@example.org>", _PROMPT.sub(r"\1user@host", text))
    masked = _CODE_EMAIL.sub("user@example.org", _SIGNATURE.sub("user ", masked))
    return _HOME.sub(_home, masked)


def _address(match: re.Match[str]) -> str:
    is_product = _PRODUCT.match(match[0]) and not _CODE_EMAIL.fullmatch(match[0])
    return match[0] if is_product else "user@example.org"


def _home(match: re.Match[str]) -> str:
    folder = match["home"] or match["windows"]
    # `src/home/view.py` is no home.
    path = _NO_PATH.split(match.string[max(0, match.start() - _BEFORE) : match.start()])[-1]
    relative = match["home"] and 0 < len(path) < _BEFORE and path[0] not in "/~"
    return match[0] if relative or not folder else f"{folder}user"
