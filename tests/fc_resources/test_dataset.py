"""What holds for all targets of publishing; what only the Hub does is in `test_huggingface`."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from fc_resources.dataset import Dataset, NoVersionError, Refs, StaleError
from fc_resources.dataset_bucket import DatasetBucket
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.errors import PermanentError
from fc_resources.huggingface import Hub
from tests import buckets
from tests.fakes.hub import TOKEN, FakeHub


@pytest.fixture(params=["folder", "bucket", "hub"])
def dataset(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dataset]:
    if request.param == "folder":
        yield DatasetFolder(tmp_path / "published")
        return
    if request.param == "bucket":
        with buckets.served(monkeypatch, "data"):
            yield DatasetBucket("s3://data/formula/code")
        return
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with FakeHub() as hub:
        yield Hub("o/data", tmp_path / "cache", TOKEN, hub.url)


def _commit(dataset: Dataset, **files: bytes | None) -> str:
    """The version with these files, dots written as `_`."""
    named = {name.replace("_", "."): content for name, content in files.items()}
    dataset.commit(named, dataset.refs().head, "more")
    head = dataset.refs().head
    assert head is not None
    return head


def test_before_the_first_version_there_is_nothing(dataset: Dataset) -> None:
    assert dataset.refs() == Refs(None, {})


def test_a_version_keeps_what_it_does_not_name_and_removes_what_is_none(dataset: Dataset) -> None:
    first = _commit(dataset, a_txt=b"1", b_parquet=b"PAR" * 100)
    second = _commit(dataset, a_txt=b"2", c_txt=b"3")
    third = _commit(dataset, b_parquet=None)
    assert len({first, second, third}) == 3
    told = [
        {name: dataset.read(name, rev) for name in ("a.txt", "b.parquet", "c.txt")}
        for rev in (first, second, third)
    ]
    assert told == [
        {"a.txt": b"1", "b.parquet": b"PAR" * 100, "c.txt": None},
        {"a.txt": b"2", "b.parquet": b"PAR" * 100, "c.txt": b"3"},
        {"a.txt": b"2", "b.parquet": None, "c.txt": b"3"},
    ]


def test_a_version_on_a_parent_that_is_not_the_newest_is_refused(dataset: Dataset) -> None:
    first = _commit(dataset, a_txt=b"1")
    second = _commit(dataset, a_txt=b"2")
    with pytest.raises(StaleError):
        dataset.commit({"a.txt": b"other"}, first, "late")
    with pytest.raises(StaleError):
        dataset.commit({"a.txt": b"other"}, None, "as if it were the first")
    assert dataset.refs().head == second


def test_what_came_before_a_version_is_told_newest_first(dataset: Dataset) -> None:
    made = [_commit(dataset, a_txt=str(number).encode()) for number in range(3)]
    for index in range(3):
        before = list(dataset.ancestors(made[index]))
        assert before[:index] == made[:index][::-1]
        assert not {*before[index:]} & {*made}
    with pytest.raises(NoVersionError):
        list(dataset.ancestors("f" * 40))


def test_a_tag_names_a_version_and_never_moves(dataset: Dataset) -> None:
    first = _commit(dataset, a_txt=b"1")
    dataset.tag("formulacode@2026-01", first)
    second = _commit(dataset, a_txt=b"2")
    dataset.tag("formulacode@2026-01", first)  # again, as after a kill
    with pytest.raises(PermanentError, match="for another version"):
        dataset.tag("formulacode@2026-01", second)
    assert dict(dataset.refs().tags) == {"formulacode@2026-01": first}
    assert dataset.read("a.txt", first) == b"1"


@pytest.mark.parametrize("revision", ["f" * 40, "0" * 64, "../../secret", "none@2026-01"])
def test_a_version_that_is_not_known_is_no_version_without_files(
    dataset: Dataset, revision: str
) -> None:
    _commit(dataset, a_txt=b"1")
    with pytest.raises(NoVersionError):
        dataset.read("a.txt", revision)
