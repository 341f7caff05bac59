"""A container registry as its HTTP API shows it: which images it has, and names for them.

Images are pushed and pulled by the Docker daemon; see `docker`. What they hold is not known here.
"""

import base64
import functools
import re
from collections.abc import Mapping

import httpx

from fc_resources.errors import (
    PermanentError,
    StopError,
    TransientError,
    UnavailableError,
    retry_at,
)
from fc_resources.settings import Settings

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
#: Docker Hub's name is not where its API is.
_HUB, _HUB_API = "docker.io", "registry-1.docker.io"
_LOCAL = re.compile(r"localhost|127(\.\d{1,3}){3}|\[::1\]")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_S = 60


class Registry:
    """A place for images such as `ghcr.io/formulacode`; without a host it is Docker Hub's.

    `user` and `password` go to the registry and to the token service it names, nowhere else.
    """

    def __init__(self, place: str, user: str | None = None, password: str | None = None) -> None:
        first, _, rest = place.partition("/")
        is_host = bool({".", ":"} & set(first)) or first == "localhost"
        self.host, self._folder = (first, rest) if is_host else (_HUB, place)
        self._login = (user, password) if user and password else None
        #: `Authorization` by repository.
        self._granted: dict[str, str] = {}

    @classmethod
    def of(cls, settings: Settings) -> "Registry | None":
        """The one of these settings, if there is one."""
        if settings.fc_registry is None:
            return None
        token = settings.dockerhub_token
        password = token.get_secret_value() if token else None
        return cls(settings.fc_registry, settings.dockerhub_username, password)

    @property
    def place(self) -> str:
        """What image names begin with."""
        return f"{self.host}/{self._folder}".rstrip("/")

    @property
    def login(self) -> Mapping[str, str] | None:
        """Name and password as the Docker daemon takes them."""
        return {"username": self._login[0], "password": self._login[1]} if self._login else None

    def digest(self, name: str, reference: str) -> str | None:
        """The digest of `name` under a tag or digest; None if the registry has no such image."""
        answer = self._ask("HEAD", name, reference)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        digest = answer.headers.get("Docker-Content-Digest")
        if answer.status_code != httpx.codes.OK or not digest:
            raise self._refusal(answer, name)
        return digest

    def tag(self, name: str, digest: str, tag: str) -> None:
        """Give an image that is there another name; what had that name keeps its digest."""
        found = self._ask("GET", name, digest)
        if found.status_code != httpx.codes.OK:
            raise self._refusal(found, name)
        kind = found.headers["Content-Type"]
        answer = self._ask("PUT", name, tag, content=found.content, headers={"Content-Type": kind})
        if answer.status_code != httpx.codes.CREATED:
            raise self._refusal(answer, name)

    @functools.cached_property
    def _client(self) -> httpx.Client:
        host = _HUB_API if self.host == _HUB else self.host
        # As Docker does: a registry on this machine may do without TLS, no other.
        scheme = "http" if _LOCAL.fullmatch(re.sub(r":\d+$", "", host)) else "https"
        return httpx.Client(
            base_url=f"{scheme}://{host}/v2/",
            timeout=_TIMEOUT_S,
            headers={"Accept": _MANIFESTS},
            follow_redirects=True,
        )

    def _ask(
        self,
        method: str,
        name: str,
        reference: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        repository = f"{self._folder}/{name}".strip("/")
        path = f"{repository}/manifests/{reference}"
        try:
            for again in (False, True):
                granted = self._granted.get(repository)
                authorization = {"Authorization": granted} if granted else {}
                answer = self._client.request(
                    method, path, content=content, headers={**(headers or {}), **authorization}
                )
                if answer.status_code != httpx.codes.UNAUTHORIZED or again:
                    break
                self._granted[repository] = self._authorize(repository, answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"registry {self.host} does not answer ({error})") from error
        return answer

    def _authorize(self, repository: str, answer: httpx.Response) -> str:
        """What to send so that it is let in, by the way the registry asks for it."""
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        given = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "basic" and self._login:
            return f"Basic {self._basic()}"
        if scheme.lower() != "bearer" or "realm" not in given:
            raise self._refusal(answer, repository)
        realm = httpx.URL(given["realm"])
        ours = self._client.base_url
        if realm.scheme != "https" and (realm.scheme, realm.host) != (ours.scheme, ours.host):
            raise PermanentError(f"registry {self.host} wants a password sent without TLS")
        scope = given.get("scope") or f"repository:{repository}:pull,push"
        asked = {"scope": scope, **({"service": given["service"]} if "service" in given else {})}
        login = {"Authorization": f"Basic {self._basic()}"} if self._login else {}
        headers = {"Accept": "application/json", **login}
        token = self._client.get(realm.copy_merge_params(asked), headers=headers)
        if token.status_code != httpx.codes.OK:
            raise self._refusal(token, repository)
        try:
            body = token.json()
            return f"Bearer {body.get('token') or body['access_token']}"
        except (ValueError, AttributeError, KeyError):
            raise TransientError(f"registry {self.host} gives no token for {repository}") from None

    def _basic(self) -> str:
        return base64.b64encode(":".join(map(str, self._login or ())).encode()).decode()

    def _refusal(self, answer: httpx.Response, name: str) -> Exception:
        status = answer.status_code
        what = f"registry {self.host} answers {status} for {name}"
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return StopError(
                f"{what}; set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN to who may push there"
            )
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
            return TransientError(what, until=retry_at(answer.headers.get("Retry-After")))
        return PermanentError(what)
