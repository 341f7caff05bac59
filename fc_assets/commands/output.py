"""How commands show what they found: a table for a person, JSON for a program."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
import rich.box
import rich.console
import rich.markup
import rich.table

from fc_assets import texts

_Command = TypeVar("_Command", bound=Callable[..., Any])
Rows = Sequence[Mapping[str, Any]]


def json_option(command: _Command) -> _Command:
    """`--json` and `--table` as the argument `as_json`."""
    return click.option(
        "--json/--table",
        "as_json",
        default=lambda: not sys.stdout.isatty(),
        help="For programs or for people; the default depends on whether output is a terminal.",
    )(command)


def show(found: Mapping[str, Rows], as_json: bool) -> None:
    """Rows by what they are, each with the same JSON-like values: one object, or a table each.

    A table without rows is not shown to people; programs get an empty list.
    """
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=True, default=str))
        return
    console = rich.console.Console()
    for title, rows in found.items():
        if rows:
            console.print(table(title, rows))


def table(title: str, rows: Rows) -> rich.table.Table:
    """Rows as people read them, numbers to the right; at least one row."""
    shown = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for name in rows[0]:
        values = [row[name] for row in rows]
        number = any(isinstance(value, int | float) for value in values)
        shown.add_column(name.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row.values()))
    return shown


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:,.4g}" if isinstance(value, float) else str(value)
    # Others wrote some of it: it is neither markup nor control characters.
    return rich.markup.escape(texts.printable(text))
