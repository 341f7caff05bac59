"""The dataset in a folder: what lies open in it, and what it survives. See `test_dataset` too."""

import os
from pathlib import Path

import pytest

from fc_resources.dataset import NoVersionError
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.errors import PermanentError, TransientError


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    return DatasetFolder(tmp_path / "published")


def _publish(folder: DatasetFolder, name: str, **files: bytes | None) -> str:
    """The version of that tag; dots are written as `_`."""
    named = {path.replace("_", "."): content for path, content in files.items()}
    folder.commit(named, folder.refs().head, name)
    head = folder.refs().head
    assert head is not None
    folder.tag(name, head)
    return head


def _shown(folder: DatasetFolder) -> dict[str, bytes]:
    found = (p for p in folder.path.rglob("*") if p.is_file() and ".versions" not in p.parts)
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in found}


def test_the_files_of_the_newest_version_lie_open_and_no_other(folder: DatasetFolder) -> None:
    _publish(folder, "v1", a_md=b"1", b_parquet=b"2")
    _publish(folder, "v2", a_md=b"3", b_parquet=None, c_md=b"4")
    assert _shown(folder) == {"a.md": b"3", "c.md": b"4"}


def test_nothing_is_written_by_looking(folder: DatasetFolder) -> None:
    assert folder.refs().head is None
    with pytest.raises(NoVersionError):
        folder.read("a.md", "0" * 64)
    assert not folder.path.exists()


def test_on_a_parent_that_is_lost_nothing_is_made(folder: DatasetFolder) -> None:
    first = _publish(folder, "v1", a_md=b"1")
    (folder.path / ".versions" / "objects" / first).unlink()
    with pytest.raises(NoVersionError):
        folder.commit({"b.md": b"2"}, first, "v2")
    assert folder.refs().head == first


def test_files_can_be_read_by_others(folder: DatasetFolder) -> None:
    _publish(folder, "v1", a_md=b"1")
    assert (folder.path / "a.md").stat().st_mode & 0o777 == 0o644


def test_a_reader_of_the_old_file_is_not_disturbed(folder: DatasetFolder) -> None:
    _publish(folder, "v1", a_md=b"1")
    with (folder.path / "a.md").open("rb") as old:
        _publish(folder, "v2", a_md=b"2")
        assert old.read() == b"1"


def test_a_file_changed_by_hand_is_put_right_by_the_next_version(folder: DatasetFolder) -> None:
    first = _publish(folder, "v1", a_md=b"1")
    (folder.path / "a.md").write_bytes(b"by hand")
    assert folder.read("a.md", first) == b"1"
    _publish(folder, "v2", b_md=b"2")
    assert _shown(folder) == {"a.md": b"1", "b.md": b"2"}


def test_a_changed_content_is_noticed(folder: DatasetFolder) -> None:
    first = _publish(folder, "v1", a_md=b"1")
    for content in (folder.path / ".versions" / "objects").iterdir():
        if content.read_bytes() == b"1":
            content.write_bytes(b"2")
    with pytest.raises(PermanentError, match="was changed"):
        folder.read("a.md", first)


def test_what_a_killed_publisher_left_is_removed(folder: DatasetFolder) -> None:
    _publish(folder, "v1", a_md=b"1")
    left = folder.path / ".versions" / "parts" / "left"
    left.write_bytes(b"half")
    _publish(folder, "v2", a_md=b"2")
    assert not left.exists()


def test_a_full_disk_leaves_the_version_before_whole(small: Path) -> None:
    folder = DatasetFolder(small / "published")
    first = _publish(folder, "v1", a_parquet=b"1")
    with pytest.raises(TransientError, match="has no space left; make some"):
        folder.commit({"a.parquet": os.urandom(400_000)}, first, "v2")
    assert folder.refs().head == first
    assert _shown(folder) == {"a.parquet": b"1"}
    assert not any((folder.path / ".versions" / "parts").iterdir())
    second = _publish(folder, "v2", a_parquet=b"2")
    assert dict(folder.refs().tags) == {"v1": first, "v2": second}


def test_a_disk_that_is_full_when_it_is_shown_is_caught_up_with(small: Path) -> None:
    folder = DatasetFolder(small / "published")
    _publish(folder, "v1", a_parquet=b"1")
    folder.commit({"a.parquet": os.urandom(20_000)}, folder.refs().head, "v2")
    head, filler = folder.refs().head or "", small / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(400_000))
    with pytest.raises(TransientError, match="has no space left"):
        folder.tag("v2", head)
    assert "v2" not in folder.refs().tags
    filler.unlink()
    folder.tag("v2", head)
    assert len(_shown(folder)["a.parquet"]) == 20_000
