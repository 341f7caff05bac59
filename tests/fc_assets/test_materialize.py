"""What the web interface is told of a month that was materialized, from the events of real runs."""

import dagster as dg
import pytest

from fc_assets import materialize
from fc_assets.tables import PR_CLASSIFICATIONS, PULL_REQUESTS
from tests import samples

_JUDGE = ("--start-date", "2026-01-01", "--end-date", "2026-03-01")
_STAGES = ("--stage", 1, "--stage", 2, "--stage", 3)


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], dg.AssetMaterialization]:
    """Materializations of the sample's first stages, by table and partition."""
    home = samples.home_with_sample(tmp_path_factory.mktemp("told") / "home")
    done = samples.fc_data(home, *_JUDGE, *_STAGES)
    assert done.returncode == 0, done.stderr
    found = {}
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        for table in (PULL_REQUESTS, PR_CLASSIFICATIONS):
            records = instance.fetch_materializations(dg.AssetKey(table.name), limit=10).records
            for record in records:
                assert record.asset_materialization is not None
                found[table.name, record.partition_key] = record.asset_materialization
    return found


def test_a_month_has_counters_and_a_picture_of_what_the_table_declares(
    told: dict[tuple[str, str], dg.AssetMaterialization],
) -> None:
    metadata = told["pr_classifications", "2026-01-01"].metadata
    assert metadata["items"].value == metadata["dagster/partition_row_count"].value == 9
    picture = metadata["by category"].value
    assert isinstance(picture, str)
    assert picture.startswith("![none 5, ")
    assert "](data:image/svg+xml;base64," in picture
    assert not any(name.startswith("by ") for name in told["pull_requests", "2026-01-01"].metadata)


def test_every_month_has_the_lineage_of_its_columns(
    told: dict[tuple[str, str], dg.AssetMaterialization],
) -> None:
    assert len(told) == 4
    for (name, _), event in told.items():
        [table] = [t for t in (PULL_REQUESTS, PR_CLASSIFICATIONS) if t.name == name]
        found = event.metadata["dagster/column_lineage"].value
        assert found == materialize.lineage(table)


def test_what_is_told_of_a_month_has_a_few_kilobytes(
    told: dict[tuple[str, str], dg.AssetMaterialization],
) -> None:
    assert all(len(dg.serialize_value(event)) < 20_000 for event in told.values())
