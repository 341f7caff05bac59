"""The coding agents' own tools, as `make test` installs them from npm."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from fc_resources.coding_agents import jail
from fc_resources.coding_agents.choice import AGENTS

FOLDER = Path(__file__).parents[2] / ".venv" / "agents" / "node_modules" / ".bin"
_OLDEST_NODE = 20


def path() -> str:
    """A PATH on which they are found first."""
    return f"{FOLDER}:{os.environ.get('PATH', os.defpath)}"


def lacks() -> str | None:
    """Why sessions cannot be tried on this machine; None if they can."""
    if missing := [name for name in AGENTS if not (FOLDER / name).is_file()]:
        return f"{', '.join(missing)} are not there (npm and make test get them)"
    node = shutil.which("node")
    told = subprocess.run([node, "--version"], capture_output=True, text=True) if node else None
    version = re.match(r"v(\d+)", told.stdout) if told else None
    if version is None or int(version[1]) < _OLDEST_NODE:
        return f"node {_OLDEST_NODE} or newer is not installed"
    return jail.obstacle()
