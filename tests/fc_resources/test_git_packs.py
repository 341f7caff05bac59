"""Objects of packs and loose files of real repositories, and of files that only look like some."""

import io
import subprocess
import zlib
from pathlib import Path

import pytest

from fc_resources import git_packs
from fc_resources.git_packs import UnreadableObjectsError


def _git(folder: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, input=stdin, check=True, capture_output=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two files that differ by a delta, and an object that nothing reaches."""
    folder = tmp_path / "r"
    folder.mkdir()
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    for text in ("".join(f"{n}\n" for n in range(900)), "".join(f"{n}\n" for n in range(901))):
        (folder / "ä file").write_text(text)
        _git(folder, "add", "--all")
        _git(folder, "commit", "--quiet", "-m", "change")
    return folder


def _objects(folder: Path) -> set[str]:
    listed = _git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return set(listed.decode().split())


def test_all_objects_of_a_pack_are_listed_unreachable_ones_too(repository: Path) -> None:
    _git(repository, "hash-object", "-w", "--stdin", stdin=b"nobody reaches this")
    everything = "".join(f"{name}\n" for name in _objects(repository))
    pack = _git(repository, "pack-objects", "--stdout", "--quiet", stdin=everything.encode())
    assert git_packs.kind(pack[: git_packs.HEAD]) == "pack"
    found = git_packs.packed(io.BytesIO(pack), 60)
    assert set(found) == _objects(repository)
    assert {kind for kind, _ in found.values()} == {"blob", "tree", "commit"}


def test_a_bundle_is_a_pack_with_a_header(repository: Path) -> None:
    bundle = _git(repository, "bundle", "create", "-", "--quiet", "main")
    assert git_packs.kind(bundle[: git_packs.HEAD]) == "bundle"
    assert set(git_packs.packed(io.BytesIO(bundle), 60)) == _objects(repository)


def test_a_loose_object_is_known_by_its_content(repository: Path) -> None:
    names = set()
    for path in (repository / ".git" / "objects").glob("??/*"):
        content = path.read_bytes()
        assert git_packs.kind(content[: git_packs.HEAD]) == "loose"
        names.add(git_packs.loose(io.BytesIO(content)))
    assert names == _objects(repository)


@pytest.mark.parametrize(
    "content",
    [
        zlib.compress(b"blob 3\0" + b"x" * 5_000_000),
        zlib.compress(b"blob 999999999999\0" + b"\0" * 600_000_000, 1),
        zlib.compress(b"blob 100\0" + bytes(range(100)))[:-20],
        zlib.compress(b"blob 100\0" + bytes(range(100)))[:-20] + b"\xff" * 20,
    ],
    ids=["more than it says", "bomb", "cut", "broken"],
)
def test_a_loose_object_that_lies_is_unreadable(content: bytes) -> None:
    assert git_packs.kind(content[: git_packs.HEAD]) == "loose"
    with pytest.raises(UnreadableObjectsError):
        git_packs.loose(io.BytesIO(content))


@pytest.mark.parametrize("content", [b"", b"x", b"xyz", b"PACK", zlib.compress(b"data"), b"# v2"])
def test_other_files_are_no_objects(content: bytes) -> None:
    assert git_packs.kind(content) is None


def test_a_broken_pack_is_unreadable() -> None:
    with pytest.raises(UnreadableObjectsError):
        git_packs.packed(io.BytesIO(b"PACK\0\0\0\2\0\0\0\1" + b"\0" * 50), 60)


def test_the_files_of_a_commit_are_read_from_a_pack(repository: Path) -> None:
    head = _git(repository, "rev-parse", "HEAD").decode().strip()
    pack = _git(repository, "pack-objects", "--revs", "--stdout", stdin=f"{head}\n".encode())
    blob = _git(repository, "rev-parse", "HEAD:ä file").decode().strip()
    assert git_packs.tree(pack, head, 60) == {"ä file": ("100644", blob)}
