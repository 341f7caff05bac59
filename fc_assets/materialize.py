"""From `work` to Dagster: which months a run asks for, and what its events say about them.

The only module of the graph that touches a Dagster context.
"""

import dataclasses
import datetime
import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from fc_assets import charts, months, plan, work
from fc_assets.lock_files import LockFiles
from fc_assets.options import Options
from fc_assets.provenance import Provenance
from fc_assets.tables import Table
from fc_assets.why import Situation
from fc_resources import living
from fc_resources.settings import Settings

#: `end_offset=1` adds the running month, which is materialized again when it has ended.
MONTHS = dg.MonthlyPartitionsDefinition(start_date=months.FIRST.isoformat(), end_offset=1)

_PREVIEW_ROWS = 5
_LISTED = 50
_CELL, _REASON = 60, 250

_Listed = work.Item[Any] | work.Unlisted

#: Owner of every asset, as Dagster wants teams written.
OWNER = "team:formulacode"


def wanted(context: dg.AssetExecutionContext) -> list[datetime.date]:
    """The months this run was asked for."""
    return [datetime.date.fromisoformat(key) for key in context.partition_keys]


def months_of_run(tags: Mapping[str, str]) -> list[datetime.date]:
    """The months a run was launched for, from its tags: one, a range, or none."""
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags.get(PARTITION_NAME_TAG)
    if first is None:
        return []
    last = datetime.date.fromisoformat(tags.get(ASSET_PARTITION_RANGE_END_TAG) or first)
    found = [datetime.date.fromisoformat(first)]
    while found[-1] < last:
        found.append(months.following(found[-1]))
    return found


def metadata(table: Table) -> dict[str, Any]:
    """What Dagster and the IO manager have to know about a table's asset."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.type),
            " ".join((column.doc, *_sources(table, column.name))),
            dg.TableColumnConstraints(nullable=not table.is_required(column)),
        )
        for column in table.all_columns
    ]
    return {
        "partition_expr": work.PARTITION,
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


def _sources(table: Table, column: str) -> Iterator[str]:
    """Where a column comes from, in words: pictures of column lineage are not in every edition."""
    if column in table.lineage:
        of = ", ".join(f"`{other}.{theirs}`" for other, theirs in table.lineage[column])
        yield f"From {of}."


_CONFIG_TYPES: dict[Any, Any] = {
    bool: bool,
    int: int,
    str: str,
    int | None: dg.Noneable(int),
    str | None: dg.Noneable(str),
}


def launch_options() -> dg.ResourceDefinition:
    """The `options` resource, with a field in the launchpad for every option of a run."""
    fields = {
        name: dg.Field(
            _CONFIG_TYPES[field.annotation],
            default_value=field.default,
            description=field.description,
        )
        for name, field in Options.model_fields.items()
    }
    return dg.ResourceDefinition(
        lambda context: Options(**context.resource_config), config_schema=fields
    )


def run(
    context: dg.AssetExecutionContext,
    runner: work.Work,
    options: Options,
    table: Table,
    items: Iterable[tuple[datetime.date, Iterable[_Listed]]],
    do: Callable[[Any], work.Answer] | work.Batches[Any],
    *,
    settings: Settings,
    also: Sequence[Table] = (),
    concurrency: int = 8,
) -> work.Outcome:
    """`work.Work.run` for the months of a Dagster run, with counters as metadata.

    Months that other code made are computed anew where that costs little, see `why`; the rows that
    are written bring their lock files along.
    """
    given = plan.parameters(table.stage, options, settings)
    states = runner.ledger.progress()
    for month in wanted(context):
        plan.check_origins(table.stage, month, states, given)
    again = anew(context, runner, options, table, settings)
    if again and not options.force:
        items = ((month, _again(part) if month in again else part) for month, part in items)
    provenance = Provenance(
        LockFiles(settings.fc_home),
        runner.ledger,
        (table, *also),
        wanted(context),
        context.run.run_id,
    )
    home, patience_s = settings.fc_home, settings.fc_lock_timeout_s
    with living.registered(home, table.name, context.run.run_id, patience_s) as worker:
        outcome = runner.run(
            table,
            items,
            do,
            also=also,
            reads=plan.READS[table.stage],
            given=functools.partial(plan.of_month, given),
            concurrency=options.n_concurrent or concurrency,
            force=options.force,
            worker=worker,
        )
    outcome = provenance.noted(outcome, again)
    spent = runner.ledger.spent()
    for month in outcome.months:
        key = months.key(month.month)
        counters: dict[str, Any] = {
            "items": month.total,
            "done": month.done,
            "skipped": month.skipped,
            "failed": month.failed,
            "unknown": month.unknown,
            "seconds": round(month.seconds, 3),
        }
        if (usage := spent.get((table.name, month.month))) is not None:
            counters["tokens"] = usage.input_tokens + usage.output_tokens
            counters["dollars"] = usage.dollars
        if month.left_out:
            counters["left_out"] = dg.MetadataValue.md(reasons("item", month.left_out))
        if failures := runner.ledger.reasons(table.name, month.month):
            counters["failures"] = dg.MetadataValue.md(reasons("item", failures))
        for written in (table, *also):
            count = month.rows[written.name]
            rows = iter(runner.rows(written, month.month) if count else ())
            shown = list(itertools.islice(rows, _PREVIEW_ROWS))
            context.add_asset_metadata(
                {
                    **counters,
                    "dagster/partition_row_count": count,
                    "dagster/column_lineage": lineage(written),
                    "preview": dg.MetadataValue.md(preview(written, shown)),
                    **_chart(runner, written, month.month, count, itertools.chain(shown, rows)),
                },
                asset_key=written.name,
                partition_key=key,
            )
    return outcome


def lineage(table: Table) -> dg.TableColumnLineage:
    """Which columns of other tables each column comes from, as Dagster has it."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=other, column_name=theirs) for other, theirs in of]
            for name, of in table.lineage.items()
        }
    )


