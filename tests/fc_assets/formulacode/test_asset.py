"""What the asset gives to the warehouse: records, reasons, and when they were published."""

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pytest

from fc_assets.candidate_containers.trial import Tools
from fc_assets.formulacode import asset, files, preview, publication, records, standing
from fc_assets.formulacode.images import Images
from fc_assets.tables import FORMULACODE
from fc_resources import settings
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
    [item] = asset.items(records.decide([task], material.rules()), material.rules())
    assert item.key == "O-x/r#3"
    answer = asset.publish(item.value, None, {})
    assert (list(answer.rows), answer.note) == ([], "no verified container")


def test_a_task_without_one_is_its_record() -> None:
    [item] = asset.items([material.task()], material.rules())
    answer = asset.publish(item.value, None, {})
    [row] = answer.rows
    assert (row["task_id"], answer.note) == ("O-x__r-3", None)


def _again(task: material.Task, **rules: Any) -> tuple[bool, bool]:
    [item] = asset.items([task], material.rules(**rules))
    return item.again, item.sure


def test_images_are_looked_for_at_every_run_and_only_they_can_fail() -> None:
    obstacle, stays = ("no verified container",) * 2
    left_out = dataclasses.replace(material.task(), reason=obstacle)
    staying = dataclasses.replace(material.task(), reason=stays, stays=True)
    assert _again(material.task(), registry="registry.example.org") == (True, False)
    assert _again(material.task()) == (False, False)
    assert _again(left_out, registry="registry.example.org") == (False, True)
    assert _again(staying) == (True, True)


def test_a_record_whose_container_is_lost_stays_as_it_was_published(
    dataset: DatasetFolder,
) -> None:
    before = material.rows(1, 2, image_digest="sha256:1")
    _release(dataset, before, 1, 2)
    state = publication.look(dataset)
    rules = state.rules(settings.load(), "2026-01")
    lost = [material.task(1), material.task(2, container=None)]
    found = records.decide(lost, rules)
    kept = standing.rows(dataset, state, material.JANUARY, found)
    rows = [
        {"partition_month": material.JANUARY, **row}
        for item in asset.items(found, rules)
        for row in asset.publish(item.value, None, kept).rows
    ]
    assert [row["image_digest"] for row in rows] == [None, "sha256:1"]
    assert files.table(rows[1:]).equals(files.table(before[1:]))
    FORMULACODE.batch(rows)
    told = preview.preview(
        material.JANUARY, lost, set(), dataset, settings.load(), lambda task: None
    )
    assert [(row["task"], row["change"].partition(":")[0]) for row in told] == [
        (_IDS[1], "changed"),
        (_IDS[2], "unchanged"),
    ]
    assert told[1]["reason"] == "stays as it was published: no verified container"
    assert _release(dataset, rows, 1, 2) == [_IDS[1], _IDS[2]]


def test_what_becomes_of_a_published_record_is_told() -> None:
    ids = [*_IDS.values(), "O-x__r-5"]
    rules = material.rules(published={name: f"patch of {name}" for name in ids})
    tasks = [
        material.task(1),
        material.task(2, container=None),
        material.task(3, candidate={"leak_suspected": True, "reason": "names x"}),
        material.task(6, container=None),
    ]
    found, refused = records.decide(tasks, rules), {_IDS[4], "O-x__r-9"}
    assert standing.fates(found, refused, rules) == {
        _IDS[2]: "stays as it was published: no verified container",
        _IDS[3]: "leaves the dataset: leak suspected: names x",
        _IDS[4]: "leaves the dataset: not a performance pull request",
        "O-x__r-5": "blocks the month: it is not among the candidates; run stages 2 to 5 again",
    }
    # What nobody judged must not go.
    assert standing.due(found, refused, rules) == {_IDS[1], _IDS[2], "O-x__r-5"}


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
