"""Blocking checks of every table, made from its declaration: a month that fails one stops there.

They read the month as it was written; row-level rules of one stage are that stage's.
"""

import datetime
from collections.abc import Iterator

import dagster as dg

from fc_assets import materialize
from fc_assets.tables import TABLES, Table
from fc_resources.ledger import Ledger
from fc_resources.warehouse import PARTITION, Warehouse


def all_checks() -> list[dg.AssetChecksDefinition]:
    """One definition a table with its four checks."""
    return [_checks(table) for table in TABLES]


def _checks(table: Table) -> dg.AssetChecksDefinition:
    # Without partitions: Dagster 1.13 cannot say which month a result of a range is for, and
    # shows such checks as not executed. A run over several months is checked as a whole.
    specs = [
        dg.AssetCheckSpec(name, asset=table.name, blocking=True, description=says)
        for name, says in _describe(table).items()
    ]

    @dg.multi_asset_check(specs=specs, name=f"{table.name}_checks")
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = materialize.months_of_run(context.run.tags)
        broken = violations(table, wanted, warehouse)
        if any(broken.values()):
            # Dagster stops this run; the ledger stops every other that would build on it.
            for month in wanted:
                ledger.mark_refused(table.name, month)
        for name, found in broken.items():
            yield dg.AssetCheckResult(
                passed=not found, check_name=name, asset_key=table.name, metadata={"rows": found}
            )

    return check


def _describe(table: Table) -> dict[str, str]:
    says = {
        "key_unique": f"No two rows of a month have the same {', '.join(table.key)}.",
        "required_present": "No key and no required column is null.",
        "inside_month": "Every row is in the month its date falls into, in UTC.",
    }
    if table.upstream is not None:
        says["upstream_present"] = f"Every row has its row in {table.upstream.name}."
    return says


def violations(table: Table, wanted: list[datetime.date], warehouse: Warehouse) -> dict[str, int]:
    """Number of rows (or keys) of the wanted months that break each rule."""
    dates = ", ".join(f"DATE '{month.isoformat()}'" for month in wanted)
    rows = f"(FROM fc.{table.name} WHERE {PARTITION} IN ({dates}))"
    key = ", ".join((PARTITION, *table.key))
    required = [c.name for c in table.all_columns if table.is_required(c)]
    missing = " OR ".join(f"{name} IS NULL" for name in required)
    moment = next((n for n in ("merged_at", "date") if n in table.schema.names), PARTITION)
    outside = f"date_trunc('month', {moment}) <> {PARTITION}"
    queries = {
        "key_unique": f"FROM (FROM {rows} SELECT {key} GROUP BY ALL HAVING count(*) > 1)",
        "required_present": f"FROM {rows} WHERE {missing}",
        "inside_month": f"FROM {rows} WHERE {outside}",
    }
    if table.upstream is not None:
        same = " AND ".join(f"o.{mine} = u.{theirs}" for mine, theirs in table.refers.items())
        # Not EXISTS: DuckDB would carry every column of the rows along, 200 MB of them.
        queries["upstream_present"] = (
            f"FROM (FROM {rows} SELECT {PARTITION}, {', '.join(table.refers)}) o "
            f"ANTI JOIN fc.{table.upstream.name} u ON {same} AND u.{PARTITION} = o.{PARTITION}"
        )
    return warehouse.counts(queries)
