"""What the asset gives to the warehouse: records, reasons, and when they were published."""

import datetime

from fc_assets.formulacode import asset, files
from fc_assets.tables import FORMULACODE
from fc_resources.warehouse import Rows
from tests.fc_assets.formulacode import material


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
