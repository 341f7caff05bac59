"""Versions of the dataset in both targets: repeated, killed, raced, withdrawn from, compared.

In every case: no month lost, no version made twice, no tag moved.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fc_assets.formulacode import files, publication, records
from fc_resources import settings
from fc_resources.dataset import Dataset, Refs
from fc_resources.dataset_bucket import DatasetBucket
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.errors import PermanentError, StopError, TransientError, UsageError
from fc_resources.huggingface import Hub
from tests import buckets
from tests.fakes.hub import TOKEN, FakeHub, File
from tests.fc_assets.formulacode import material

_NOW = datetime.datetime(2026, 4, 1, tzinfo=datetime.UTC)
_FEBRUARY = datetime.date(2026, 2, 1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with FakeHub() as fake:
        yield fake


@pytest.fixture(params=["folder", "bucket", "hub"])
def dataset(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dataset]:
    if request.param == "folder":
        yield DatasetFolder(tmp_path / "published")
    elif request.param == "bucket":
        with buckets.served(monkeypatch, "data"):
            yield DatasetBucket("s3://data/formulacode")
    else:
        fake = request.getfixturevalue("fake")
        yield Hub("o/data", tmp_path / "cache", TOKEN, fake.url)


def _numbers(dataset: Dataset, label: str = "2026-01", rev: str | None = None) -> list[int]:
    state = publication.find(dataset, rev)
    return publication.month_of(dataset, state, label)["issue_number"].to_pylist()


def _whole(dataset: Dataset) -> tuple[str | None, dict[str, str]]:
    """Head and tags, all files being what the manifest says, and the newest version tagged."""
    state = publication.look(dataset)
    assert state.revision == state.head
    for path, told in state.manifest.files.items():
        content = dataset.read(path, state.revision or "")
        assert content is not None, path
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (told.sha256, told.bytes)
    assert {*state.tags} == {*state.manifest.versions}
    assert not state.tags or state.tags[state.manifest.versions[-1]] == state.revision
    return state.revision, dict(state.tags)


def test_the_same_records_again_make_no_version(dataset: Dataset) -> None:
    first = publication.publish(dataset, "2026-01", material.table(2, 1))
    before = _whole(dataset)
    month = publication.publish(dataset, "2026-01", material.table(1, 2))
    assert _whole(dataset) == before
    assert [*before[1]] == ["formulacode@2026-01"]
    assert month is not None
    assert month == first  # with its time, which the warehouse then gets
    assert month.version == "formulacode@2026-01"
    assert _numbers(dataset) == [1, 2]


def test_a_month_is_replaced_whole_and_its_earlier_versions_stay(dataset: Dataset) -> None:
    for numbers in [(1, 2), (2, 3, 4), (3,)]:
        publication.publish(dataset, "2026-01", material.table(*numbers))
        _whole(dataset)
    tags = [*_whole(dataset)[1]]
    assert tags == ["formulacode@2026-01", "formulacode@2026-01.1", "formulacode@2026-01.2"]
    assert [_numbers(dataset, rev=tag) for tag in tags] == [[1, 2], [2, 3, 4], [3]]


def test_months_do_not_touch_each_other(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-02", material.table(7, month=_FEBRUARY))
    publication.publish(dataset, "2026-01", material.table(1))
    publication.publish(dataset, "2026-02", material.table(8, month=_FEBRUARY))
    assert _numbers(dataset, "2026-01") == [1]
    assert _numbers(dataset, "2026-02") == [8]
    assert "formulacode@2026-02.1" in _whole(dataset)[1]


def test_a_month_without_records_has_no_files_and_never_had_a_version(dataset: Dataset) -> None:
    assert publication.publish(dataset, "2026-01", material.table()) is None
    assert dataset.refs() == Refs(None, {})
    publication.publish(dataset, "2026-01", material.table(1))
    month = publication.publish(dataset, "2026-01", material.table())
    assert month is not None
    assert (month.version, month.records) == ("formulacode@2026-01.1", {})
    _, tags = _whole(dataset)
    assert dataset.read(files.data("2026-01"), tags["formulacode@2026-01.1"]) is None
    assert _numbers(dataset, rev="formulacode@2026-01") == [1]


def test_a_withdrawn_record_stays_out_and_tells_why(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-01", material.table(1, 2))
    assert publication.withdraw(dataset, "O-x__r-1", "it leaks", _NOW) == "2026-01"
    before = _whole(dataset)
    assert publication.withdraw(dataset, "O-x__r-1", "again", _NOW) == "2026-01"
    publication.publish(dataset, "2026-01", material.table(1, 2))
    assert _whole(dataset) == before
    assert _numbers(dataset) == [2]
    told = json.loads(dataset.read(files.WITHDRAWN, before[0] or "") or b"")
    assert [(one["task_id"], one["reason"]) for one in told] == [("O-x__r-1", "it leaks")]
    [change] = publication.compare(dataset, "formulacode@2026-01", "formulacode@2026-01.1")
    assert (change["change"], change["reason"]) == ("removed", "withdrawn: it leaks")


def test_a_withdrawal_that_is_taken_back_lets_the_record_in_again(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-01", material.table(1, 2))
    publication.withdraw(dataset, "O-x__r-1", "by mistake", _NOW)
    assert publication.restore(dataset, "O-x__r-1") == "2026-01"
    _whole(dataset)
    assert _numbers(dataset) == [2]
    assert publication.look(dataset).withdrawn == {}
    for again in ("O-x__r-1", "O-x__r-2"):
        with pytest.raises(UsageError, match=f"{again} is not withdrawn from"):
            publication.restore(dataset, again)
    publication.publish(dataset, "2026-01", material.table(1, 2))
    assert [*_whole(dataset)[1]][1:] == [f"formulacode@2026-01.{n}" for n in (1, 2, 3)]
    assert _numbers(dataset) == [1, 2]


def _same(number: int, month: datetime.date = material.JANUARY) -> list[dict[str, Any]]:
    """A record whose patch is that of number 1."""
    patch_id = material.task(1).patch_id
    return material.rows(number, month=month, patch_id=patch_id)


def test_of_a_patch_in_two_months_one_record_stays_however_often(dataset: Dataset) -> None:
    for _ in range(3):  # what two runs decided before either published
        publication.publish(dataset, "2026-01", files.table(_same(1)))
        publication.publish(dataset, "2026-02", files.table(_same(9, _FEBRUARY)))
        state = publication.look(dataset)
        tasks = {name: [*month.records] for name, month in state.manifest.months.items()}
        assert tasks == {"2026-01": ["O-x__r-1"]}
        assert state.elsewhere("2026-01") == {}
        assert [*state.elsewhere("2026-02").values()] == ["O-x__r-1"]


def test_of_a_patch_that_both_months_have_the_later_one_yields() -> None:
    table = files.table(_same(1))
    months = {
        label: files.month(f"formulacode@{label}", _NOW, table) for label in ("2026-01", "2026-02")
    }
    state = publication.State(manifest=files.Manifest(months=months))
    assert state.elsewhere("2026-01") == {}
    assert [*state.elsewhere("2026-02").values()] == ["O-x__r-1"]


def test_a_withdrawn_patch_does_not_come_back_under_another_number(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-01", files.table(_same(1)))
    publication.withdraw(dataset, "O-x__r-1", "not theirs to give", _NOW)
    before = _whole(dataset)
    publication.publish(dataset, "2026-01", files.table(_same(9)))
    assert _whole(dataset) == before
    rules = publication.look(dataset).rules(settings.load(), "2026-01")
    patch = {"patch": material.PATCH.format(number=1)}
    [task] = records.decide([material.task(9, pull_request=patch)], rules)
    assert task.reason == "the same patch as O-x__r-1"


def test_only_what_was_published_can_be_withdrawn(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="has no record O-x__r-1"):
        publication.withdraw(dataset, "O-x__r-1", "it leaks", _NOW)
    assert dataset.refs().head is None


def test_a_version_is_fetched_whole_and_checked(dataset: Dataset, tmp_path: Path) -> None:
    publication.publish(dataset, "2026-01", material.table(1))
    publication.publish(dataset, "2026-01", material.table(2))
    paths = publication.fetch(dataset, "formulacode@2026-01", tmp_path / "old")
    assert files.from_parquet((tmp_path / "old/data/2026-01.parquet").read_bytes()).num_rows == 1
    assert {p for p in (tmp_path / "old").rglob("*") if p.is_file()} == set(paths)
    with pytest.raises(UsageError, match="is there already"):
        publication.fetch(dataset, None, tmp_path / "old")
    with pytest.raises(UsageError, match="has no version formulacode@2026-09; there are: "):
        publication.fetch(dataset, "formulacode@2026-09", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_lies_beside_the_folder_to_be_made_stays(dataset: Dataset, tmp_path: Path) -> None:
    publication.publish(dataset, "2026-01", material.table(1))
    mine = tmp_path / "march.part" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    before = {*tmp_path.iterdir()}
    publication.fetch(dataset, None, tmp_path / "march")
    assert mine.read_text() == "mine"
    assert {*tmp_path.iterdir()} - before == {tmp_path / "march"}
    assert (tmp_path / "march").stat().st_mode == mine.parent.stat().st_mode


def _fill(disk: Path) -> Path:
    """A file that leaves no space."""
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(400_000))
    return filler


def test_a_full_disk_leaves_nothing_of_what_is_fetched(small: Path, tmp_path: Path) -> None:
    dataset = DatasetFolder(tmp_path / "published")
    publication.publish(dataset, "2026-01", material.table(1))
    filler = _fill(small)
    with pytest.raises(TransientError, match=r"no space left for .*/march; make some"):
        publication.fetch(dataset, None, small / "march")
    assert [*small.iterdir()] == [filler]
    filler.unlink()
    publication.fetch(dataset, None, small / "march")
    assert [*small.iterdir()] == [small / "march"]


def test_a_full_disk_under_the_client_of_the_hub_stops_before_a_tag(
    fake: FakeHub, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0)
    hub = Hub("o/data", small / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    filler = _fill(small)
    with pytest.raises(TransientError, match="/cache has no space left; make some") as told:
        publication.publish(hub, "2026-01", material.table(2))
    assert "\n" not in str(told.value)
    assert [*fake.repositories["o/data"].tags] == ["formulacode@2026-01"]
    filler.unlink()
    publication.publish(hub, "2026-01", material.table(2))
    assert [*_whole(hub)[1]] == ["formulacode@2026-01", "formulacode@2026-01.1"]
    assert len(fake.repositories["o/data"].commits) == 3
    assert _numbers(hub) == [2]


@dataclasses.dataclass
class _Tampered:
    """A dataset in which one file is another than it was."""

    inner: Dataset
    path: str

    def read(self, path: str, revision: str) -> bytes | None:
        content = self.inner.read(path, revision)
        return b"other" if path == self.path and content else content

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _published(dataset: Dataset) -> None:
    """Two months and a withdrawal."""
    publication.publish(dataset, "2026-01", material.table(1, 2))
    publication.publish(dataset, "2026-02", material.table(5, month=_FEBRUARY))
    publication.withdraw(dataset, "O-x__r-1", "it leaks", _NOW)


@pytest.mark.parametrize("code", ["RevisionNotFound", "EntryNotFound"])
def test_a_manifest_that_is_not_shown_is_an_outage(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0)
    _published(Hub("o/data", tmp_path / "a", TOKEN, fake.url))
    hub = Hub("o/data", tmp_path / "b", TOKEN, fake.url)  # of another machine, without a cache
    for _ in range(2):
        fake.fail("(HEAD|GET) .*/resolve/.*manifest.json", 404, X_Error_Code=code)
        publication.publish(hub, "2026-02", material.table(6, month=_FEBRUARY))
    assert _numbers(hub) == [2]
    assert [*publication.look(hub).withdrawn] == ["O-x__r-1"]
    assert len(_whole(hub)[1]) == 4


@pytest.mark.parametrize("lost", ["head", "its object", "its manifest"])
def test_a_folder_that_lost_its_newest_version_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0)
    dataset = DatasetFolder(tmp_path / "published")
    _published(dataset)
    refs, versions = dataset.refs(), dataset.path / ".versions"
    made = json.loads((versions / "objects" / (refs.head or "")).read_text())
    name = {"head": "head", "its object": f"objects/{refs.head}"}
    (versions / name.get(lost, f"objects/{made['files'][files.MANIFEST]}")).unlink()
    with pytest.raises(TransientError):
        publication.publish(dataset, "2026-02", material.table(6, month=_FEBRUARY))
    assert dict(dataset.refs().tags) == dict(refs.tags)


def test_what_a_user_types_and_is_no_version_is_wrong_usage(dataset: Dataset) -> None:
    _published(dataset)
    for rev in ("f" * 40, "formulacode@2026-09", "../../x"):
        with pytest.raises(UsageError, match="has no version"):
            publication.find(dataset, rev)


@pytest.mark.parametrize("path", ["data/2026-01.parquet", "README.md", "withdrawn.json"])
def test_a_changed_file_is_not_fetched(dataset: Dataset, tmp_path: Path, path: str) -> None:
    publication.publish(dataset, "2026-01", material.table(1))
    other: Any = _Tampered(dataset, path)
    with pytest.raises(PermanentError, match="is not what its manifest"):
        publication.fetch(other, None, tmp_path / "got")
    assert not [*tmp_path.glob("*got*")]


def test_a_manifest_of_another_format_is_left_alone(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-01", material.table(1))
    other: Any = _Tampered(dataset, files.MANIFEST)
    with pytest.raises(PermanentError, match="update formulacode-data"):
        publication.publish(other, "2026-01", material.table(2))


def test_what_changed_between_versions_is_told_by_record_and_column(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-01", material.table(1, 2, 3))
    rows = [*material.rows(2, best=9.0, verdict="unknown"), *material.rows(3, 4)]
    publication.publish(dataset, "2026-01", files.table(rows))
    publication.publish(dataset, "2026-02", material.table(5, month=_FEBRUARY))
    found = publication.compare(dataset, "formulacode@2026-01", "formulacode@2026-02")
    assert [(row["month"], row["task"], row["change"]) for row in found] == [
        ("2026-01", "O-x__r-1", "removed"),
        ("2026-01", "O-x__r-2", "changed: verdict, best"),
        ("2026-01", "O-x__r-4", "added"),
        ("2026-02", "O-x__r-5", "added"),
    ]
    assert publication.compare(dataset, "formulacode@2026-02", "formulacode@2026-02") == []


class _KilledError(BaseException):
    """The process ended here."""


@dataclasses.dataclass
class _Killed:
    """A dataset whose user is killed before or after the n-th step that changes something."""

    inner: Dataset
    left: int
    after: bool

    def _step(self, do: Callable[[], None]) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise _KilledError
        do()
        if self.left == 0:
            raise _KilledError

    def commit(self, files: Mapping[str, bytes | None], parent: str | None, message: str) -> None:
        self._step(lambda: self.inner.commit(files, parent, message))

    def tag(self, name: str, revision: str) -> None:
        self._step(lambda: self.inner.tag(name, revision))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _replace(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-01", material.table(2))


def _withdraw(dataset: Dataset) -> None:
    publication.withdraw(dataset, "O-x__r-1", "it leaks", _NOW)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("change", [_replace, _withdraw])
def test_killed_between_any_two_steps_and_repeated_it_ends_the_same(
    dataset: Dataset, step: int, after: bool, change: Callable[[Dataset], None]
) -> None:
    publication.publish(dataset, "2026-01", material.table(1, 2))
    killed: Any = _Killed(dataset, step, after)
    with pytest.raises(_KilledError):
        change(killed)
    change(dataset)
    assert [*_whole(dataset)[1]] == ["formulacode@2026-01", "formulacode@2026-01.1"]
    assert _numbers(dataset) == [2]


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_a_withdrawal_is_taken_back_once_however_often_it_is_tried(
    dataset: Dataset, step: int, after: bool
) -> None:
    publication.publish(dataset, "2026-01", material.table(1, 2))
    _withdraw(dataset)
    killed: Any = _Killed(dataset, step, after)
    with pytest.raises(_KilledError):
        publication.restore(killed, "O-x__r-1")
    with contextlib.suppress(UsageError):  # it was made, and this gives it its tag
        publication.restore(dataset, "O-x__r-1")
    assert publication.look(dataset).withdrawn == {}
    assert len(_whole(dataset)[1]) == 3


#: What somebody does in the Hub's page: contents by path, None for a file that is removed.
_EDITS: list[dict[str, bytes | None]] = [
    {files.CARD: b"---\n---\nedited"},
    {"pictures/difficulty.svg": None, "pictures/speedup.svg": None, "notes.txt": b"mine"},
    {files.data("2026-01"): b"other", files.WITHDRAWN: None},
    {files.data("2026-01"): None, files.verified("2026-01"): None},
]


def _edit(fake: FakeHub, changes: Mapping[str, bytes | None]) -> None:
    repository = fake.repositories["o/data"]
    before = {p: file for p, file in repository.commits[-1].files.items() if p not in changes}
    edited = {p: File(content, False) for p, content in changes.items() if content is not None}
    repository.commit("Update", before | edited)


@pytest.mark.parametrize("changes", _EDITS)
def test_what_is_edited_by_hand_is_no_version_and_lasts_until_the_next(
    fake: FakeHub, tmp_path: Path, changes: dict[str, bytes | None]
) -> None:
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    [made] = _whole(hub)[1].values()
    _edit(fake, changes)
    publication.publish(hub, "2026-01", material.table(1))
    assert publication.look(hub).revision == made
    publication.fetch(hub, None, tmp_path / "newest")
    publication.fetch(hub, "formulacode@2026-01", tmp_path / "tagged")
    assert b"edited" not in (tmp_path / "newest" / files.CARD).read_bytes()
    publication.publish(hub, "2026-02", material.table(2, month=_FEBRUARY))
    assert _numbers(hub) == [1]
    kept = changes.get("notes.txt")
    assert hub.read("notes.txt", _whole(hub)[0] or "") == kept


@pytest.mark.parametrize("changes", _EDITS)
def test_what_is_edited_while_a_version_is_made_is_not_in_it(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, bytes | None]
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0)
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    fake.before("POST .*/commit/", lambda: _edit(fake, changes))
    publication.publish(hub, "2026-01", material.table(2))
    assert len(_whole(hub)[1]) == 2
    assert _numbers(hub) == [2]


@pytest.mark.parametrize("changes", _EDITS)
def test_what_was_removed_by_hand_can_go(
    fake: FakeHub, tmp_path: Path, changes: dict[str, bytes | None]
) -> None:
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    _edit(fake, changes)
    publication.publish(hub, "2026-01", material.table())
    head, _ = _whole(hub)
    assert hub.read(files.data("2026-01"), head or "") is None


def _made_and_killed(hub: Hub) -> None:
    """A version of January without its tag."""
    killed: Any = _Killed(hub, 1, after=True)
    with pytest.raises(_KilledError):
        publication.publish(killed, "2026-01", material.table(1))


@pytest.mark.parametrize("changes", [*_EDITS, {"notes.txt": b"mine"}])
def test_what_is_edited_before_a_version_has_its_tag_is_not_what_gets_it(
    fake: FakeHub, tmp_path: Path, changes: dict[str, bytes | None]
) -> None:
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    _made_and_killed(hub)
    made = hub.refs().head
    _edit(fake, changes)
    publication.fetch(hub, None, tmp_path / "newest")
    assert dict(hub.refs().tags) == {}
    publication.publish(hub, "2026-02", material.table(2, month=_FEBRUARY))
    assert _whole(hub)[1]["formulacode@2026-01"] == made
    assert _numbers(hub) == [1]


def test_what_no_commit_has_whole_gets_no_tag(fake: FakeHub, tmp_path: Path) -> None:
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    _made_and_killed(hub)
    _edit(fake, {files.CARD: b"---\n---\nedited"})
    del fake.repositories["o/data"].commits[:-1]  # squashed
    with pytest.raises(PermanentError, match=r"README\.md of o/data is not what its manifest"):
        publication.publish(hub, "2026-02", material.table(2, month=_FEBRUARY))
    assert dict(hub.refs().tags) == {}


def test_another_publisher_tags_what_a_killed_one_left(dataset: Dataset) -> None:
    killed: Any = _Killed(dataset, 1, after=True)
    with pytest.raises(_KilledError):
        publication.publish(killed, "2026-01", material.table(1))
    assert dict(dataset.refs().tags) == {}
    publication.publish(dataset, "2026-02", material.table(2, month=_FEBRUARY))
    assert [*_whole(dataset)[1]] == ["formulacode@2026-01", "formulacode@2026-02"]
    assert _numbers(dataset, "2026-01", "formulacode@2026-01") == [1]


def test_a_kill_at_any_file_of_a_folder_leaves_a_version_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, done, kill_at = Path.replace, False, 0
    for kill_at in range(1, 100):
        dataset, left = DatasetFolder(tmp_path / f"{kill_at}"), kill_at
        publication.publish(dataset, "2026-01", material.table(1))

        def counting(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left == 0:
                raise _KilledError
            return replace(path, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", counting)
            try:
                publication.publish(dataset, "2026-01", material.table(1, 2))
                done = True
            except _KilledError:
                done = False
        publication.publish(dataset, "2026-01", material.table(1, 2))
        assert [*_whole(dataset)[1]] == ["formulacode@2026-01", "formulacode@2026-01.1"]
        shown = files.from_parquet((dataset.path / "data/2026-01.parquet").read_bytes())
        assert shown.num_rows == 2
        if done:
            break
    assert done
    assert kill_at > 8  # as many files as a version has, and its head and tag


def test_a_lost_answer_makes_no_second_version(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0)
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    fake.lose("POST .*/commit/")
    publication.publish(hub, "2026-01", material.table(2))
    fake.lose("POST .*/tag/")
    publication.publish(hub, "2026-01", material.table(3))
    fake.lose("POST .*/commit/")
    publication.withdraw(hub, "O-x__r-3", "it leaks", _NOW)
    fake.lose("POST .*/commit/")
    publication.restore(hub, "O-x__r-3")
    assert len(_whole(hub)[1]) == 5
    assert len(fake.repositories["o/data"].commits) == 6


def test_what_was_uploaded_before_a_kill_is_not_uploaded_again(
    fake: FakeHub, tmp_path: Path
) -> None:
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    fake.fail("POST .*/commit/", 403)
    with pytest.raises(StopError):
        publication.publish(hub, "2026-01", material.table(1, 2))
    uploads = [path for method, path in fake.requests if method == "PUT"]
    assert {path.rpartition("/")[2] for path in uploads} == {*fake.objects}
    publication.publish(hub, "2026-01", material.table(1, 2))
    assert [path for method, path in fake.requests if method == "PUT"] == uploads
    assert len(_whole(hub)[1]) == 2


def test_an_outage_of_the_hub_leaves_the_version_before(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0)
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    fake.fail("POST .*/commit/", 503, times=5)
    with pytest.raises(TransientError, match="503"):
        publication.publish(hub, "2026-01", material.table(2))
    assert _numbers(hub) == [1]
    publication.publish(hub, "2026-01", material.table(2))
    assert [*_whole(hub)[1]] == ["formulacode@2026-01", "formulacode@2026-01.1"]


def test_a_limit_of_the_hub_is_not_asked_before_it_is_over(fake: FakeHub, tmp_path: Path) -> None:
    hub = Hub("o/data", tmp_path / "cache", TOKEN, fake.url)
    publication.publish(hub, "2026-01", material.table(1))
    fake.fail("POST .*/commit/", 429, times=5, Retry_After="300")
    with pytest.raises(TransientError, match="429") as told:
        publication.publish(hub, "2026-01", material.table(2))
    assert told.value.until is not None
    assert [path for _, path in fake.requests if "/commit/" in path] == [
        "/api/datasets/o/data/commit/main"
    ] * 2


def _at_once(dataset: Callable[[int], Dataset], publish: Callable[[Dataset, int], object]) -> None:
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            publish(dataset(index), index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("target", ["folder", "hub"])
def test_publishers_at_once_lose_no_month(
    target: str, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0.01)

    def dataset(index: int) -> Dataset:
        if target == "folder":
            return DatasetFolder(tmp_path / "published")
        return Hub("o/data", tmp_path / f"cache-{index}", TOKEN, fake.url)

    def publish(dataset: Dataset, index: int) -> None:
        month = datetime.date(2026, index, 1)
        publication.publish(dataset, f"2026-{index:02}", material.table(index, month=month))

    _at_once(dataset, publish)
    assert {*_whole(dataset(0))[1]} == {f"formulacode@2026-0{n}" for n in range(1, 5)}
    assert [_numbers(dataset(0), f"2026-0{n}") for n in range(1, 5)] == [[1], [2], [3], [4]]


@pytest.mark.parametrize("target", ["folder", "hub"])
def test_of_two_months_at_once_with_the_same_patch_one_has_it_and_keeps_it(
    target: str, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0.01)
    given = {"2026-01": files.table(_same(1)), "2026-02": files.table(_same(9, _FEBRUARY))}

    def dataset(index: int) -> Dataset:
        if target == "folder":
            return DatasetFolder(tmp_path / "published")
        return Hub("o/data", tmp_path / f"cache-{index}", TOKEN, fake.url)

    def publish(dataset: Dataset, index: int) -> None:
        label = f"2026-0{index % 2 + 1}"
        publication.publish(dataset, label, given[label])

    def owners() -> list[str]:
        months = publication.look(dataset(0)).manifest.months
        return [task for month in months.values() for task in month.records]

    _at_once(dataset, publish)
    [owner], before = owners(), _whole(dataset(0))
    _at_once(dataset, publish)
    for label in ("2026-02", "2026-01"):
        publication.publish(dataset(0), label, given[label])
    assert (owners(), _whole(dataset(0))) == ([owner], before)


def test_what_another_publisher_makes_of_the_month_is_not_undone(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0)
    ours, other = (Hub("o/data", tmp_path / name, TOKEN, fake.url) for name in ("a", "b"))
    publication.publish(ours, "2026-01", material.table(1))
    fake.before("GET .*/refs", lambda: None)
    fake.before(
        "GET .*/refs", lambda: publication.publish(other, "2026-01", material.table(1, 2, 3))
    )
    publication.publish(ours, "2026-01", material.table(1, 2))
    assert sorted(_whole(ours)[1]) == [
        "formulacode@2026-01",
        "formulacode@2026-01.1",
        "formulacode@2026-01.2",
    ]
    assert _numbers(ours) == [1, 2, 3]


def test_a_picture_of_nothing_goes(dataset: Dataset) -> None:
    publication.publish(dataset, "2026-01", material.table(1))
    assert "pictures/speedup.svg" in publication.look(dataset).manifest.files
    publication.publish(dataset, "2026-01", material.table(1, verdict=None))
    _whole(dataset)
    state = publication.look(dataset)
    assert "pictures/speedup.svg" not in state.manifest.files
    assert dataset.read("pictures/speedup.svg", state.revision or "") is None


def test_publishers_of_the_same_month_at_once_make_one_version(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PAUSE_S", 0.01)
    _at_once(
        lambda index: Hub("o/data", tmp_path / f"cache-{index}", TOKEN, fake.url),
        lambda hub, _: publication.publish(hub, "2026-01", material.table(1)),
    )
    assert len(fake.repositories["o/data"].commits) == 2
    assert [*fake.repositories["o/data"].tags] == ["formulacode@2026-01"]


def _older_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the project be one that did not know a column yet."""
    older = pa.schema([field for field in files.schema() if field.name != "machine"])
    monkeypatch.setattr(files, "schema", lambda: older)
    monkeypatch.setattr(files.records, "COLUMNS", tuple(older.names))


