"""`fc-data warehouse`: where the tables are, and what keeps that place small."""

from pathlib import Path

import click

from fc_assets.commands import output
from fc_resources import settings as settings_module
from fc_resources.errors import UsageError


@click.group()
def warehouse() -> None:
    """Move the tables to another place, and tidy up where they are."""


@warehouse.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@output.json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy all tables to a place that has none of them, or only what an earlier copy wrote.

    A place is the path of a .duckdb file or what FC_WAREHOUSE can be, such as
    ducklake:postgres:dbname=formulacode (with FC_WAREHOUSE_DATA). Every month is compared by its
    number of rows and a hash of them. Stop the daemon first: nothing may be written meanwhile.
    """
    from fc_resources.warehouse import Warehouse
    from fc_resources.warehouse_copy import copy as copy_all

    settings = settings_module.current()
    if not source.startswith("ducklake:") and not Path(source).exists():
        raise UsageError(f"{source} is not there")
    tables: dict[str, dict[str, int | str]] = {}
    for month in copy_all(Warehouse.of(settings, source), Warehouse.of(settings, target)):
        row = tables.setdefault(
            month.table, {"table": month.table, "months": 0, "copied": 0, "rows": 0}
        )
        for name, more in (("months", 1), ("copied", month.written), ("rows", month.rows)):
            row[name] = int(row[name]) + more
    output.show({"tables": [*tables.values()]}, as_json)


@warehouse.command()
@output.json_option
def maintain(as_json: bool) -> None:
    """Merge small files, and remove what is older than FC_SNAPSHOT_DAYS and nobody reads.

    The daemon does it once a day. A DuckDB file has nothing to be removed.
    """
    from fc_resources.warehouse import Warehouse

    settings = settings_module.current()
    done = Warehouse.of(settings).maintain(settings.fc_snapshot_days)
    output.show({"done": [{"what": what, "count": count} for what, count in done.items()]}, as_json)
