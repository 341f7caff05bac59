"""`fc-data usage`: what models and coding agents cost, as the ledger noted it of every answer."""

from collections.abc import Mapping
from typing import Any

import click

from fc_assets import months
from fc_assets.commands import home, output
from fc_resources import settings as settings_module
from fc_resources.ledger import Bill, Split

#: What people call it, and the ledger.
_BY: Mapping[str, Split] = {
    "month": "asked",
    "stage": "stage",
    "model": "model",
    "repository": "repository",
}


@click.command()
@click.option("--by", type=click.Choice([*_BY]), multiple=True, help="Only this table; repeat.")
@output.json_option
def usage(by: tuple[str, ...], as_json: bool) -> None:
    """What models and coding agents cost, by month, stage, model and repository.

    The month is the one in which the money was spent, in UTC; what the pull requests of a month
    took is in `fc-data status`. Dollars are without answers that have no price (unpriced).
    """
    ledger = home.ledger(settings_module.current())
    found = {}
    for name in by or _BY:
        bills = ledger.bills(_BY[name]) if ledger else []
        found[f"by_{name}"] = [{name: _of(bill, name), **_row(bill)} for bill in bills]
    output.show(found, as_json)


def _of(bill: Bill, name: str) -> str:
    value = getattr(bill, _BY[name])
    return months.label(value) if name == "month" else value


def _row(bill: Bill) -> dict[str, Any]:
    took = bill.usage
    return {
        "items": bill.items,
        "answers": bill.answers,
        "input_tokens": took.input_tokens,
        "cached_tokens": took.cached_tokens,
        "output_tokens": took.output_tokens,
        "dollars": took.dollars,
        "unpriced": bill.unpriced,
    }
