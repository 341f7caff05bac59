"""The Dagster instance of a home: what `fc-data` runs on is what its web interface shows."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.utils import make_new_run_id

from fc_resources import living, locks
from fc_resources.errors import UsageError
from fc_resources.ledger import Ledger
from fc_resources.settings import Settings

#: Folders of `dagster.yaml` that move along with FC_HOME.
_PLACES = (
    "run_storage",
    "event_log_storage",
    "schedule_storage",
    "local_artifact_storage",
    "compute_logs",
)
_DEFAULT_HOME = Path(".fc")
#: Tag of a run that says why it was started.
CAUSE = "formulacode/cause"
#: Tags of a run in a process of `fc-data`: the home that knows whether it is alive, and as whom.
_HOME, _WORKER = "formulacode/home", "formulacode/worker"
_FROM = "fc-data"
#: A daemon that has said nothing for so long is not there.
_SILENCE_S = 120.0
_SILENT_RUN_S = 1800.0
#: Statuses of runs that have begun and have not ended.
ACTIVE = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def prepare(settings: Settings) -> Path:
    """Write the home's `dagster.yaml` from the project's and point DAGSTER_HOME at its folder.

    Where FC_DAGSTER_HOME names one with a `dagster.yaml` of its own, nothing is written.
    """
    home = settings.fc_dagster_home or settings.fc_home / "dagster"
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["FC_HOME"] = str(settings.fc_home)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    if settings.fc_dagster_home is not None:
        if not (home / "dagster.yaml").is_file():
            raise UsageError(f"FC_DAGSTER_HOME: {home} has no dagster.yaml")
        return home
    target, text = home / "dagster.yaml", render(settings.fc_home)
    # Of two processes that make Dagster's tables at once, one fails.
    with locks.exclusive(home / "lock", settings.fc_lock_timeout_s):
        if not target.exists() or target.read_text("utf-8") != text:
            part = home / ".dagster.yaml"
            part.write_text(text, "utf-8")
            part.replace(target)
        if not (home / "history").exists():
            with dg.DagsterInstance.get():
                pass
    return home


@contextlib.contextmanager
def own_run(settings: Settings) -> Iterator[tuple[str, dict[str, str]]]:
    """Id and tags for a run in this process, which is over for Dagster, too, when it is killed."""
    run_id, home = make_new_run_id(), settings.fc_home
    with living.registered(home, _FROM, run_id, settings.fc_lock_timeout_s) as worker:
        yield run_id, {_HOME: str(home), _WORKER: worker.name}


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Have runs fail whose process was killed: Dagster would count them as running for ever."""
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
        # What is at the path of another machine's home does not know.
        home, worker = Path(run.tags.get(_HOME, "")), run.tags.get(_WORKER, "")
        if not living.is_dead(home, worker):
            continue
        # It says that it has ended before it lets go: if not by now, it never will.
        now = instance.get_run_by_id(run.run_id)
        if now is not None and now.status in ACTIVE:
            instance.report_run_failed(now, "the process of fc-data that ran it is gone")


def end_silent_runs(instance: dg.DagsterInstance, home: Path, ledger: Ledger) -> None:
    """Have runs of a daemon fail whose steps are gone, as after a power cut; see `end_dead_runs`.

    Each step that computes is alive as its run, in the home or, on another machine, in the ledger;
    between two of them there is no long silence.
    """
    alive = {run_id for _, run_id in living.alive(home) | ledger.at_work_now(home)}
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
        last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        silent = bool(last) and time.time() - last[0].timestamp > _SILENT_RUN_S
        if silent and _HOME not in run.tags and run.run_id not in alive:
            instance.report_run_failed(run, "its process is gone")


def has_daemon(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon evaluates sensors: it says so every half minute."""
    beat = instance.get_daemon_heartbeats().get("SENSOR")
    return beat is not None and 0 <= time.time() - beat.timestamp < _SILENCE_S


def render(fc_home: Path) -> str:
    """The project's `dagster.yaml` with its folders below `fc_home` instead of `.fc`."""
    project = Path(__file__).parent.parent / "dagster.yaml"
    config = yaml.safe_load(project.read_text("utf-8"))
    for place in _PLACES:
        section = config[place]["config"]
        inside = Path(section["base_dir"]).relative_to(_DEFAULT_HOME)
        section["base_dir"] = str(fc_home / inside)
    return yaml.safe_dump(config, sort_keys=False)
