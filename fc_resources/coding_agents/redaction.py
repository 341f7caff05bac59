"""Keeps an agent's own secrets out of what is stored of its session."""

import base64
import re
import urllib.parse
from collections.abc import Iterable, Iterator

#: A shorter password is hidden where it stands with its user only: as a word it is in any text.
_SHORTEST = 6
_USERINFO = re.compile(r"(?:^|//)([^/?#\s]*)@")
#: Colours and other control sequences of terminals; then what is left of control characters.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Redaction:
    """The secrets of one session."""

    def __init__(self, secrets: Iterable[str]) -> None:
        plain = {secret for secret in secrets if secret}
        encoded = {form for secret in plain if len(secret) >= _SHORTEST for form in _base64(secret)}
        # The longest first, for one may contain another.
        self._secrets = sorted(plain | encoded, key=len, reverse=True)

    def is_clean(self, text: str) -> bool:
        """Whether a text has no secret in it, in base64 neither."""
        return not any(secret in text for secret in self._secrets)

    def of(self, text: str) -> str:
        """A text without secrets and control characters; line ends and tabs stay."""
        text = _CONTROL.sub("", _SEQUENCE.sub("", text))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def in_addresses(addresses: Iterable[str]) -> Iterator[str]:
    """What is secret of addresses such as `http://user:password@proxy:3128`."""
    for address in addresses:
        for userinfo in _USERINFO.findall(address):
            user, _, password = userinfo.partition(":")
            # A token may stand alone.
            secret = password or user
            if password:
                yield f"{userinfo}@"
            for form in (secret, urllib.parse.unquote(secret)):
                if len(form) >= _SHORTEST:
                    yield form


def _base64(secret: str) -> Iterator[str]:
    """What all texts in base64 have in common that have the secret in them, by its offset."""
    for offset in range(3):
        content = bytes(offset) + secret.encode()
        whole = base64.b64encode(content).decode()
        # Characters with bits of what stands before and after differ.
        common = whole[-(-offset * 8 // 6) : len(content) * 8 // 6]
        yield common
        yield common.replace("+", "-").replace("/", "_")
