"""`fc-data explain`: what would run, per stage and month, and why; nothing is written."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc_assets import months
from fc_assets.commands import choice, home, output
from fc_resources import settings as settings_module
from fc_resources.errors import UsageError

if TYPE_CHECKING:
    from fc_assets.why import Verdict


@click.command()
@choice.stages_and_months
@choice.of_runs
@click.option("--force", is_flag=True, help="As if finished items were to be computed again.")
@click.option("--items", is_flag=True, help="Also the items that would run, as far as is known.")
@output.json_option
def explain(
    stages: set[int],
    wanted: set[datetime.date] | None,
    offline_source: Path | None,
    items: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """What would run with `--resume`, and why: new input, changed code or parameters, failures.

    Give it the options that the run will have. Without --month: all months that ever ran. What is
    costly is not run again because code changed, but shown as outdated; --force runs it.
    """
    from fc_assets.options import Options
    from fc_assets.why import Situation

    settings, ledger = settings_module.current(), home.ledger(settings_module.current())
    path = str(offline_source) if offline_source else None
    options = Options(offline_source=path, **choices)
    chosen = wanted or ({month for _, month in ledger.progress()} if ledger else set())
    if not chosen:
        raise UsageError("nothing has run yet; name months with --month")
    verdicts = Situation.of(settings, options, ledger).verdicts(sorted(stages), sorted(chosen))
    found: dict[str, Any] = {"months": _for_programs(verdicts) if as_json else _ranges(verdicts)}
    if items and ledger is not None:
        from fc_assets.due import Items  # with Dagster, which what is above need not wait for
        from fc_resources.warehouse import Warehouse

        warehouse = Warehouse.of(settings)
        due = Items(settings, options, ledger, warehouse)
        found["items"] = [
            _where(verdict) | {"item": item.item, "why": item.kind, "what": item.text}
            for verdict in verdicts
            for item in due.due(verdict)
        ]
    output.show(found, as_json)


def _where(verdict: "Verdict") -> dict[str, Any]:
    from fc_assets.tables import STAGES  # with Arrow, which `--help` need not wait for

    table = STAGES[verdict.stage].name
    return {"stage": verdict.stage, "table": table, "month": months.label(verdict.month)}


def _for_programs(verdicts: "Iterable[Verdict]") -> list[dict[str, Any]]:
    return [
        _where(verdict)
        | {
            "runs": verdict.runs,
            "reasons": [vars(reason) for reason in verdict.reasons],
            "changed": list(verdict.changed),
            "outdated": verdict.outdated,
            "says": str(verdict),
        }
        for verdict in verdicts
    ]


def _ranges(verdicts: "Sequence[Verdict]") -> list[dict[str, Any]]:
    """A line for months that follow each other and of which the same is to be said."""
    rows: list[dict[str, Any]] = []
    before: Verdict | None = None
    for verdict in verdicts:
        month = months.label(verdict.month)
        if (
            before is not None
            and (verdict.stage, str(verdict)) == (before.stage, str(before))
            and verdict.month == months.following(before.month)
        ):
            rows[-1]["month"] = f"{rows[-1]['month'].partition(' ')[0]} to {month}"
        else:
            says = {"runs": "yes" if verdict.runs else "no", "why": str(verdict)}
            rows.append(_where(verdict) | says)
        before = verdict
    return rows
