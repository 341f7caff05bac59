"""The Dagster instance of a home: what `fc-data` runs on is what its web interface shows."""

import os
from pathlib import Path

import dagster as dg
import yaml

from fc_resources import locks
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


def render(fc_home: Path) -> str:
    """The project's `dagster.yaml` with its folders below `fc_home` instead of `.fc`."""
    project = Path(__file__).parent.parent / "dagster.yaml"
    config = yaml.safe_load(project.read_text("utf-8"))
    for place in _PLACES:
        section = config[place]["config"]
        inside = Path(section["base_dir"]).relative_to(_DEFAULT_HOME)
        section["base_dir"] = str(fc_home / inside)
    return yaml.safe_dump(config, sort_keys=False)
