"""What Dagster loads: quickly, without touching the disk, with everything a person wants to see."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fc_assets import fingerprint, materialize
from fc_assets.definitions import build_defs
from fc_assets.tables import STAGES, TABLES


@pytest.fixture(scope="module")
def graph() -> Any:
    return build_defs().resolve_asset_graph()


def test_loading_creates_no_file_and_imports_no_model_client(tmp_path: Path) -> None:
    home = tmp_path / "never"
    code = (
        "import json, sys, fc_assets.definitions as d; d.defs.get_repository_def();"
        "print(json.dumps(sorted(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FC_HOME": str(home)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert not home.exists()
    # Costly imports would make every load of the code location slow.
    assert not {"dspy", "huggingface_hub", "pandas", "litellm"} & set(json.loads(out.stdout))


def test_every_asset_tells_what_it_is(graph: Any) -> None:
    for table in TABLES:
        node = graph.get(dg.AssetKey(table.name))
        assert node.description == table.doc
        assert node.group_name != "default"
        assert node.owners
        assert node.kinds
        assert (
            node.metadata["dagster/column_schema"]
            == materialize.metadata(table)["dagster/column_schema"]
        )


def test_cheap_stages_backfill_in_one_run_and_costly_ones_by_month(graph: Any) -> None:
    for table in TABLES:
        policy = graph.get(dg.AssetKey(table.name)).backfill_policy
        wanted = None if table.stage < 6 else 1
        assert policy is not None
        assert policy.max_partitions_per_run == wanted


def test_every_table_has_blocking_checks(graph: Any) -> None:
    for table in TABLES:
        keys = [k for k in graph.asset_check_keys if k.asset_key == dg.AssetKey(table.name)]
        names = {key.name for key in keys} - {"up_to_date"}
        expected = {"key_unique", "required_present", "inside_month"}
        assert names == expected | ({"upstream_present"} if table.upstream else set())
        assert all(graph.get_check_spec(key).blocking == (key.name in names) for key in keys)


def test_every_asset_has_the_version_of_its_code(graph: Any) -> None:
    for table in TABLES:
        found = fingerprint.of(STAGES[table.stage].name).version
        assert graph.get(dg.AssetKey(table.name)).code_version == found
