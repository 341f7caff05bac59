"""Keeps an agent's own secrets out of what is stored of its session."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

#: Shorter texts in a login file are no secrets, but words such as `Bearer` or a plan's name.
_SHORTEST = 16
#: Colours and other control sequences of terminals; then what is left of control characters.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Redaction:
    """The secrets of one session."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first, for one may contain another.
        self._secrets = sorted({s for s in secrets if s}, key=len, reverse=True)

    def is_clean(self, text: str) -> bool:
        """Whether a text has no secret in it."""
        return not any(secret in text for secret in self._secrets)

    def of(self, text: str) -> str:
        """A text without secrets and control characters; line ends and tabs stay."""
        text = _CONTROL.sub("", _SEQUENCE.sub("", text))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def in_login(path: Path) -> Iterator[str]:
    """Texts of a login file that may be secret; `ValueError` or `OSError` if it is none."""
    waiting: list[Any] = [json.loads(path.read_text("utf-8"))]
    while waiting:
        match waiting.pop():
            case dict() as found:
                waiting += found.values()
            case list() as found:
                waiting += found
            case str() as found if len(found) >= _SHORTEST:
                yield found
