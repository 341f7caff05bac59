"""The `fc-data` command: arguments, messages and exit codes; what it starts is in `launch`.

Exit codes: 0 all done, 1 items failed beyond the threshold or a stage could not run, 2 wrong
usage or input, 130 interrupted.
"""

import datetime
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import rich.console
import rich.markup
import rich.table

from fc_assets import interrupts
from fc_assets.commands import check, choice, explain, failures, home, publishing, status, usage
from fc_assets.commands import ledger as ledger_commands
from fc_assets.commands import warehouse as warehouse_commands
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
@click.option("--force", is_flag=True, help="Compute finished items again.")
@choice.of_runs
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
    **choices: Any,
) -> int:
    """Check everything that can be checked before anything is written, then run."""
    # Imported where needed, here and below: a usage error or a no-op does not wait for Dagster.
    from fc_assets import months
    from fc_assets.tables import STAGES

    if start_date is None or end_date is None:
        raise UsageError("give --start-date and --end-date, or a command; see fc-data --help")
    start = months.parse(start_date, "start date")
    end = months.parse(end_date, "end date")
    wanted = months.covering(start, end)
    for stage in stages:
        if stage not in STAGES:
            raise UsageError(f"unknown stage {stage}; stages are 1 to {max(STAGES)}")
    settings, numbers = settings_module.current(), sorted(set(stages or STAGES))
    chosen = _chosen(settings, numbers, **choices)
    widened = (wanted[0], months.following(wanted[-1]))
    if widened != (start, end):
        _OUT.print(f"widened to whole months: {widened[0]} to {widened[1]}", highlight=False)
    if dry_run:
        _dry_run(settings, chosen, numbers, wanted)
        return 0
    return run(settings, chosen, numbers, wanted, resume and not chosen.force)


def _chosen(
    settings: Settings, stages: Sequence[int], *, offline_source: Path | None, **choices: Any
) -> Any:
    """The options of a run of these stages, once it is known that they have what they need."""
    from fc_assets import options

    path = str(offline_source) if offline_source else None
    chosen = options.Options(offline_source=path, **choices)
    if 6 in stages or chosen.agent != "auto":
        chosen.coding_agent(settings)
    source = chosen.source(settings) if {1, 2, 5} & set(stages) else chosen.offline(settings)
    if source:
        source.check()
    return chosen


def run_again(failed: Mapping[int, Collection[datetime.date]], **choices: Any) -> int:
    """Run months of stages as if each stage had been named with `--resume`; the exit code."""
    settings = settings_module.current()
    chosen = _chosen(settings, sorted(failed), **choices)
    runs = [
        run(settings, chosen, [stage], sorted(months), resume=True)
        for stage, months in sorted(failed.items())
    ]
    return max(runs, default=0)


def run(
    settings: Settings,
    options: Any,
    stages: list[int],
    wanted: list[datetime.date],
    resume: bool,
) -> int:
    settings.make_home()
    ledger = Ledger(settings.ledger)
    ledger.check()
    from fc_assets import report
    from fc_assets.candidate_containers import cascade
    from fc_assets.tables import CANDIDATE_CONTAINERS
    from fc_assets.why import Situation

    # Without its warehouse the ledger's word that all is written counts for nothing.
    resume = resume and settings.has_warehouse
    done = resume and Situation.of(settings, options, ledger).nothing_left(stages, wanted)
    if done and not (CANDIDATE_CONTAINERS.stage in stages and cascade.waiting(ledger)):
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
        Warehouse.of(settings).tables()
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
    from fc_assets import months
    from fc_assets.tables import STAGES
    from fc_assets.why import Situation

    situation = Situation.of(settings, options, home.ledger(settings))
    table = rich.table.Table("stage", "month", "done", "would run")
    for verdict in situation.verdicts(stages, wanted):
        name = f"{verdict.stage} {STAGES[verdict.stage].name}"
        done = situation.done(verdict.stage, verdict.month)
        table.add_row(name, months.label(verdict.month), done, rich.markup.escape(str(verdict)))
    _OUT.print(table)


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
        "fc_dataset": None,
        "fc_licenses": "",
        "hf_token": None,
        "dockerhub_token": None,
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
    code = run(settings, Options(), sorted(STAGES), days, resume=False)
    for month in days:
        path = settings.published / "data" / f"{months.label(month)}.parquet"
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


def _bills(settings: Settings) -> Any:
    ledger = home.ledger(settings)
    return ledger.bills() if ledger else []


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
    report = evaluation.classify(labels, Warehouse.of(settings))
    for table in evaluation.shown(report, _bills(settings)):
        _OUT.print(table)


@evaluate.command("extract")
def evaluate_extract() -> None:
    """Problem statements: how many there are, why not, and what leaks of the solution."""
    from fc_assets import evaluate as evaluation
    from fc_assets import texts
    from fc_resources.warehouse import Warehouse

    settings = settings_module.current()
    warehouse = Warehouse.of(settings)
    for line in evaluation.extract(warehouse, _bills(settings)):
        click.echo(texts.printable(line))


cli.add_command(status.status)
cli.add_command(failures.failures)
cli.add_command(usage.usage)
cli.add_command(check.check)
cli.add_command(explain.explain)
cli.add_command(warehouse_commands.warehouse)
cli.add_command(ledger_commands.ledger)


for _command in (publishing.publish, publishing.unpublish, publishing.get, publishing.diff):
    cli.add_command(_command)

if __name__ == "__main__":
    main()
