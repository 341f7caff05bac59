"""`fc-data ledger`: where the state of all items is; what it says is for the other commands."""

import dataclasses
from pathlib import Path

import click

from fc_assets.commands import output
from fc_resources import settings as settings_module
from fc_resources.errors import UsageError


@click.group()
def ledger() -> None:
    """Move the state of all months and items to another place."""


@ledger.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@output.json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy all that is known to a place that knows nothing, or only what this copied before.

    A place is the path of a .sqlite file or what FC_LEDGER can be, such as
    postgresql://user@host/database. Every row is compared after it was written; interrupted or
    refused, nothing is copied. Stop the daemon first: nothing may be written meanwhile.
    """
    from fc_resources.ledger_copy import Copyable

    settings = settings_module.current()
    urls = [settings_module.ledger_at(place) for place in (source, target)]
    if urls[0].startswith("sqlite:") and not Path(source).exists():
        raise UsageError(f"{source} is not there")
    before, after = map(Copyable, urls)
    found = before.copy_to(after, settings.fc_home)
    output.show({"tables": [dataclasses.asdict(table) for table in found]}, as_json)
