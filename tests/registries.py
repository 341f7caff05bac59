"""Debian's docker-registry on loopback, with or without a password, and what tests put into it."""

import hashlib
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import httpx

USER, PASSWORD = "tester", "the password of the tests"
#: What htpasswd makes of them, with the least work that bcrypt allows.
_HTPASSWD = f"{USER}:$2b$04$mxDwsRm5N8wnCtIGfJlnbO62A5AE1egsrL/WWol9/uOT4iPso3D1O\n"
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
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{folder}/images'}}}}\n"
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
