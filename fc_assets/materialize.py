"""From `work` to Dagster: which months a run asks for, and what its events say about them.

The only module of the graph that touches a Dagster context.
"""

import datetime
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from fc_assets import months, plan, work
from fc_assets.options import Options
from fc_assets.tables import Table
from fc_resources.settings import Settings

#: `end_offset=1` adds the running month, which is materialized again when it has ended.
MONTHS = dg.MonthlyPartitionsDefinition(start_date=months.FIRST.isoformat(), end_offset=1)

_PREVIEW_ROWS = 5
_LEFT_OUT = 50
_CELL = 60

#: Owner of every asset, as Dagster wants teams written.
OWNER = "team:formulacode"


def wanted(context: dg.AssetExecutionContext) -> list[datetime.date]:
    """The months this run was asked for."""
    return [datetime.date.fromisoformat(key) for key in context.partition_keys]


def months_of_run(tags: Mapping[str, str]) -> list[datetime.date]:
    """The months a run was launched for, from its tags: one, or a range."""
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags[PARTITION_NAME_TAG]
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or first
    end = months.following(datetime.date.fromisoformat(last))
    return months.covering(datetime.date.fromisoformat(first), end)


def metadata(table: Table) -> dict[str, Any]:
    """What Dagster and the IO manager have to know about a table's asset."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.type),
            column.doc,
            dg.TableColumnConstraints(nullable=not table.is_required(column)),
        )
        for column in table.all_columns
    ]
    return {
        "partition_expr": work.PARTITION,
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


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
    items: Iterable[tuple[datetime.date, Iterable[work.Item[Any] | work.Unlisted]]],
    do: Callable[[Any], work.Answer] | work.Batches[Any],
    *,
    settings: Settings,
    also: Sequence[Table] = (),
    concurrency: int = 8,
) -> work.Outcome:
    """`work.Work.run` for the months of a Dagster run, with counters as metadata."""
    given = plan.parameters(table.stage, options, settings)
    states = runner.ledger.progress()
    for month in wanted(context):
        plan.check_origins(table.stage, month, states, given)
    outcome = runner.run(
        table,
        items,
        do,
        also=also,
        reads=plan.READS[table.stage],
        given=functools.partial(plan.of_month, given),
        concurrency=options.n_concurrent or concurrency,
        force=options.force,
        run_id=context.run.run_id,
    )
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
        if month.left_out:
            counters["left_out"] = dg.MetadataValue.md(_left_out(month.left_out))
        for written in (table, *also):
            count = month.rows[written.name]
            rows = runner.rows(written, month.month) if count else ()
            shown = list(itertools.islice(rows, _PREVIEW_ROWS))
            context.add_asset_metadata(
                {
                    **counters,
                    "dagster/partition_row_count": count,
                    "preview": dg.MetadataValue.md(preview(written, shown)),
                },
                asset_key=written.name,
                partition_key=key,
            )
    return outcome


def preview(table: Table, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows without bulky columns as a Markdown table."""
    if not rows:
        return "no rows"
    lines = ["| " + " | ".join(table.preview) + " |", "|" + "---|" * len(table.preview)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in table.preview) + " |" for row in rows]
    return "\n".join(lines)


def _left_out(reasons: Mapping[str, str]) -> str:
    """Items without rows and why, as a Markdown table."""
    lines = ["| item | reason |", "|---|---|"]
    shown = list(reasons.items())[:_LEFT_OUT]
    lines += [f"| {_cell(key)} | {_cell(reason)} |" for key, reason in shown]
    if len(reasons) > len(shown):
        lines.append(f"| and {len(reasons) - len(shown)} more | |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Text of others must not become markup in the UI."""
    text = " ".join(str("" if value is None else value).split())
    text = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text
