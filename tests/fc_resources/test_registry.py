"""A registry's API with a real registry, open and locked, and the way of tokens with a fake one."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from fc_resources.errors import PermanentError, StopError, TransientError, UnavailableError
from fc_resources.registry import Registry
from tests.fakes.server import Handler, Server
from tests.registries import PASSWORD, USER, RealRegistry

_DIGEST = "sha256:" + "a" * 64


def test_what_is_there_has_a_digest_and_what_is_not_has_none(real_registry: RealRegistry) -> None:
    registry = Registry(f"{real_registry.address}/fc")
    assert registry.digest("o-r", "1") is None
    digest = real_registry.upload("fc/o-r", "1")
    assert registry.digest("o-r", "1") == registry.digest("o-r", digest) == digest
    assert registry.digest("o-r", "2") is None


def test_a_tag_moves_and_what_it_named_keeps_its_digest(real_registry: RealRegistry) -> None:
    registry = Registry(f"{real_registry.address}/fc")
    old, new = (real_registry.upload("fc/o-r", tag, tag.encode()) for tag in ("1-old", "1-new"))
    registry.tag("o-r", old, "1")
    registry.tag("o-r", new, "1")
    registry.tag("o-r", new, "1")
    assert registry.digest("o-r", "1") == new
    assert registry.digest("o-r", "1-old") == old != new


def test_a_locked_registry_lets_in_who_has_the_password(locked_registry: RealRegistry) -> None:
    digest = locked_registry.upload("fc/o-r", "1")
    registry = Registry(f"{locked_registry.address}/fc", USER, PASSWORD)
    assert registry.digest("o-r", "1") == digest
    registry.tag("o-r", digest, "2")
    assert locked_registry.tags("fc/o-r") == ["1", "2"]


@pytest.mark.parametrize("login", [(None, None), (USER, "another password")])
def test_who_has_none_is_stopped_and_told_what_to_set(
    locked_registry: RealRegistry, login: tuple[str | None, str | None]
) -> None:
    registry = Registry(f"{locked_registry.address}/fc", *login)
    with pytest.raises(StopError, match="DOCKERHUB_USERNAME and DOCKERHUB_TOKEN") as told:
        registry.digest("o-r", "1")
    assert "another password" not in str(told.value)


def test_a_registry_that_is_down_is_no_answer(real_registry: RealRegistry) -> None:
    registry = Registry(f"{real_registry.address}/fc")
    real_registry.stop()
    with pytest.raises(UnavailableError, match="does not answer"):
        registry.digest("o-r", "1")


@pytest.mark.parametrize(
    ("place", "host", "named"),
    [
        ("registry.example.org/formulacode", None, "registry.example.org/formulacode"),
        ("registry.example.org", None, "registry.example.org"),
        ("localhost:5000/a/b", None, "localhost:5000/a/b"),
        ("formulacode", "docker.io", "docker.io/formulacode"),
        ("docker.io/formulacode", None, "docker.io/formulacode"),
    ],
)
def test_a_place_without_a_host_is_docker_hub(place: str, host: str | None, named: str) -> None:
    registry = Registry(place)
    assert registry.place == named
    assert registry.host == (host or place.partition("/")[0])


class _Tokens:
    """A registry that wants tokens of a service, here its own or a foreign one."""

    def __init__(self, realm: str | None = None) -> None:
        self.server = Server(_TokenHandler, self)
        self.realm = realm or f"{self.server.url}/token"
        self.granted = 0
        self.limited: dict[str, str] = {}
        self.asked: list[dict[str, list[str]]] = []
        self.answer: Callable[[], tuple[int, bytes]] = self.grant

    def grant(self) -> tuple[int, bytes]:
        self.granted += 1
        return 200, json.dumps({"token": f"token-{self.granted}"}).encode()


class _TokenHandler(Handler):
    _fake: _Tokens

    def do_GET(self) -> None:
        parts, fake = urlsplit(self.path), self._fake
        signed = self.headers.get("Authorization")
        if fake.limited:
            self._say(429, b"", fake.limited)
        elif parts.path == "/token":
            fake.asked.append(parse_qs(parts.query))
            basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            self._say(*(fake.answer() if signed == basic else (401, b"")))
        elif fake.granted and signed == f"Bearer token-{fake.granted}":
            self._say(200, b"", {"Docker-Content-Digest": _DIGEST})
        else:
            challenge = (
                f'Bearer realm="{fake.realm}",service="tests",scope="repository:fc/o-r:pull"'
            )
            self._say(401, b"", {"WWW-Authenticate": challenge})

    do_HEAD = do_GET

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def tokens() -> Iterator[_Tokens]:
    fake = _Tokens()
    fake.server.start("fake-registry")
    yield fake
    fake.server.stop()


def _registry(fake: _Tokens, password: str = PASSWORD) -> Registry:
    return Registry(f"{fake.server.url.removeprefix('http://')}/fc", USER, password)


def test_a_token_is_asked_for_once_and_again_when_it_is_used_up(tokens: _Tokens) -> None:
    registry = _registry(tokens)
    assert [registry.digest("o-r", "1") for _ in range(2)] == [_DIGEST] * 2
    assert tokens.asked == [{"service": ["tests"], "scope": ["repository:fc/o-r:pull"]}]
    tokens.granted += 1  # the one it has does not count any more
    assert registry.digest("o-r", "1") == _DIGEST
    assert len(tokens.asked) == 2


def test_a_refused_password_stops(tokens: _Tokens) -> None:
    with pytest.raises(StopError):
        _registry(tokens, "another").digest("o-r", "1")


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}"])
def test_no_token_is_transient(tokens: _Tokens, body: bytes) -> None:
    tokens.answer = lambda: (200, body)
    with pytest.raises(TransientError, match="no token"):
        _registry(tokens).digest("o-r", "1")


def test_a_limit_tells_when_it_is_over(tokens: _Tokens) -> None:
    tokens.limited = {"Retry-After": "300"}
    now = time.time()
    with pytest.raises(TransientError, match="429") as told:
        _registry(tokens).digest("o-r", "1")
    assert now + 300 <= (told.value.until or 0) <= time.time() + 300


def test_a_password_is_not_sent_in_the_clear_to_another_host(tokens: _Tokens) -> None:
    tokens.realm = "http://tokens.example.org/token"
    with pytest.raises(PermanentError, match="without TLS"):
        _registry(tokens).digest("o-r", "1")
    assert tokens.asked == []
