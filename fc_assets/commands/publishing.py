"""`publish`, `unpublish`, `get` and `diff`: the dataset as stage 7 makes it, and its versions."""

import datetime
import re
from pathlib import Path
from typing import Any

import click

from fc_assets.commands.output import json_option, show
from fc_resources import settings as settings_module
from fc_resources.errors import UsageError


@click.command()
@click.option("--month", "label", required=True, help="YYYY-MM.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and why the rest stays out.")
@click.option(
    "--force", is_flag=True, help="Make every record again, and see that its image is there."
)
@json_option
def publish(label: str, dry_run: bool, force: bool, as_json: bool) -> int:
    """Publish a month: images, then a version of the dataset if its records changed."""
    from fc_assets import months

    if not re.fullmatch(r"\d{4}-\d{2}", label):
        raise UsageError(f"month {label!r} is not a month; write YYYY-MM")
    month = months.parse(f"{label}-01", "month")
    months.covering(month, months.following(month))
    settings = settings_module.current()
    if not dry_run:
        from fc_assets import cli
        from fc_assets.options import Options

        return cli.run(settings, Options(force=force), [7], [month], resume=False)
    _show_preview(settings, month, as_json)
    return 0


def _show_preview(settings: settings_module.Settings, month: datetime.date, as_json: bool) -> None:
    from fc_assets.formulacode import preview
    from fc_assets.formulacode.images import known
    from fc_resources.registry import Registry

    _has_warehouse(settings)
    registry = Registry.of(settings)
    told = preview.of_home(
        month, settings, lambda task: known(registry, task) if registry else None
    )
    show({"summary": [preview.summary(told)], "records": told}, as_json)


@click.command()
@click.argument("task_id")
@click.option("--reason", default="", help="Kept in the dataset, for everybody to read.")
@click.option("--undo", is_flag=True, help="Take a withdrawal back.")
def unpublish(task_id: str, reason: str, undo: bool) -> None:
    """Withdraw a record, such as numpy__numpy-123: no later run publishes it."""
    from fc_assets import texts
    from fc_assets.formulacode import publication
    from fc_assets.tables import FORMULACODE
    from fc_resources.warehouse import Warehouse

    settings = settings_module.current()
    dataset = publication.target(settings)
    if undo:
        label = publication.restore(dataset, task_id)
        click.echo(f"{task_id} is not withdrawn; fc-data publish --month {label} has it again")
        return
    reason = " ".join(texts.printable(reason).split())
    if not reason:
        raise UsageError("--reason is empty; say why")
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    label = publication.withdraw(dataset, task_id, reason, now)
    # Its item then counts as lost: the next run finds that it was withdrawn.
    warehouse = Warehouse.of(settings)
    warehouse.remove(FORMULACODE.name, "task_id", task_id)
    click.echo(f"{task_id} is withdrawn from {label} of {dataset.name}; its image stays")


@click.command()
@click.option("--rev", help="Version such as formulacode@2026-01; default the newest.")
@click.option("--to", "folder", type=Path, required=True, help="Folder to be made.")
def get(rev: str | None, folder: Path) -> None:
    """Fetch a version of the dataset as Parquet, checked against its hashes."""
    from fc_assets.formulacode import publication

    dataset = publication.target(settings_module.current())
    for path in publication.fetch(dataset, rev, folder.absolute()):
        click.echo(path)


@click.command()
@click.argument("rev1")
@click.argument("rev2")
@json_option
def diff(rev1: str, rev2: str, as_json: bool) -> None:
    """Say what changed from one version of the dataset to another."""
    from fc_assets.formulacode import publication

    found = publication.compare(publication.target(settings_module.current()), rev1, rev2)
    show({"records": found}, as_json)


def _has_warehouse(settings: Any) -> None:
    if not settings.has_warehouse:
        raise UsageError(f"{settings.fc_home} has no warehouse; run stages 1 to 6 first")
