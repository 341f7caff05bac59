"""The declarations of tables: consistent among themselves, strict about rows."""

import datetime

import dagster as dg
import pyarrow as pa
import pytest

from fc_assets import materialize, plan
from fc_assets.definitions import build_defs
from fc_assets.tables import FORMULACODE, PACKAGES, REPOSITORIES, STAGES, TABLES
from fc_resources.errors import PermanentError

_ROW = {
    "partition_month": datetime.date(2026, 1, 1),
    "owner": "o",
    "repo": "r",
    "origin": "offline",
    "aliases": [],
}


def test_keys_and_references_name_columns_that_exist() -> None:
    for table in TABLES:
        assert set(table.key) <= set(table.schema.names)
        if table.upstream is not None:
            assert set(table.refers) <= set(table.schema.names)
            assert set(table.refers.values()) <= set(table.upstream.schema.names)


def test_every_column_is_documented() -> None:
    assert [c.name for t in TABLES for c in t.all_columns if not c.doc.endswith(".")] == []


def test_an_asset_depends_on_exactly_the_tables_its_plan_reads() -> None:
    graph = build_defs().resolve_asset_graph()
    for table in TABLES:
        parents = {key.to_user_string() for key in graph.get(dg.AssetKey(table.name)).parent_keys}
        assert parents == {upstream.name for upstream in plan.READS[table.stage]}


def test_every_stage_has_a_table() -> None:
    assert sorted(STAGES) == list(range(1, 8))


def test_a_row_becomes_arrow_in_declared_types() -> None:
    batch = REPOSITORIES.batch([_ROW])
    assert batch.schema == REPOSITORIES.schema
    assert batch.schema.field("partition_month").type == pa.date32()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "has no column colour"),
        ({"owner": None}, "repositories.owner has no value"),
        ({"stars": "many"}, "repositories: "),
    ],
)
def test_a_row_that_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        REPOSITORIES.batch([{**_ROW, **change}])


def test_key_columns_are_never_null_in_the_schema_people_see() -> None:
    schema = materialize.metadata(PACKAGES)["dagster/column_schema"]
    columns = {c.name: c for c in schema.columns}
    assert not columns["sha"].constraints.nullable
    assert columns["python_version"].constraints.nullable


def test_lineage_names_columns_that_exist_of_tables_that_are_read() -> None:
    tables = {table.name: table for table in TABLES}
    for table in TABLES:
        assert set(table.lineage) <= set(table.schema.names), table.name
        for column, sources in table.lineage.items():
            assert sources, column
            for other, theirs in sources:
                assert theirs in tables[other].schema.names, (table.name, column)
                assert tables[other] in plan.READS[table.stage], (table.name, column)


def test_of_a_record_only_what_publishing_adds_comes_from_nowhere() -> None:
    outside = set(FORMULACODE.schema.names) - set(FORMULACODE.lineage)
    assert outside == {"pipeline", "published_at"}


def test_people_and_programs_are_told_where_a_column_comes_from() -> None:
    schema = materialize.metadata(PACKAGES)["dagster/column_schema"]
    [sha] = [column for column in schema.columns if column.name == "sha"]
    assert sha.description == "The merge commit. From `pr_classifications.merge_commit_sha`."
    [found] = materialize.lineage(PACKAGES).deps_by_column["sha"]
    assert found == dg.TableColumnDep(dg.AssetKey("pr_classifications"), "merge_commit_sha")


def test_a_chart_counts_a_column_that_exists() -> None:
    charts = {table.name: table.chart for table in TABLES if table.chart}
    assert len(charts) >= 5
    for table in TABLES:
        assert table.chart is None or table.chart in table.schema.names
