"""The `fc-data` command: arguments, messages and exit codes; what it starts is in `launch`.

Exit codes: 0 all done, 1 items failed beyond the threshold or a stage could not run, 2 wrong
usage or input, 130 interrupted.
"""

import datetime
import os
import sys
from pathlib import Path
from typing import Any

import click
import rich.console
import rich.table

from fc_assets import interrupts
from fc_resources import settings as settings_module
from fc_resources.errors import FcError, InterruptedRunError, TransientError, UsageError, one_line
from fc_resources.ledger import Ledger
from fc_resources.settings import Settings

_ERRORS = rich.console.Console(stderr=True)
_OUT = rich.console.Console()


def main(arguments: list[str] | None = None) -> None:
    """Entry point: every error is one line on standard error and an exit code."""
    try:
        code = cli.main(args=arguments, prog_name="fc-data", standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        code = _say(error.format_message(), 2)
    except UsageError as error:
        code = _say(one_line(error, 1000), 2)
    except (InterruptedRunError, KeyboardInterrupt) as error:
        code = _say(one_line(error, 1000), 130)
    except FcError as error:
        code = _say(one_line(error, 1000), 1)
    sys.exit(code or 0)


def _say(message: str, code: int) -> int:
    click.echo(f"fc-data: {' '.join(message.split())}", err=True)
    return code


@click.group(invoke_without_command=True)
@click.option("--start-date", help="First day, YYYY-MM-DD; widened to its month.")
@click.option("--end-date", help="Day after the last, YYYY-MM-DD; widened to a month's end.")
@click.option("--resume", is_flag=True, help="Skip months of which nothing is left to do.")
@click.option("--stage", "stages", type=int, multiple=True, help="Only this stage, 1 to 7; repeat.")
@click.option("--dry-run", is_flag=True, help="Say what would run and write nothing.")
@click.option("--n-concurrent", type=click.IntRange(1), help="Items at once.")
@click.option("--tasks-per-repo", type=click.IntRange(1), help="Containers per repository, month.")
@click.option(
    "--agent",
    default="auto",
    show_default=True,
    help="Coding agent for containers: claude, codex, gemini, qwen, none.",
)
@click.option("--force", is_flag=True, help="Compute finished items again.")
@click.option("--offline-source", type=Path, help="Parquet file or folder of pull requests.")
@click.option("--min-stars", type=click.IntRange(0), default=500, show_default=True)
@click.pass_context
def cli(context: click.Context, **flags: Any) -> int | None:
    """Find pull requests that made Python libraries faster, and prove it.

    Without a command: run the stages for a range of months.
    """
    if context.invoked_subcommand is not None:
        given = [p for p in context.params if context.get_parameter_source(p) is _TYPED]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} does not go with a command")
        return None
    return _range(**flags)


_TYPED = click.core.ParameterSource.COMMANDLINE


def _range(
    start_date: str | None,
    end_date: str | None,
    resume: bool,
    stages: tuple[int, ...],
    dry_run: bool,
    offline_source: Path | None,
    **choices: Any,
) -> int:
    """Check everything that can be checked before anything is written, then run."""
    # Imported where needed, here and below: a usage error or a no-op does not wait for Dagster.
    from fc_assets import months, options
    from fc_assets.tables import STAGES

    if start_date is None or end_date is None:
        raise UsageError("give --start-date and --end-date, or a command; see fc-data --help")
    start = months.parse(start_date, "start date")
    end = months.parse(end_date, "end date")
    wanted = months.covering(start, end)
    for stage in stages:
        if stage not in STAGES:
            raise UsageError(f"unknown stage {stage}; stages are 1 to {max(STAGES)}")
    settings = settings_module.current()
    path = str(offline_source) if offline_source else None
    chosen = options.Options(offline_source=path, **choices)
    numbers = sorted(set(stages or STAGES))
    if 6 in numbers or chosen.agent != "auto":
        chosen.coding_agent(settings)
    source = chosen.source(settings) if {1, 2, 5} & set(numbers) else chosen.offline(settings)
    if source:
        source.check()
    widened = (wanted[0], months.following(wanted[-1]))
    if widened != (start, end):
        _OUT.print(f"widened to whole months: {widened[0]} to {widened[1]}", highlight=False)
    if dry_run:
        _dry_run(settings, chosen, numbers, wanted)
        return 0
    return _run(settings, chosen, numbers, wanted, resume and not chosen.force)


