"""Debian's docker-registry on loopback, with or without a password, and what tests do to it."""

import contextlib
import hashlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx

from tests.fakes.server import Handler, Server

USER, PASSWORD = "tester", "the-password-of-the-tests"
#: What htpasswd makes of them, with the least work that bcrypt allows.
_HTPASSWD = f"{USER}:$2b$04$mxDwsRm5N8wnCtIGfJlnbOc4sDneRc9lSK/qtRNeuHWhH.VMx00te\n"
_KIND = "application/vnd.docker.distribution.manifest.v2+json"


def installed() -> bool:
    return shutil.which("docker-registry") is not None


class RealRegistry:
    """A registry that keeps its address and its images while it is down; a context manager."""

    def __init__(self, folder: Path, *, locked: bool = False) -> None:
        self.locked = locked
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        folder.mkdir()
        auth = ""
        if locked:
            (folder / "htpasswd").write_text(_HTPASSWD)
            auth = f"auth: {{htpasswd: {{realm: tests, path: '{folder}/htpasswd'}}}}\n"
        self._config = folder / "registry.yml"
        self._config.write_text(
            f"version: 0.1\nstorage:\n"
            f"  filesystem: {{rootdirectory: '{folder}/images'}}\n"
            "  delete: {enabled: true}\n"
            f"http: {{addr: '{self.address}'}}\n{auth}"
        )
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it answers."""
        self._server = subprocess.Popen(
            ["docker-registry", "serve", self._config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://{self.address}/v2/")
                return
            except httpx.HTTPError:
                assert self._server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    @property
    def client(self) -> httpx.Client:
        """Requests to its API, signed if it wants that."""
        auth = (USER, PASSWORD) if self.locked else None
        return httpx.Client(base_url=f"http://{self.address}/v2/", auth=auth)

    def tags(self, name: str) -> list[str]:
        """Tags of a repository, sorted."""
        found = self.client.get(f"{name}/tags/list")
        return sorted(found.json()["tags"] or []) if found.status_code == 200 else []

    def remove(self, name: str, digest: str) -> None:
        """Lose a manifest, with all its tags."""
        assert self.client.delete(f"{name}/manifests/{digest}").status_code == 202

    def upload(self, name: str, tag: str, content: bytes = b"{}") -> str:
        """Put an image without layers there whose configuration is `content`; its digest."""
        with self.client as client:
            place = client.post(f"{name}/blobs/uploads/").headers["Location"]
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            client.put(place, params={**httpx.URL(place).params, "digest": digest}, content=content)
            config = {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(content),
                "digest": digest,
            }
            made = {"schemaVersion": 2, "mediaType": _KIND, "config": config, "layers": []}
            answer = client.put(
                f"{name}/manifests/{tag}",
                content=json.dumps(made).encode(),
                headers={"Content-Type": _KIND},
            )
            assert answer.status_code == 201, answer.text
            return answer.headers["Docker-Content-Digest"]


class Gate:
    """What stands before a registry: notes what is asked of it, and lets things go wrong.

    Each of what is to go wrong happens once, in the order given, to a request whose method and path
    match; the address of the registry is this one's for its clients.
    """

    def __init__(self, registry: RealRegistry) -> None:
        self.registry = registry
        #: Method and path of what was asked, with the status of the answer.
        self.asked: list[tuple[str, int]] = []
        self._faults: list[tuple[re.Pattern[str], Fault]] = []
        self._lock = threading.Lock()
        self._server = Server(_GateHandler, self)
        self.address = self._server.url.removeprefix("http://")

    def __enter__(self) -> Self:
        self._server.start("gate")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def fail(self, where: str, status: int, times: int = 1) -> None:
        """Answer with an error."""
        self._faults += [(re.compile(where), lambda serve: status)] * times

    def before(self, where: str, act: Callable[[], object]) -> None:
        """Let something happen, and hang up on who asked."""

        def fault(_: Callable[[], int]) -> int:
            act()
            return 0

        self._faults.append((re.compile(where), fault))

    def after(self, where: str, act: Callable[[], object]) -> None:
        """Do what was asked, and then let something happen before it is answered."""

        def fault(serve: Callable[[], int]) -> int:
            status = serve()
            act()
            return status

        self._faults.append((re.compile(where), fault))

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults.clear()

    def fault(self, told: str) -> "Fault":
        """What goes wrong with a request; nothing does if none was told of."""
        with self._lock:
            for index, (where, fault) in enumerate(self._faults):
                if where.fullmatch(told):
                    del self._faults[index]
                    return fault
        return lambda serve: serve()


#: Called with what asks the registry and gives its status; the status to answer, 0 for none.
Fault = Callable[[Callable[[], int]], int]


class _GateHandler(Handler):
    _fake: Gate

    def do_GET(self) -> None:
        told, body = f"{self.command} {self.path.partition('?')[0]}", self._body()
        answer: list[http.client.HTTPResponse] = []
        content: list[bytes] = []

        def serve() -> int:
            registry = http.client.HTTPConnection(self._fake.registry.address)
            with contextlib.closing(registry):
                headers = {**self.headers, "Content-Length": str(len(body))}
                headers.pop("Transfer-Encoding", None)
                registry.request(self.command, self.path, body, headers)
                answer.append(registry.getresponse())
                content.append(answer[0].read())
            return answer[0].status

        status = self._fake.fault(told)(serve)
        self._fake.asked.append((told, status))
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in answer[0].getheaders() if answer else ():
            if name.lower() not in ("date", "server", "content-length"):
                self.send_header(name, value)
        length = answer[0].headers["Content-Length"] if answer else None
        told_length = length if self.command == "HEAD" and length else str(len(b"".join(content)))
        self.send_header("Content-Length", told_length)
        self.end_headers()
        self.wfile.write(b"".join(content))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)
