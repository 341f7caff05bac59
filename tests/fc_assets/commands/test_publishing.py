"""`publish --dry-run`, `unpublish`, `get` and `diff` on homes whose warehouse was made by hand."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fc_assets import cli
from fc_assets.formulacode import files, publication, records
from fc_assets.formulacode.records import Task
from fc_assets.tables import FORMULACODE, Table
from fc_resources import settings
from fc_resources.warehouse import PARTITION, Rows, Warehouse
from tests.fc_assets.formulacode import material
from tests.registries import RealRegistry


def _store(table: Table, rows: list[dict[str, Any]]) -> None:
    loaded = settings.load()
    whole = [{PARTITION: material.JANUARY, **material.required(table), **row} for row in rows]
    batch = table.batch(whole)
    Warehouse(loaded.warehouse).replace(
        table.name, Rows(table.schema, [material.JANUARY], lambda: [batch])
    )


def _home(*tasks: Task) -> None:
    """Store what stages 1 to 6 would have stored of these tasks."""
    settings.load().make_home()
    for table, part in material.PARTS.items():
        found: list[Mapping[str, Any] | None] = [getattr(task, part) for task in tasks]
        own = {tuple(row[name] for name in table.key): dict(row) for row in found if row}
        _store(table, list(own.values()))


def _run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code and what was written."""
    settings.current.cache_clear()
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def _task(number: int, **changes: Any) -> Task:
    environment = {"sha": f"{number:040x}"} | (changes.pop("environment", None) or {})
    candidate = {"merge_commit_sha": f"{number:040x}"} | changes.pop("candidate", {})
    return material.task(number, candidate=candidate, environment=environment, **changes)


def test_a_dry_run_tells_what_would_change_and_why_the_rest_stays_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = [_task(1), _task(2), _task(3), _task(4, container=None)]
    tasks.append(_task(5, pull_request={"patch": material.PATCH.format(number=1)}))
    _home(*tasks)
    dataset = publication.target(settings.load())
    older = material.rows(1, pipeline="formulacode-data 0.0")  # whatever version made it
    published = [*older, *material.rows(9), *material.rows(2, best=9.0)]
    publication.publish(dataset, "2026-01", files.table(published))
    before = dataset.refs()
    lost = "blocks the month: it is not among the candidates; run stages 2 to 5 again"
    code, out, _ = _run("publish", "--month", "2026-01", "--dry-run", "--json", capsys=capsys)
    told = json.loads(out)
    assert code == 0
    assert told["summary"] == [
        {"added": 1, "changed": 1, "removed": 1, "unchanged": 1, "left out": 2}
    ]
    assert [(row["task"], row["change"], row["reason"]) for row in told["records"]] == [
        ("O-x__r-3", "added", ""),
        ("O-x__r-2", "changed: best", ""),
        ("O-x__r-9", "removed", lost),
        ("O-x__r-1", "unchanged", ""),
        ("O-x__r-4", "left out", "no verified container"),
        ("O-x__r-5", "left out", "the same patch as O-x__r-1"),
    ]
    assert dataset.refs() == before