def _chart(
    runner: work.Work,
    table: Table,
    month: datetime.date,
    count: int,
    rows: Iterable[Mapping[str, Any]],
) -> dict[str, dg.MetadataValue]:
    """How often the values of the declared column come, as a picture: of months, in all of them."""
    if table.chart is None:
        return {}
    if table.chart == work.PARTITION:
        written = {**runner.warehouse.tables().get(table.name, {}), month: count}
        newest = sorted(written.items())[-charts.BARS :]
        counts = {months.label(of): rows for of, rows in newest}
    else:
        counts = charts.counted(row[table.chart] for row in rows)
    return {f"by {table.chart}": dg.MetadataValue.md(charts.bars(counts))} if counts else {}


def anew(
    context: dg.AssetExecutionContext,
    runner: work.Work,
    options: Options,
    table: Table,
    settings: Settings,
) -> set[datetime.date]:
    """Months of this run whose finished items are computed again: forced, or by other code."""
    situation = Situation.of(settings, options, runner.ledger)
    return situation.anew(table.stage, wanted(context))


def _again(items: Iterable[_Listed]) -> Iterable[_Listed]:
    """Each item to be computed even if it is finished; one that is listed twice once."""
    seen: set[str] = set()

    def each() -> Iterator[_Listed]:
        for item in items:
            due = isinstance(item, work.Item) and item.key not in seen
            seen.add(item.key)
            yield dataclasses.replace(item, again=True) if due else item

    # Of a collection it is known beforehand how many there are.
    return list(each()) if isinstance(items, Collection) else each()


def preview(table: Table, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows without bulky columns as a Markdown table."""
    if not rows:
        return "no rows"
    lines = ["| " + " | ".join(table.preview) + " |", "|" + "---|" * len(table.preview)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in table.preview) + " |" for row in rows]
    return "\n".join(lines)


def reasons(what: str, found: Mapping[str, str]) -> str:
    """The first of what there is, each with its reason, as a Markdown table."""
    lines = [f"| {what} | reason |", "|---|---|"]
    shown = list(found.items())[:_LISTED]
    lines += [f"| {_cell(key)} | {_cell(reason, _REASON)} |" for key, reason in shown]
    if len(found) > len(shown):
        lines.append(f"| and {len(found) - len(shown)} more | |")
    return "\n".join(lines)


def _cell(value: object, limit: int = _CELL) -> str:
    """Text of others must not become markup in the UI."""
    text = " ".join(str("" if value is None else value).split())
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text