def test_a_new_column_is_in_the_files_of_all_months(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        _older_version(patched)
        publication.publish(dataset, "2026-01", material.table(1))
    before = publication.look(dataset).manifest.months["2026-01"]
    publication.publish(dataset, "2026-02", material.table(2, month=_FEBRUARY))
    state = publication.look(dataset)
    for label in ("2026-01", "2026-02"):
        content = dataset.read(files.data(label), state.revision or "")
        assert content is not None
        assert pq.read_schema(pa.BufferReader(content)).names == files.schema().names
    assert state.manifest.months["2026-01"] == before


def _without_evidence(field: pa.Field) -> pa.Field:
    """A column `checks` as it was before it told the evidence."""
    if field.name != "checks":
        return field
    return field.with_type(pa.list_(pa.struct([*field.type.value_type][:2])))


def test_a_new_part_of_a_column_is_in_the_files_of_all_months_and_is_not_dropped(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = files.schema()
    older = pa.schema([_without_evidence(field) for field in today])
    assert older != today
    with monkeypatch.context() as patched:
        patched.setattr(files, "schema", lambda: older)
        publication.publish(dataset, "2026-01", material.table(1))
    publication.publish(dataset, "2026-02", material.table(2, month=_FEBRUARY))
    state = publication.look(dataset)
    for label in ("2026-01", "2026-02"):
        content = dataset.read(files.data(label), state.revision or "")
        assert content is not None
        assert pq.read_schema(pa.BufferReader(content)).field("checks").type == (
            today.field("checks").type
        )
    monkeypatch.setattr(files, "schema", lambda: older)
    with pytest.raises(PermanentError, match=r"would drop \(checks\[\]\.evidence\); update"):
        publication.publish(dataset, "2026-02", material.table(3, month=_FEBRUARY))


def test_an_older_version_of_the_project_drops_no_column(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication.publish(dataset, "2026-01", material.table(1))
    before = _whole(dataset)
    with monkeypatch.context() as patched:
        _older_version(patched)
        with pytest.raises(PermanentError, match=r"would drop \(machine\); update"):
            publication.publish(dataset, "2026-02", material.table(2, month=_FEBRUARY))
    assert _whole(dataset) == before
