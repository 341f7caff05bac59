"""What the asset gives to the warehouse: records, reasons, and when they were published."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from fc_assets.candidate_containers.trial import Tools
from fc_assets.formulacode import asset, files
from fc_assets.formulacode.images import Images
from fc_assets.tables import FORMULACODE
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.docker import Docker
from fc_resources.errors import PermanentError, TransientError
from fc_resources.ledger import Ledger
from fc_resources.registry import Registry
from fc_resources.warehouse import Rows
from tests.fc_assets.formulacode import material
from tests.registries import RealRegistry

_IDS = {number: f"O-x__r-{number}" for number in range(1, 5)}


def test_a_task_with_an_obstacle_is_an_answer_without_rows_and_with_the_reason() -> None:
    task = material.task(container=None)
    [item] = asset.items(material.records.decide([task], material.rules()), material.rules())
    assert item.key == "O-x/r#3"
    answer = asset.publish(item.value, None)
    assert (list(answer.rows), answer.note) == ([], "no verified container")


def test_a_task_without_one_is_its_record() -> None:
    [item] = asset.items([material.task()], material.rules())
    answer = asset.publish(item.value, None)
    [row] = answer.rows
    assert (row["task_id"], answer.note) == ("O-x__r-3", None)


def test_only_what_a_version_has_is_marked_as_published() -> None:
    batch = FORMULACODE.batch(material.rows(1, 2, 3, published_at=material.WHEN))
    written: list[object] = []
    rows = Rows(
        FORMULACODE.schema, [material.JANUARY], lambda: [batch], lambda: "v", written.append
    )
    when = material.WHEN + datetime.timedelta(days=20)
    month = files.month("formulacode@2026-01", when, material.table(1, 3))
    marked = asset.marked(rows, [month])
    [found] = marked.batches()
    assert found.schema == FORMULACODE.schema
    assert [row["published_at"] for row in found.to_pylist()] == [when, None, when]
    marked.written(marked.version())
    assert written == ["v"]


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetFolder:
    return DatasetFolder(tmp_path / "published")


def _release(
    dataset: DatasetFolder,
    rows: list[dict[str, Any]],
    *due: int,
    images: Images | None = None,
) -> list[str]:
    """Records of the version, after those that are `due` were tried and `rows` came of it."""
    wanted = {_IDS[number] for number in due}
    month = asset.release(dataset, material.JANUARY, rows, wanted, images)
    return [*month.records] if month else []


def test_nothing_published_goes_because_of_a_failure(dataset: DatasetFolder) -> None:
    _release(dataset, material.rows(1, 2, 3), 1, 2, 3)
    before = dataset.refs()
    with pytest.raises(PermanentError, match=r"O-x__r-1, O-x__r-3 .*; fc-data failures"):
        _release(dataset, material.rows(2), 1, 2, 3)
    assert dataset.refs() == before
    assert _release(dataset, material.rows(2), 2) == [_IDS[2]]


def test_a_record_that_was_never_published_may_fail(dataset: DatasetFolder) -> None:
    _release(dataset, material.rows(1), 1)
    assert _release(dataset, material.rows(1, 3), 1, 2, 3) == [_IDS[1], _IDS[3]]


@pytest.mark.parametrize("until", [None, 4e9])
def test_a_limit_puts_its_month_off(tmp_path: Path, until: float | None) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger")
    with pytest.raises(TransientError), asset.putting_off(ledger, material.JANUARY):
        raise TransientError("429", until=until)
    found = [(off.table, off.month, off.until) for off in ledger.months_put_off()]
    assert found == ([("formulacode", material.JANUARY, until)] if until else [])


def _no_tools() -> Tools:
    raise AssertionError("nothing had to be verified")


def test_a_lost_image_keeps_back_its_own_record_and_never_takes_a_published_one(
    dataset: DatasetFolder, real_registry: RealRegistry, tmp_path: Path
) -> None:
    images = Images(Registry(f"{real_registry.address}/fc"), Docker(tmp_path), _no_tools)
    digest = real_registry.upload("fc/o--x-r", "1")
    rows = material.rows(1, image_digest=digest)
    lost = material.rows(2, 3, image_digest="sha256:" + "0" * 64)
    assert _release(dataset, [*rows, *lost], 1, 2, 3, images=images) == [_IDS[1]]
    assert _release(dataset, [*rows, *material.rows(4)], 1, 4, images=images) == [_IDS[1]]
    found = material.rows(2, 3, image_digest=digest)
    _release(dataset, [*rows, *found], 1, 2, 3, images=images)
    with pytest.raises(PermanentError, match="O-x__r-2, O-x__r-3"):
        _release(dataset, [*rows, *lost], 1, 2, 3, images=images)