def _run(
    settings: Settings,
    options: Any,
    stages: list[int],
    wanted: list[datetime.date],
    resume: bool,
) -> int:
    settings.make_home()
    ledger = Ledger(settings.ledger)
    ledger.check()
    from fc_assets import plan, report

    # Without its warehouse the ledger's word that all is written counts for nothing.
    resume = resume and settings.warehouse.exists()
    if resume and plan.nothing_left(stages, wanted, ledger.progress(), options, settings):
        reports = [report.Report(stage, wanted) for stage in stages]
    else:
        reports = _launch(settings, options, stages, wanted, resume)
    _OUT.print(report.summary(reports, ledger, wanted))
    problems = [problem for stage in reports for problem in stage.problems]
    if interrupts.STOP.is_set():
        raise InterruptedRunError(
            problems[-1] if problems else "stopped; run again with --resume to go on"
        )
    for problem in problems:
        _say(problem, 1)
    return 1 if problems else 0


def _launch(
    settings: Settings,
    options: Any,
    stages: list[int],
    wanted: list[datetime.date],
    resume: bool,
) -> list[Any]:
    """Start Dagster, once it is known that there is something for it to do."""
    from fc_assets import instance, launch
    from fc_resources.warehouse import Warehouse

    try:
        Warehouse(settings.warehouse, settings.fc_lock_timeout_s).tables()
    except TransientError as error:
        raise UsageError(str(error)) from None
    instance.prepare(settings)
    launcher = launch.Launcher(settings, options, _ERRORS)
    with interrupts.graceful():
        return launcher.run(stages, wanted, resume=resume)


def _dry_run(
    settings: Settings, options: Any, stages: list[int], wanted: list[datetime.date]
) -> None:
    """What would run, per stage and month; opens the ledger only if there is one."""
    from fc_assets import months, plan
    from fc_assets.tables import STAGES

    states = _states(settings)
    table = rich.table.Table("stage", "month", "done", "would run")
    coming: set[tuple[str, datetime.date]] = set()
    for stage in stages:
        name, given = STAGES[stage].name, plan.parameters(stage, options, settings)
        for month in wanted:
            state = states.get((name, month))
            done = f"{state.done + state.skipped} of {state.total}" if state else "-"
            behind = [t.name for t in plan.READS[stage] if (t.name, month) in coming]
            reason = plan.left(stage, month, states, given)
            if reason is None and options.force:
                reason = "forced"
            if reason is None and behind:
                reason = f"after {', '.join(behind)}"
            if reason is not None:
                coming.add((name, month))
            table.add_row(f"{stage} {name}", months.label(month), done, reason or "nothing")
    _OUT.print(table)


def _ledger(settings: Settings) -> Ledger | None:
    """The ledger of a home that has one: to look at it must not make it."""
    return Ledger(settings.ledger) if (settings.fc_home / "ledger.sqlite").exists() else None


def _states(settings: Settings) -> Any:
    ledger = _ledger(settings)
    return ledger.progress() if ledger else {}


@cli.command()
def demo() -> int:
    """Run all seven stages on the sample history that ships with the project."""
    from fc_assets import months, sample
    from fc_assets.options import Options
    from fc_assets.tables import STAGES
    from fc_resources.docker import Docker

    # A home, a source and targets of its own: sample rows never mix with real ones.
    given = settings_module.load()
    home = given.fc_home / "demo"
    same = {"FC_HOME": str(home), "FC_OFFLINE_SOURCE": str(home / "offline")}
    own: dict[str, Any] = {
        "fc_home": home,
        "fc_offline_source": home / "offline",
        "fc_sandbox": "auto",
        "fc_registry": None,
        "gh_tokens": None,
        "portkey_api_key": None,
        "anthropic_api_key": None,
        "openai_api_key": None,
        "gemini_api_key": None,
        "claude_code_oauth_token": None,
        "dspy_model": None,
    }
    if "FC_PYTHON_VERSIONS" not in os.environ and not Docker(home).answers():
        # The process sandbox has this interpreter and no other.
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        same["FC_PYTHON_VERSIONS"] = own["fc_python_versions"] = minor
    settings = given.model_copy(update=own)
    settings_module.use(settings)
    settings.make_home()
    sample.unpack(home / "offline")
    days = [datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)]
    code = _run(settings, Options(), sorted(STAGES), days, resume=False)
    for month in days:
        path = settings.published / f"formulacode@{months.label(month)}.parquet"
        if path.exists():
            click.echo(f"published: {path}")
    if "FC_OFFLINE_SOURCE" not in os.environ and given.fc_offline_source is None:
        del same["FC_OFFLINE_SOURCE"]  # found in the home anyway
    variables = " ".join(f"{name}={value}" for name, value in same.items())
    click.echo(f"look at it: {variables} {sys.argv[0]} ui")
    return code


