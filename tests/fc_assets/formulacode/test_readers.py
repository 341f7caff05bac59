"""What was published, as users read it: `datasets` and DuckDB, from a folder and from the Hub."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import huggingface_hub.constants
import pytest

from fc_assets.formulacode import files, publication
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.huggingface import Hub
from tests.fakes.hub import TOKEN, FakeHub
from tests.fc_assets.formulacode import material

_LOAD = """
import json, os, sys, datasets
datasets.disable_progress_bars()
place, configs = sys.argv[1], json.loads(sys.argv[2])
found = {}
for config in configs:
    revision = os.environ.get("REVISION")
    rows = datasets.load_dataset(place, config, split="train", revision=revision)
    found[config or "default"] = sorted(rows["task_id"])
print(json.dumps(found))
"""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with FakeHub() as fake:
        yield fake


def _load(place: str, home: Path, configs: list[str | None], **environment: str) -> Any:
    """Task ids by configuration, as a process of a user without our packages sees them."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, place, json.dumps(configs)],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environment},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _publish(dataset: Any) -> None:
    mixed = [*material.rows(1), *material.rows(2, verdict=None)]
    publication.publish(dataset, "2026-01", files.table(mixed))
    february = {"month": datetime.date(2026, 2, 1), "verdict": "not_faster"}
    publication.publish(dataset, "2026-02", material.table(3, **february))


_WANTED = {
    "default": ["O-x__r-1", "O-x__r-2", "O-x__r-3"],
    "2026-01": ["O-x__r-1", "O-x__r-2"],
    "2026-02": ["O-x__r-3"],
    "verified": ["O-x__r-1"],
}
_CONFIGS = [None, "2026-01", "2026-02", "verified"]


def test_datasets_load_from_a_folder_and_from_what_was_fetched(tmp_path: Path) -> None:
    dataset = DatasetFolder(tmp_path / "published")
    _publish(dataset)
    assert _load(str(dataset.path), tmp_path / "hf", _CONFIGS) == _WANTED
    publication.fetch(dataset, "formulacode@2026-01", tmp_path / "old")
    assert _load(str(tmp_path / "old"), tmp_path / "hf", [None]) == {"default": _WANTED["2026-01"]}


def test_datasets_load_from_the_hub(fake: FakeHub, tmp_path: Path) -> None:
    _publish(Hub("o/data", tmp_path / "cache", TOKEN, fake.url))
    told = _load("o/data", tmp_path / "hf", _CONFIGS, HF_ENDPOINT=fake.url)
    assert told == _WANTED
    old = "formulacode@2026-01"
    told = _load("o/data", tmp_path / "hf", [None], HF_ENDPOINT=fake.url, REVISION=old)
    assert told == {"default": _WANTED["2026-01"]}


def test_duckdb_reads_the_files(tmp_path: Path) -> None:
    dataset = DatasetFolder(tmp_path / "published")
    _publish(dataset)
    with duckdb.connect() as con:
        rows = con.execute(
            "SELECT task_id, best, len(checks), date FROM read_parquet(?) ORDER BY 1",
            [f"{dataset.path}/data/*.parquet"],
        ).fetchall()
    assert [row[:3] for row in rows] == [(task, 1.4, 5) for task in _WANTED["default"]]
    assert rows[0][3].tzinfo is not None
