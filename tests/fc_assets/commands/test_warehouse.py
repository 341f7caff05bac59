"""`fc-data warehouse` between two files; what it does with DuckLake is tested with that store."""

import json
from pathlib import Path

import pytest

from fc_resources.warehouse import Warehouse
from tests.fc_assets.commands import running
from tests.fc_resources.warehouse_contract import FEB, JAN, rows


def test_a_copy_tells_what_it_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "a.duckdb", tmp_path / "b.duckdb"
    for month in (JAN, FEB):
        Warehouse(source).replace("t", rows(month, [1, 2]))
    command = ("warehouse", "copy", str(source), str(target), "--json")
    code, told, _ = running.run(*command, capsys=capsys)
    assert code == 0
    assert json.loads(told)["tables"] == [{"table": "t", "months": 2, "copied": 2, "rows": 4}]
    assert json.loads(running.run(*command, capsys=capsys)[1])["tables"][0]["copied"] == 0
    Warehouse(target).replace("t", rows(JAN, [3]))
    code, _, error = running.run(*command, capsys=capsys)
    assert (code, error.count("\n")) == (2, 1)
    assert "2026-01" in error


def test_a_source_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.duckdb"
    code, _, error = running.run(
        "warehouse", "copy", str(source), str(tmp_path / "b"), capsys=capsys
    )
    assert (code, "is not there" in error, source.exists()) == (2, True, False)


def test_a_file_needs_no_maintenance(capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = running.run("warehouse", "maintain", "--json", capsys=capsys)
    assert (code, json.loads(told)) == (0, {"done": []})


def test_a_lake_wants_a_data_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FC_WAREHOUSE", "ducklake:postgres:")
    code, _, error = running.run("warehouse", "maintain", capsys=capsys)
    assert (code, "FC_WAREHOUSE_DATA" in error) == (2, True)
