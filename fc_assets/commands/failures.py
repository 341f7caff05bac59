"""`fc-data failures`: what has no answer and why, by cause or one by one, and trying it again.

The text of an error comes from GitHub, models and repositories' code: it is never markup or orders
to a terminal.
"""

import collections
import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from fc_assets import months, texts
from fc_assets.commands import choice, home, output
from fc_resources import settings as settings_module
from fc_resources.ledger import Failure

#: What differs between two errors of one cause, in the order in which it is replaced.
_VARIES = (
    (re.compile(r"\b[\w.-]+/[\w.-]+(#\d+|@[0-9a-f]{7,64}\b)"), "ITEM"),
    (re.compile(r"(?<![\w/])~?(/[\w.@+-]+){2,}/?"), "PATH"),
    (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b"), "SHA"),
    (re.compile(r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z)?)?"), "TIME"),
)
_NUMBER = re.compile(r"(?<![\w.-])\d+([.,:]\d+)*")
#: Statuses, exit codes and versions tell causes apart.
_TELLS = re.compile(
    r"(\b(?:status|http|code|with|python)[ :=]+\d[\d.]*\b|\([1-5]\d\d\b)", re.IGNORECASE
)
_SHOWN_MONTHS = 3


@click.command()
@choice.stages_and_months
@click.option("--all", "one_by_one", is_flag=True, help="Each of them, one line each.")
@click.option(
    "--traceback", is_flag=True, help="With the traceback, of causes that of the example."
)
@click.option("--retry", is_flag=True, help="Run the stages and months that have some again.")
@choice.of_runs
@output.json_option
def failures(
    stages: set[int],
    wanted: set[datetime.date] | None,
    one_by_one: bool,
    traceback: bool,
    retry: bool,
    as_json: bool,
    **of_runs: Any,
) -> int | None:
    """What has no answer, by cause; it is tried again by the next run of its month.

    What is `gone` is not on GitHub any more, and there is nothing to try again. The options of a
    run go with --retry.
    """
    from fc_assets.tables import STAGES  # with Arrow, which `--help` need not wait for

    choice.refuse_unless(retry, "--retry", of_runs)
    ledger = home.ledger(settings_module.current())
    numbers = {table.name: stage for stage, table in STAGES.items()}
    found = [
        failure
        for failure in (ledger.failures() if ledger else [])
        if numbers.get(failure.table) in stages and choice.chosen(failure.month, wanted)
    ]
    if retry:
        return _retry([(numbers[f.table], f.month) for f in found if f.kind != "gone"], of_runs)
    if one_by_one and not as_json:
        for failure in found:
            click.echo(texts.printable(_line(failure)))
            if traceback:
                click.echo(texts.printable(failure.traceback))
        return None
    if one_by_one:
        rows = [_each(failure) | _traceback(failure, traceback) for failure in found]
    else:
        rows = [_cause(group) | _traceback(group[0], traceback) for group in grouped(found)]
    output.show({"failures": rows}, as_json)
    return None


def _retry(failed: Iterable[tuple[int, datetime.date]], of_runs: Mapping[str, Any]) -> int:
    """Run these stages and months as the main command does; its exit code."""
    from fc_assets import cli

    again = collections.defaultdict[int, set[datetime.date]](set)
    for stage, month in failed:
        again[stage].add(month)
    if not again:
        click.echo("nothing to try again")
    return cli.run_again(again, **of_runs)


def grouped(found: Iterable[Failure]) -> list[list[Failure]]:
    """Failures of one cause together, the most frequent cause first."""
    groups = collections.defaultdict[str, list[Failure]](list)
    for failure in found:
        groups[cause(failure)].append(failure)
    return sorted(groups.values(), key=len, reverse=True)


def cause(failure: Failure) -> str:
    """The error without what differs from item to item: names, paths, hashes, times, numbers."""
    text, repository = failure.error, re.split("[#@]", failure.item)[0]
    for name, mark in ((failure.item, "ITEM"), (repository, "REPOSITORY")):
        # Not a word such as a search's name, which is the same for all.
        text = text.replace(name, mark) if "/" in name else text
    for pattern, mark in _VARIES:
        text = pattern.sub(mark, text)
    parts = _TELLS.split(text)
    parts[::2] = [_NUMBER.sub("N", part) for part in parts[::2]]
    return "".join(parts)


def _cause(group: Sequence[Failure]) -> dict[str, Any]:
    labels = sorted({months.label(failure.month) for failure in group})
    more = len(labels) - _SHOWN_MONTHS
    return {
        "count": len(group),
        "cause": cause(group[0]),
        "kinds": ", ".join(sorted({failure.kind for failure in group})),
        "stages": ", ".join(sorted({failure.table for failure in group})),
        "months": ", ".join(labels[:_SHOWN_MONTHS]) + (f" and {more} more" if more > 0 else ""),
        "example": f"{group[0].item}: {group[0].error}",
    }


def _each(failure: Failure) -> dict[str, Any]:
    return {
        "table": failure.table,
        "month": months.label(failure.month),
        "item": failure.item,
        "kind": failure.kind,
        "attempts": failure.attempts,
        "error": failure.error,
    }


def _traceback(failure: Failure, wanted: bool) -> dict[str, str]:
    return {"traceback": failure.traceback} if wanted else {}


def _line(failure: Failure) -> str:
    where = f"{failure.table} {months.label(failure.month)} {failure.item}"
    return f"{where}: {failure.error} ({failure.kind}, attempt {failure.attempts})"
