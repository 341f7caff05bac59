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
#: Tag of a run in a process of `fc-data`: the home that knows whether it is alive.
_HOME = "formulacode/home"
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
    """Write the home's `dagster.yaml` from the project's and point DAGSTER_HOME at its folder."""
    home = settings.fc_home / "dagster"
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["FC_HOME"] = str(settings.fc_home)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
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
    with living.registered(home, _FROM, run_id, settings.fc_lock_timeout_s):
        yield run_id, {_HOME: str(home)}


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Have runs fail whose process was killed: Dagster would count them as running for ever."""
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
        home = Path(run.tags.get(_HOME, ""))
        # A home that is not there has another path here, or another machine.
        if _HOME not in run.tags or not living.is_home(home):
            continue
        if (_FROM, run.run_id) in living.alive(home):
            continue
        # It says that it has ended before it lets go: if not by now, it never will.
        now = instance.get_run_by_id(run.run_id)
        if now is not None and now.status in ACTIVE:
            instance.report_run_failed(now, "the process of fc-data that ran it is gone")


def end_silent_runs(instance: dg.DagsterInstance, home: Path) -> None:
    """Have runs of a daemon fail whose steps are gone, as after a power cut; see `end_dead_runs`.

    Each step that computes is alive as its run; between two of them there is no long silence.
    """
    alive = {run_id for _, run_id in living.alive(home)}
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
