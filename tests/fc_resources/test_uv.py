"""The real uv against a package index on loopback: pins, cutoffs, and whose fault a failure is.

Which requirements are asked for is tested with `fc_assets.packages`.
"""

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fc_resources.errors import UnavailableError
from fc_resources.uv import Uv


def _wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """A wheel of nothing, in a folder that a plain file server shows like an index."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if requires:
        metadata += f"Requires-Dist: {requires}\n"
    (folder / name).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name / f"{stem}-py3-none-any.whl", "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "simple"
    folder.mkdir()
    handler = functools.partial(_Silent, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/simple/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield folder
        server.shutdown()


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    return Uv(tmp_path / "cache")


def test_requirements_become_exact_pins_of_all_that_is_needed(index: Path, uv: Uv) -> None:
    _wheel(index, "top", "1.0", "below>=2; python_version >= '3.8'")
    for version in ("1.0", "2.0", "2.1"):
        _wheel(index, "below", version)
    found = uv.pin(["top", "below<2.1"], "3.11", None)
    assert found.pins == ["below==2.0", "top==1.0"]
    assert uv.can_install(found.pins or [], "3.11")[0]


def test_what_cannot_be_satisfied_is_an_answer_with_its_reason(index: Path, uv: Uv) -> None:
    _wheel(index, "top", "1.500")
    for requirement in ("top>2", "missing"):
        found = uv.pin([requirement], "3.11", None)
        assert found.pins is None
        assert requirement.rstrip(">2") in found.log


@pytest.mark.parametrize("name", ["async-timeout", "dns-error", "connection-refused"])
def test_a_package_called_like_a_network_fault_is_none(index: Path, uv: Uv, name: str) -> None:
    _wheel(index, name, "1.502")
    assert uv.pin([f"{name}>=2"], "3.11", None).pins is None
    assert not uv.can_install([f"{name}==2"], "3.11")[0]


def test_an_index_that_cannot_be_reached_is_unavailable_and_shows_no_password(
    uv: Uv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://me:very-secret@127.0.0.1:1/simple/")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(UnavailableError) as caught:
        uv.pin(["top"], "3.11", None)
    assert "very-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_built(index: Path, uv: Uv, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\n")
    assert uv.pin([f"source @ {source.as_uri()}"], "3.11", None).pins is None
    assert not (tmp_path / "pwned").exists()


def test_its_version_is_known(uv: Uv) -> None:
    assert uv.version.count(".") == 2