@cli.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True)
def ui(port: int, host: str) -> None:
    """Open Dagster's web interface on this home, with its daemon."""
    settings = settings_module.current()
    settings.make_home()
    from fc_assets import instance

    instance.prepare(settings)
    # Notices of Dagster about itself, such as which of its commands is newer, are no news here.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    program = Path(sys.executable).with_name("dagster")
    arguments = ["dev", "-m", "fc_assets.definitions", "-h", host, "-p", str(port)]
    os.execv(program, [str(program), *arguments])


@cli.command()
def status() -> None:
    """Where every month of every stage stands."""
    from fc_assets import months
    from fc_assets.tables import STAGES

    table = rich.table.Table("stage", "month", "state")
    for column in ("items", "done", "skipped", "failed", "unknown", "seconds"):
        table.add_column(column, justify="right")
    states = _states(settings_module.current())
    for stage, declared in sorted(STAGES.items()):
        for (name, month), s in sorted(states.items()):
            if name == declared.name:
                counts = (s.total, s.done, s.skipped, s.failed, s.unknown, f"{s.seconds:.1f}")
                row = (f"{stage} {name}", months.label(month), s.state, *map(str, counts))
                table.add_row(*row)
    _OUT.print(table)
    if bills := _bills(settings_module.current()):
        asked = rich.table.Table("model", "for", "items", "answers", "input", "output", "dollars")
        for b in bills:
            more = f" and {b.unpriced} unpriced" if b.unpriced else ""
            dollars = f"{b.usage.dollars or 0:.4f}{more}"
            tokens = (f"{b.usage.input_tokens}", f"{b.usage.output_tokens}")
            asked.add_row(b.model, b.stage, f"{b.items}", f"{b.answers}", *tokens, dollars)
        _OUT.print(asked)


def _bills(settings: Settings) -> Any:
    ledger = _ledger(settings)
    return ledger.bills() if ledger else []


@cli.command()
@click.option("--traceback", is_flag=True, help="With the traceback of each.")
def failures(traceback: bool) -> None:
    """Items without an answer, and why; they are tried again by the next run of their month."""
    from fc_assets import months, texts

    ledger = _ledger(settings_module.current())
    for failure in ledger.failures() if ledger else ():
        where = f"{failure.table} {months.label(failure.month)} {failure.item}"
        text = f"{where}: {failure.error} ({failure.kind}, attempt {failure.attempts})"
        click.echo(texts.printable(text))
        if traceback:
            click.echo(texts.printable(failure.traceback))


@cli.group()
def evaluate() -> None:
    """How well pull requests are judged and problems extracted; nothing is run or paid for."""


@evaluate.command("classify")
@click.option("--labels", type=Path, required=True, help="CSV with what people say of them.")
def evaluate_classify(labels: Path) -> None:
    """Pre-filter and classifier against labels made by hand."""
    from fc_assets import evaluate as evaluation
    from fc_resources.warehouse import Warehouse

    settings = settings_module.current()
    report = evaluation.classify(labels, Warehouse(settings.warehouse, settings.fc_lock_timeout_s))
    for table in evaluation.shown(report, _bills(settings)):
        _OUT.print(table)


@evaluate.command("extract")
def evaluate_extract() -> None:
    """Problem statements: how many there are, why not, and what leaks of the solution."""
    from fc_assets import evaluate as evaluation
    from fc_assets import texts
    from fc_resources.warehouse import Warehouse

    settings = settings_module.current()
    warehouse = Warehouse(settings.warehouse, settings.fc_lock_timeout_s)
    for line in evaluation.extract(warehouse, _bills(settings)):
        click.echo(texts.printable(line))


if __name__ == "__main__":
    main()
