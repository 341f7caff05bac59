"""Blocking checks of every table, made from its declaration: a month that fails one stops there.

They read the month as it was written; row-level rules of one stage are that stage's. One more
stops nothing: it lists months of all tables that are not what they would be today.
"""

import datetime
from collections.abc import Iterator

import dagster as dg

from fc_assets import materialize, months
from fc_assets.options import Options
from fc_assets.tables import FORMULACODE, STAGES, TABLES, Table
from fc_assets.why import Situation, few
from fc_resources.ledger import Ledger
from fc_resources.settings import Settings
from fc_resources.warehouse import PARTITION, Warehouse

#: Reasons that a run by itself does away with, whatever it is given.
_LASTING = ("unfinished", "failed before", "new input", "changed code")


def all_checks() -> list[dg.AssetChecksDefinition]:
    """One definition a table with its four checks, and `up_to_date`."""
    return [*(_checks(table) for table in TABLES), up_to_date]


@dg.asset_check(
    asset=FORMULACODE.name,
    description="No month of any table failed, or was made from other code or input than today's.",
)
def up_to_date(
    settings: dg.ResourceParam[Settings],
    options: dg.ResourceParam[Options],
    ledger: dg.ResourceParam[Ledger],
) -> dg.AssetCheckResult:
    found = outdated(Situation.of(settings, options, ledger))
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "months": len(found),
            "outdated": dg.MetadataValue.md(materialize.reasons("month", found)),
        },
    )


def outdated(situation: Situation) -> dict[str, str]:
    """Months that failed or are outdated, and why: what `fc-data explain` says, but for parameters.

    A run may be given others than the one that is asked here. Months that are being made are
    left out.
    """
    found = {}
    for stage, month in situation.known():
        verdict = situation.verdict(stage, month)
        lasting = [reason.text for reason in verdict.reasons if reason.kind in _LASTING]
        lasting += [f"outdated: {few(verdict.changed)}"] if verdict.outdated else []
        if lasting:
            found[f"{STAGES[stage].name} {months.label(month)}"] = "; ".join(lasting)
    return found


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