def test_a_dry_run_asks_the_registry_and_pushes_nothing(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    real_registry: RealRegistry,
) -> None:
    monkeypatch.setenv("FC_REGISTRY", f"{real_registry.address}/fc")
    digest = real_registry.upload("fc/o--x-r", "1-pr-000000000001")
    _home(_task(1), _task(2))
    rules = material.rules(registry=f"{real_registry.address}/fc")
    row = {PARTITION: material.JANUARY, **records.record(_task(1), rules, digest)}
    publication.publish(publication.target(settings.load()), "2026-01", files.table([row]))
    _, out, _ = _run("publish", "--month", "2026-01", "--dry-run", "--json", capsys=capsys)
    assert [(r["task"], r["change"], r["reason"]) for r in json.loads(out)["records"]] == [
        ("O-x__r-2", "added", "its image is to be pushed"),
        ("O-x__r-1", "unchanged", ""),
    ]
    assert real_registry.tags("fc/o--x-r") == ["1-pr-000000000001"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("publish", "--month", "2026-1"), "write YYYY-MM"),
        (("publish", "--month", "2026-13"), "is not a date"),
        (("publish", "--month", "2999-01"), "months go from"),
        (("publish", "--month", "2026-01", "--dry-run"), "run stages 1 to 6 first"),
        (("unpublish", "o__r-1", "--reason", " "), "--reason is empty"),
        (("unpublish", "o__r-1"), "--reason is empty"),
        (("unpublish", "o__r-1", "--reason", "x"), "has no record o__r-1"),
        (("unpublish", "o__r-1", "--undo"), "o__r-1 is not withdrawn from"),
        (("get", "--to", "somewhere"), "has no version"),
        (("diff", "a", "b"), "has no version a"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    arguments: tuple[str, ...],
    why: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, told = _run(*arguments, capsys=capsys)
    assert (code, told.count("\n")) == (2, 1)
    assert why in told
    assert not any(tmp_path.iterdir())


def test_a_withdrawn_record_leaves_dataset_and_warehouse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _home(_task(1), _task(2))
    rows = material.rows(1, 2)
    _store(FORMULACODE, rows)
    loaded = settings.load()
    dataset = publication.target(loaded)
    publication.publish(dataset, "2026-01", files.table(rows))
    for _ in range(2):  # again, as after a kill
        code, out, _ = _run("unpublish", "O-x__r-1", "--reason", "it\nleaks", capsys=capsys)
        assert code == 0
        assert "O-x__r-1 is withdrawn from 2026-01" in out
    stored = Warehouse(loaded.warehouse).read("formulacode", [material.JANUARY]).read_all()
    assert stored["task_id"].to_pylist() == ["O-x__r-2"]
    _, out, _ = _run("publish", "--month", "2026-01", "--dry-run", "--json", capsys=capsys)
    assert [(r["task"], r["change"], r["reason"]) for r in json.loads(out)["records"]] == [
        ("O-x__r-2", "unchanged", ""),
        ("O-x__r-1", "left out", "withdrawn: it leaks"),
    ]
    code, out, _ = _run(
        "diff", "formulacode@2026-01", "formulacode@2026-01.1", "--json", capsys=capsys
    )
    [change] = json.loads(out)["records"]
    assert (change["task"], change["reason"]) == ("O-x__r-1", "withdrawn: it leaks")
    code, out, _ = _run("unpublish", "O-x__r-1", "--undo", capsys=capsys)
    assert (code, "fc-data publish --month 2026-01 has it again" in out) == (0, True)
    _, out, _ = _run("publish", "--month", "2026-01", "--dry-run", "--json", capsys=capsys)
    assert [(r["task"], r["change"], r["reason"]) for r in json.loads(out)["records"]] == [
        ("O-x__r-1", "added", ""),
        ("O-x__r-2", "unchanged", ""),
    ]


def test_withdrawing_undoes_nothing_that_is_written_at_the_same_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    publication.publish(publication.target(settings.load()), "2026-01", material.table(1, 2))
    _store(FORMULACODE, material.rows(2))
    lost, ended = [], threading.Event()

    def write() -> None:
        warehouse, number = Warehouse(settings.load().warehouse), 2
        while not ended.is_set():
            number += 1
            _store(FORMULACODE, material.rows(number))
            found = warehouse.read("formulacode", [material.JANUARY]).read_all()
            lost.extend({number} - {*found["issue_number"].to_pylist()})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(15):
            assert _run("unpublish", "O-x__r-1", "--reason", "x", capsys=capsys)[0] == 0
    finally:
        ended.set()
        writer.join()
    assert lost == []


def test_any_version_is_fetched(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    dataset = publication.target(settings.load())
    publication.publish(dataset, "2026-01", material.table(1))
    publication.publish(dataset, "2026-01", material.table(1, 2))
    folder = tmp_path / "got"
    code, out, _ = _run("get", "--rev", "formulacode@2026-01", "--to", str(folder), capsys=capsys)
    assert code == 0
    assert f"{folder}/data/2026-01.parquet" in out.split()
    found = files.from_parquet((folder / "data" / "2026-01.parquet").read_bytes())
    assert found["issue_number"].to_pylist() == [1]
