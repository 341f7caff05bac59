"""Saved images as archives made here: layers over each other, links, removals, and nonsense."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from fc_resources import docker_layers
from fc_resources.docker_layers import MalformedImageError

_File = tuple[str, bytes | str | None]


def _layer(*files: _File) -> bytes:
    """A layer: bytes are a file's content, a text is a link's target, None is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                hard = content.startswith("=")
                member.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
                member.linkname = content.removeprefix("=")
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def _save(path: Path, *layers: bytes) -> Path:
    manifest = [{"Config": "c.json", "Layers": [f"{n}/layer.tar" for n in range(len(layers))]}]
    files = {f"{n}/layer.tar": layer for n, layer in enumerate(layers)}
    files |= {"c.json": b"{}", "manifest.json": json.dumps(manifest).encode()}
    path.write_bytes(_layer(*files.items()))
    return path


def _read(path: Path, *layers: bytes) -> docker_layers.Tree:
    saved = _save(path / "image.tar", *layers)
    return docker_layers.read(saved, lambda _, content: content.read())[0]


def test_the_uppermost_layer_counts_and_removals_remove(tmp_path: Path) -> None:
    first = _layer(("a", None), ("a/x", b"1"), ("a/y", b"1"), ("b/c/d", b"1"), ("e", b"1"))
    second = _layer(("a/x", b"2"), ("a/.wh.y", b""), (".wh.b", b""), ("e", None), ("e/f", b"2"))
    tree = _read(tmp_path, first, second)
    assert {path: entry.note for path, entry in tree.below("")} == {"a/x": b"2", "e/f": b"2"}
    assert tree.names("/a") == ["x"]
    entry = tree.get("/a/x")
    assert entry is not None
    assert (entry.layer, entry.size) == (1, 1)


def test_an_opaque_folder_hides_what_was_in_it(tmp_path: Path) -> None:
    tree = _read(tmp_path, _layer(("a/x", b"1")), _layer(("a/.wh..wh..opq", b""), ("a/y", b"2")))
    assert tree.names("a") == ["y"]


def test_every_entry_of_every_layer_is_told_in_order(tmp_path: Path) -> None:
    layers = _layer(("a", b"1")), _layer((".wh.a", b""))
    _, entries, config = docker_layers.read(_save(tmp_path / "i", *layers), lambda *_: None)
    assert [(entry.path, entry.kind, entry.layer) for entry in entries] == [
        ("a", "file", 0),
        ("a", "removed", 1),
    ]
    assert config == b"{}"


def test_links_are_followed_inside_of_the_image_only(tmp_path: Path) -> None:
    tree = _read(
        tmp_path,
        _layer(
            ("usr/bin/python3", b"p"),
            ("bin", "usr/bin"),
            ("venv/python", "/bin/../bin/python3"),
            ("loop", "loop"),
            ("out", "../../../../etc/passwd"),
            ("hard", "=usr/bin/python3"),
            ("nowhere", "=none"),
        ),
    )
    found = tree.resolve("/venv/python")
    assert found is not None
    assert (found[0], found[1].note) == ("/usr/bin/python3", b"p")
    assert tree.resolve("loop") is None
    assert tree.resolve("out") is None
    hard, nowhere = tree.get("hard"), tree.get("nowhere")
    assert hard is not None
    assert nowhere is not None
    assert (hard.path, hard.note, nowhere.kind) == ("hard", b"p", "other")
    assert tree.get("bin/python3") is None


def test_compressed_layers_are_read(tmp_path: Path) -> None:
    tree = _read(tmp_path, gzip.compress(_layer(("a", b"1"))))
    assert tree.names("/") == ["a"]
    entry = tree.get("a")
    assert entry is not None
    assert entry.note == b"1"


@pytest.mark.parametrize(
    "content", [b"", b"x" * 2000, _layer(("manifest.json", b"{")), _layer(("manifest.json", b"[]"))]
)
def test_what_is_no_image_is_malformed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(MalformedImageError):
        docker_layers.read(path, lambda *_: None)


def test_a_broken_layer_and_endless_folders_are_malformed(tmp_path: Path) -> None:
    for layer in (b"nonsense" * 500, _layer(("a/" * 500 + "b", b""))):
        with pytest.raises(MalformedImageError):
            _read(tmp_path, layer)


def test_layers_in_common_are_counted() -> None:
    assert docker_layers.shared(["a", "b", "c"], ["a", "b"]) == 2
    assert docker_layers.shared(["a", "b", "c"], ["a", "x", "c"]) == 1
