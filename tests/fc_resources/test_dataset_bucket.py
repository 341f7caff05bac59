"""The dataset in a bucket: what lies open in it, who wins, and what goes wrong."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest

from fc_assets.formulacode import files, publication
from fc_resources import settings
from fc_resources.dataset import StaleError
from fc_resources.dataset_bucket import DatasetBucket
from fc_resources.errors import StopError, TransientError, UsageError
from tests import buckets
from tests.fc_assets.formulacode import material

_ADDRESS = "s3://data/formula/code"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatasetBucket]:
    with buckets.served(monkeypatch, "data"):
        yield DatasetBucket(_ADDRESS)


def _shown() -> dict[str, bytes]:
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket="data").get("Contents", ())
    names = [e.get("Key", "") for e in listed if ".versions" not in e.get("Key", "")]
    return {n: client.get_object(Bucket="data", Key=n)["Body"].read() for n in names}


def _publish(bucket: DatasetBucket, name: str, **content: bytes | None) -> str:
    bucket.commit(content, bucket.refs().head, name)
    head = bucket.refs().head
    assert head is not None
    bucket.tag(name, head)
    return head


def test_the_files_of_the_newest_version_lie_open_and_no_other(bucket: DatasetBucket) -> None:
    _publish(bucket, "v1", a=b"1", b=b"2", d=b"5")
    _publish(bucket, "v2", a=b"3", b=None, c=b"4")
    expected = {"a": b"3", "c": b"4", "d": b"5"}
    assert _shown() == {f"formula/code/{name}": data for name, data in expected.items()}


@pytest.mark.parametrize("first", [True, False])
def test_who_is_overtaken_just_before_it_writes_changes_nothing(
    bucket: DatasetBucket, first: bool
) -> None:
    parent = None if first else _publish(bucket, "v1", a=b"1")
    slow = DatasetBucket(_ADDRESS)

    def overtake(params: dict[str, Any], **_: object) -> None:
        if params["url_path"].endswith("/head") and bucket.refs().head == parent:
            bucket.commit({"a": b"faster"}, parent, "faster")

    slow._client.meta.events.register("before-call.s3.PutObject", overtake)
    with pytest.raises(StaleError, match="has a newer version"):
        slow.commit({"a": b"slower"}, parent, "slower")
    head = bucket.refs().head
    assert head is not None
    assert bucket.read("a", head) == b"faster"
    assert list(bucket.ancestors(head)) == ([] if parent is None else [parent])


def test_what_is_published_is_read_by_duckdb_and_by_get(
    bucket: DatasetBucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FC_REGISTRY", "registry.example.org")
    monkeypatch.setenv("FC_DATASET", _ADDRESS)
    monkeypatch.setenv("FC_S3_PATH_STYLE", "true")
    settings.current.cache_clear()
    dataset = publication.target(settings.current())
    assert isinstance(dataset, DatasetBucket)
    rows = material.rows(1, 2)
    publication.publish(dataset, "2026-01", files.table(rows))
    publication.publish(dataset, "2026-01", files.table(rows))
    assert [*dataset.refs().tags] == ["formulacode@2026-01"]
    (tmp_path / "month.parquet").write_bytes(_shown()["formula/code/data/2026-01.parquet"])
    found = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/month.parquet'").fetchall()
    assert found == [(2,)]
    fetched = publication.fetch(dataset, "formulacode@2026-01", tmp_path / "again")
    assert (tmp_path / "again" / "data" / "2026-01.parquet") in fetched


def test_without_a_bucket_or_a_service_or_credentials_it_says_what_to_do(
    bucket: DatasetBucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="make the bucket first"):
        DatasetBucket("s3://none").refs()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match=r"^s3://data: .*127.0.0.1:9") as caught:
        DatasetBucket("s3://data").refs()
    assert buckets.SECRET not in str(caught.value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StopError, match="set AWS_ACCESS_KEY_ID"):
        DatasetBucket("s3://data").refs()


def test_what_tokens_env_says_reaches_libraries_that_read_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "PGHOST", "PGPASSWORD"):
        monkeypatch.setenv(name, "")  # so that it is forgotten when the test ends
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "said-in-the-environment")
    file = tmp_path / "tokens.env"
    file.write_text(
        "AWS_ACCESS_KEY_ID=AKIA1\nAWS_SECRET_ACCESS_KEY=of-a-file\nPGPASSWORD=its own\n"
    )
    monkeypatch.setitem(settings.Settings.model_config, "env_file", file)
    settings.current.cache_clear()
    told = settings.current()
    assert {"said-in-the-environment", "its own"} <= {*told.secrets}
    assert "its own" not in repr(told)
    assert os.environ["AWS_ACCESS_KEY_ID"] == "AKIA1"
    assert os.environ["PGPASSWORD"] == "its own"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "said-in-the-environment"
    assert "PGHOST" not in os.environ
