"""A package index on loopback: the JSON form of the simple API, with upload times (PEP 700).

Wheels and source archives are made in the test; a source archive's `setup.py` leaves a mark when
it is executed, for nothing may.
"""

import dataclasses
import hashlib
import http.server
import io
import json
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

LONG_AGO = "2020-01-01T00:00:00Z"


@dataclasses.dataclass
class _File:
    content: bytes
    about: dict[str, Any]


@dataclasses.dataclass
class Index:
    """What the index has, and how it misbehaves: every answer `delay_s` late, or with `status`."""

    marks: Path
    files: dict[str, dict[str, _File]] = dataclasses.field(default_factory=dict)
    requests: list[str] = dataclasses.field(default_factory=list)
    delay_s: float = 0
    status: int = 200

    def wheel(
        self,
        name: str,
        version: str,
        *requires: str,
        tag: str = "py3-none-any",
        extras: Sequence[str] = (),
        uploaded: str = LONG_AGO,
        yanked: str | bool = False,
        python: str | None = None,
    ) -> None:
        """Add a wheel of nothing that declares `requires`."""
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Provides-Extra: {extra}" for extra in extras]
        lines += [f"Requires-Dist: {line}" for line in requires]
        stem, buffer = f"{name.replace('-', '_')}-{version}", io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
            wheel.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
        about = {"upload-time": uploaded, "yanked": yanked, "requires-python": python}
        self._add(name, f"{stem}-{tag}.whl", buffer.getvalue(), about)

    def sdist(self, name: str, version: str, uploaded: str = LONG_AGO) -> None:
        """Add a source archive whose metadata only its `setup.py` can tell."""
        setup = f"open({str(self.marks / name)!r}, 'w')\nfrom setuptools import setup\nsetup()\n"
        stem, buffer = f"{name.replace('-', '_')}-{version}", io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            entry = tarfile.TarInfo(f"{stem}/setup.py")
            entry.size = len(setup)
            archive.addfile(entry, io.BytesIO(setup.encode()))
        self._add(name, f"{stem}.tar.gz", buffer.getvalue(), {"upload-time": uploaded})

    def _add(self, name: str, file: str, content: bytes, about: dict[str, Any]) -> None:
        self.files.setdefault(name, {})[file] = _File(content, about)

    def page(self, name: str) -> bytes:
        files = [
            {
                "filename": file,
                "url": f"/files/{name}/{file}",
                "hashes": {"sha256": hashlib.sha256(found.content).hexdigest()},
                "size": len(found.content),
                **found.about,
            }
            for file, found in self.files[name].items()
        ]
        page = {"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": files}
        return json.dumps(page).encode()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An empty index that uv asks instead of the real one."""
    marks = tmp_path / "executed"
    marks.mkdir()
    index = Index(marks)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(index)) as server:
        # Handlers that sleep would hold up the end of the test.
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/simple/")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield index
        server.shutdown()
    assert not list(marks.iterdir()), "a source archive was built"


def _handler(index: Index) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            index.requests.append(self.path)
            time.sleep(index.delay_s)
            kind, name, *file = self.path.strip("/").split("/")
            status, content, form = index.status, b"", "application/octet-stream"
            if status == 200 and name not in index.files:
                status = 404
            elif status == 200 and kind == "simple":
                content, form = index.page(name), "application/vnd.pypi.simple.v1+json"
            elif status == 200:
                content = index.files[name][file[0]].content
            self.send_response(status)
            self.send_header("Content-Type", form)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
