"""The Hub with the real client on a loopback Hub: refusals, outages, lost answers, cuts."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from fc_resources.dataset import StaleError
from fc_resources.errors import (
    PermanentError,
    StopError,
    TransientError,
    UnavailableError,
    UsageError,
)
from fc_resources.huggingface import Hub
from tests.fakes.hub import READ_TOKEN, TOKEN, FakeHub

_PARQUET = b"PAR1" + bytes(range(256)) * 64


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with FakeHub() as fake:
        yield fake


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path) -> Hub:
    return Hub("o/data", tmp_path / "cache", TOKEN, fake.url)


def _head(hub: Hub) -> str:
    head = hub.refs().head
    assert head is not None
    return head


def test_parquet_is_uploaded_once_however_often_it_is_committed(fake: FakeHub, hub: Hub) -> None:
    hub.commit({"a.parquet": _PARQUET}, None, "first")
    hub.commit({"b.parquet": _PARQUET, "README.md": b"---\n---\n"}, _head(hub), "second")
    uploads = [path for method, path in fake.requests if method == "PUT"]
    assert len(uploads) == len(fake.objects) == 1
    assert hub.read("b.parquet", _head(hub)) == _PARQUET
    assert fake.storage_tokens == set()


def test_a_private_repository_is_read_with_its_token_and_hidden_without(
    fake: FakeHub, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.repository("o/data", private=True)
    hub.commit({"a.parquet": _PARQUET}, _head(hub), "first")
    assert hub.read("a.parquet", _head(hub)) == _PARQUET
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-login"))
    stranger = Hub("o/data", tmp_path / "other", None, fake.url)
    assert stranger.refs().head is None
    with pytest.raises(StopError, match="HF_TOKEN"):
        stranger.commit({"a.parquet": b""}, None, "over it")
    assert len(fake.repositories["o/data"].commits) == 2


def test_a_refused_token_stops_and_is_not_told(fake: FakeHub, tmp_path: Path) -> None:
    fake.repository("o/data")
    hub = Hub("o/data", tmp_path / "cache", "hf_a_wrong_one", fake.url)
    with pytest.raises(StopError, match=r"refuses this token \(401\)") as told:
        hub.refs()
    assert "hf_a_wrong_one" not in str(told.value)


@pytest.mark.parametrize(("repository", "token"), [("o/data", READ_TOKEN), ("other/data", TOKEN)])
@pytest.mark.parametrize("there", [False, True])
def test_who_may_only_read_stops_before_anything_is_uploaded(
    fake: FakeHub, tmp_path: Path, repository: str, token: str, there: bool
) -> None:
    if there:
        fake.repository(repository)
    hub = Hub(repository, tmp_path / "cache", token, fake.url)
    with pytest.raises(StopError, match=r"refuses this token \(403\); set HF_TOKEN"):
        hub.commit({"a.parquet": _PARQUET}, hub.refs().head, "first")
    assert fake.objects == {}
    assert [*fake.repositories] == ([repository] if there else [])


@pytest.mark.parametrize("card", ["license: none of them", "configs: 3", "tags: [", "- a list"])
def test_a_card_that_the_hub_refuses_is_permanent(fake: FakeHub, hub: Hub, card: str) -> None:
    with pytest.raises(PermanentError, match="Bad request") as told:
        hub.commit({"README.md": f"---\n{card}\n---\n".encode()}, None, "first")
    assert "\n" not in str(told.value)
    assert len(fake.repositories["o/data"].commits) == 1


def test_a_file_that_the_hub_lost_before_the_commit_is_permanent(fake: FakeHub, hub: Hub) -> None:
    fake.before("POST .*/commit/", fake.objects.clear)
    with pytest.raises(PermanentError, match="a file that is not"):
        hub.commit({"a.parquet": _PARQUET}, None, "first")
    assert len(fake.repositories["o/data"].commits) == 1


def test_who_creates_the_repository_second_looks_first(fake: FakeHub, hub: Hub) -> None:
    fake.before("POST /api/repos/create", lambda: fake.repository("o/data"))
    with pytest.raises(StaleError):
        hub.commit({"a.parquet": _PARQUET}, None, "first")
    assert len(fake.repositories["o/data"].commits) == 1


def test_xet_is_used_where_the_hub_has_it(
    fake: FakeHub, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet-cache"))
    (tmp_path / "content").write_bytes(_PARQUET)
    hf_xet = pytest.importorskip("hf_xet")
    [told] = hf_xet.hash_files([str(tmp_path / "content")])
    fake.xet_folder = str(tmp_path / "xet")
    fake.xet[hashlib.sha256(_PARQUET).hexdigest()] = told.hash, _PARQUET
    hub.commit({"a.parquet": _PARQUET, "README.md": b"---\n---\n"}, None, "first")
    assert hub.read("a.parquet", _head(hub)) == _PARQUET
    asked = [path for _, path in fake.requests]
    assert not any("/lfs" in path for path in asked)
    assert [path.split("/")[5] for path in asked if "-token" in path] == [
        "xet-write-token",
        "xet-read-token",
    ]


def test_a_repository_that_is_there_and_hidden_stops(fake: FakeHub, hub: Hub) -> None:
    fake.repository("o/data")
    fake.fail("GET .*/refs", 404, times=2, X_Error_Code="RepoNotFound")
    assert hub.refs().head is None
    with pytest.raises(StopError, match="is hidden from this token"):
        hub.commit({"a.parquet": _PARQUET}, None, "first")
    assert len(fake.repositories["o/data"].commits) == 1


def test_a_cut_upload_is_tried_again_by_the_client(fake: FakeHub, hub: Hub) -> None:
    fake.cut("PUT /lfs/")
    hub.commit({"a.parquet": _PARQUET}, None, "first")
    assert hub.read("a.parquet", _head(hub)) == _PARQUET


def test_a_limit_is_waited_for_by_the_client_and_then_transient(fake: FakeHub, hub: Hub) -> None:
    fake.fail("POST .*/preupload/", 429, Retry_After="0")
    hub.commit({"a.parquet": _PARQUET}, None, "first")
    fake.fail("POST .*/commit/", 429)
    with pytest.raises(TransientError, match="429") as told:
        hub.commit({"a.parquet": b"x"}, _head(hub), "second")
    assert told.value.until is None
    fake.fail("POST .*/commit/", 429, Retry_After="300")
    now = time.time()
    with pytest.raises(TransientError, match="429") as told:
        hub.commit({"a.parquet": b"x"}, _head(hub), "second")
    assert now + 300 <= (told.value.until or 0) <= time.time() + 300


@pytest.mark.parametrize("name", ["o/a--b", "o/data.git", "-o/x", "o/" + "x" * 100])
def test_a_name_that_no_repository_can_have_is_wrong_usage(
    fake: FakeHub, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="FC_DATASET") as told:
        Hub(name, tmp_path / "cache", TOKEN, fake.url).refs()
    assert "\n" not in str(told.value)
    assert fake.requests == []


def test_an_outage_is_no_answer(fake: FakeHub, hub: Hub) -> None:
    fake.fail("GET .*/refs", 503)
    with pytest.raises(TransientError, match="503"):
        hub.refs()
    fake.cut("GET .*/refs")
    with pytest.raises(UnavailableError):
        hub.refs()
    fake.repository("o/data")
    head = _head(hub)
    fake.fail("HEAD .*/resolve/", 403)
    with pytest.raises(StopError):
        hub.read("a.parquet", head)


def test_a_lost_answer_is_transient_and_the_version_is_there(fake: FakeHub, hub: Hub) -> None:
    hub.commit({"a.parquet": b"1"}, None, "first")
    fake.lose("POST .*/commit/")
    with pytest.raises(UnavailableError):
        hub.commit({"a.parquet": b"2"}, _head(hub), "second")
    assert hub.read("a.parquet", _head(hub)) == b"2"


def test_of_two_at_once_one_is_stale(fake: FakeHub, hub: Hub, tmp_path: Path) -> None:
    hub.commit({"a.parquet": b"1"}, None, "first")
    head, ended = _head(hub), []

    def publish(content: bytes) -> None:
        other = Hub("o/data", tmp_path / content.decode(), TOKEN, fake.url)
        try:
            other.commit({"a.parquet": content}, head, "second")
            ended.append("made")
        except StaleError:
            ended.append("stale")

    threads = [threading.Thread(target=publish, args=(content,)) for content in (b"2", b"3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["made", "stale"]
    assert len(fake.repositories["o/data"].commits) == 3


def test_a_download_is_kept(fake: FakeHub, hub: Hub) -> None:
    hub.commit({"a.parquet": _PARQUET}, None, "first")
    head = _head(hub)
    for _ in range(2):
        assert hub.read("a.parquet", head) == _PARQUET
    assert [m for m, path in fake.requests if path.startswith("/lfs/")].count("GET") == 1


def test_a_file_that_cannot_be_removed_is_permanent(fake: FakeHub, hub: Hub) -> None:
    hub.commit({"a.parquet": _PARQUET}, None, "first")
    with pytest.raises(PermanentError):
        hub.commit({"never.parquet": None}, _head(hub), "second")
