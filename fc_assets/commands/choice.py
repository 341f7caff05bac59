"""Options that several commands have: stages and months to look at, and how a run works."""

import datetime
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from fc_assets import months
from fc_resources.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., Any])
_OF_RUNS = (
    click.option("--n-concurrent", type=click.IntRange(1), help="Items at once."),
    click.option(
        "--tasks-per-repo",
        type=click.IntRange(0),
        help="Containers per repository, month; neighbours of what works come on top.",
    ),
    click.option(
        "--agent",
        default="auto",
        show_default=True,
        help="Coding agent for containers: claude, codex, gemini, qwen, none.",
    ),
    click.option("--offline-source", type=Path, help="Parquet file or folder of pull requests."),
    click.option("--min-stars", type=click.IntRange(0), default=500, show_default=True),
)


def of_runs(command: _Command) -> _Command:
    """How a run works on its items; the arguments are those of `Options`."""
    for option in reversed(_OF_RUNS):
        command = option(command)
    return command


def _stage(context: click.Context, _: click.Parameter, given: tuple[int, ...]) -> set[int]:
    from fc_assets.tables import STAGES  # with Arrow, which `--help` need not wait for

    for stage in given:
        if stage not in STAGES:
            raise click.BadParameter(f"stages are 1 to {max(STAGES)}, not {stage}", context)
    return set(given or STAGES)


def _month(
    context: click.Context, _: click.Parameter, given: tuple[str, ...]
) -> set[datetime.date] | None:
    wanted = set()
    for text in given:
        try:
            wanted.add(months.parse(f"{text}-01", "month"))
        except UsageError:
            raise click.BadParameter(f"{text!r} is not a month; write YYYY-MM", context) from None
    return wanted or None


def stages(command: _Command) -> _Command:
    """`--stage` as the argument `stages`: a set of numbers, all of them by default."""
    return click.option(
        "--stage", "stages", type=int, multiple=True, callback=_stage, help="Only this; repeat."
    )(command)


def stages_and_months(command: _Command) -> _Command:
    """`--stage`, and `--month` as the argument `wanted`: a set of first days, None for all."""
    return stages(
        click.option(
            "--month", "wanted", multiple=True, callback=_month, help="Only YYYY-MM; repeat."
        )(command)
    )


def refuse_unless(is_given: bool, flag: str, names: Iterable[str]) -> None:
    """`UsageError` for a typed option of those `names` that says nothing without a flag."""
    context = click.get_current_context()
    for name in names:
        source = context.get_parameter_source(name)
        if source is click.core.ParameterSource.COMMANDLINE and not is_given:
            raise UsageError(f"--{name.replace('_', '-')} goes with {flag}")


def chosen(month: datetime.date, wanted: Collection[datetime.date] | None) -> bool:
    """Whether a month is among those that a command is about."""
    return wanted is None or month in wanted
