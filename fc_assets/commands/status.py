"""`fc-data status`: where every month of every stage stands, and what everybody waits for."""

import contextlib
import datetime
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import click
import rich.console
import rich.live
import rich.text

from fc_assets import months
from fc_assets.commands import choice, home, output
from fc_resources import living
from fc_resources import settings as settings_module
from fc_resources.ledger import Progress, Usage

_REFRESH_S = 1.0
_Found = dict[str, list[dict[str, Any]]]


@click.command()
@choice.stages_and_months
@click.option("--watch", is_flag=True, help="What is not done, until nothing runs, or Ctrl-C.")
@output.json_option
def status(stages: set[int], wanted: set[datetime.date] | None, watch: bool, as_json: bool) -> None:
    """Where every month of every stage stands, what it took, and what is waited for.

    Months are put off until a limit ends; pauses hold for everybody who asks the same.

    Tokens and dollars are what the items of a month took, whenever that was; the rate is items per
    second of the run that is going on, or else of the last one.
    """
    if watch:
        _watch(lambda: _look(stages, wanted), as_json)
    else:
        found = _look(stages, wanted)
        output.show(found if as_json else _for_people(found, found["months"]), as_json)


def _look(stages: Collection[int], wanted: Collection[datetime.date] | None) -> _Found:
    settings = settings_module.current()
    ledger = home.ledger(settings)
    if ledger is None:
        return {"months": [], "put_off": [], "pauses": []}
    # Before and after, so that a run that ends or begins in between is not taken for dead.
    alive = living.alive(settings.fc_home) | ledger.at_work_now(settings.fc_home)
    states = ledger.progress()
    alive |= living.alive(settings.fc_home)
    now, spent = datetime.datetime.now(datetime.UTC), ledger.spent()
    chosen = {k: v for k, v in states.items() if choice.chosen(k[1], wanted)}
    pauses = [
        {"name": name, "until": _utc(pause.until), "reason": pause.reason}
        for name, pause in sorted(ledger.pauses().items())
    ]
    rows = [row for row in standing(chosen, spent, alive, now) if row["stage"] in stages]
    shown = {(row["table"], row["month"]) for row in rows}
    put_off = [
        {
            "table": month.table,
            "month": months.label(month.month),
            "until": _utc(month.until),
            "reason": month.reason,
            "retries": month.retries,
        }
        for month in ledger.months_put_off()
        if (month.table, months.label(month.month)) in shown
    ]
    return {"months": rows, "put_off": put_off, "pauses": pauses}


def standing(
    states: Mapping[tuple[str, datetime.date], Progress],
    spent: Mapping[tuple[str, datetime.date | None], Usage],
    alive: Collection[tuple[str, str]],
    now: datetime.datetime,
) -> list[dict[str, Any]]:
    """A row per stage and month that ever ran; `alive` are the tables and runs that still do.

    `spent` is by table and month. Rates are items per second, `eta` a moment in UTC.
    """
    from fc_assets.tables import STAGES  # with Arrow, which `--help` need not wait for

    rows = []
    for stage, table in sorted(STAGES.items()):
        for (name, month), state in sorted(states.items()):
            if name == table.name:
                runs = state.state == "running" and (name, state.run_id) in alive
                known = {"stage": stage, "table": name, "month": months.label(month)}
                rows.append(known | _row(state, runs, now) | _took(spent.get((name, month))))
    return rows


def _row(state: Progress, runs: bool, now: datetime.datetime) -> dict[str, Any]:
    pending = max(0, state.total - state.done - state.skipped - state.failed)
    seconds = state.seconds
    if runs and state.updated_at:
        seconds += max(0.0, (now - state.updated_at).total_seconds())
    ended = state.done + state.failed
    rate = ended / seconds if ended and seconds else None
    left = pending / rate if runs and rate else None
    return {
        # A run that was killed could not say that it is over.
        "state": "interrupted" if state.state == "running" and not runs else state.state,
        "total": state.total,
        "done": state.done + state.skipped,
        "failed": state.failed,
        "unknown": state.unknown,
        "pending": pending,
        "seconds": round(seconds, 1),
        "rate": None if rate is None else round(rate, 4),
        "eta": None if left is None else _utc(now.timestamp() + left),
    }


def _took(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {"tokens": None, "dollars": None}
    return {"tokens": usage.input_tokens + usage.output_tokens, "dollars": usage.dollars}


def _utc(moment: float) -> str:
    """A moment in seconds since the epoch, as people and programs read it."""
    try:
        at = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    except (OverflowError, ValueError, OSError):  # further away than there are years
        return "never"
    return at.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")


def _watch(look: Callable[[], _Found], as_json: bool) -> None:
    """Show it again and again until nothing runs; people see only what is not done."""
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        # People get lines in place of the former ones, programs one object after the other.
        live = None if as_json else stack.enter_context(rich.live.Live(auto_refresh=False))
        while True:
            found = look()
            if live is None:
                output.show(found, as_json)
            else:
                live.update(_unfinished(found), refresh=True)
            if not any(row["state"] == "running" for row in found["months"]):
                return
            time.sleep(_REFRESH_S)


def _unfinished(found: _Found) -> rich.console.Group:
    rows = found["months"]
    left = [row for row in rows if row["state"] != "written" or row["failed"] or row["unknown"]]
    left.sort(key=lambda row: row["state"] != "running")
    text = rich.text.Text(f"{len(rows) - len(left)} of {len(rows)} months are done")
    shown = _for_people(found, left).items()
    return rich.console.Group(text, *(output.table(title, part) for title, part in shown if part))


def _for_people(found: _Found, rows: Sequence[dict[str, Any]]) -> _Found:
    """These months in fewer columns, one for the stage and none of nothings, and all else."""
    rows = [{**row, "stage": f"{row['stage']} {row['table']}"} for row in rows]
    told = {name for row in rows for name, value in row.items() if value or name == "done"}
    kept = told - {"table", "seconds"}
    narrow = [{name: value for name, value in row.items() if name in kept} for row in rows]
    return {**found, "months": narrow}
