"""One session of a coding agent: its workspace, its process, and what becomes of both."""

import re
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fc_resources import marks
from fc_resources.coding_agents import workspace
from fc_resources.coding_agents.driver import Driver
from fc_resources.coding_agents.redaction import Redaction
from fc_resources.coding_agents.task import Session, Task
from fc_resources.coding_agents.verifier import Verifier
from fc_resources.coding_agents.workspace import SOCKET, Workspace
from fc_resources.sandbox import LOG_LIMIT

if TYPE_CHECKING:
    from fc_resources.coding_agents.agent import CodingAgent

#: The most of a message that is kept, in characters.
_MESSAGE = 500
#: The folder of a session is named for the process that runs it.
_NAME = re.compile("([0-9a-f]{32})-[0-9a-f]{16}")


def run(agent: "CodingAgent", task: Task, folder: Path, stop: threading.Event) -> Session:
    """Run a session; see `CodingAgent.run`."""
    hidden = Redaction(agent.secrets())
    client = (Path(__file__).parent / "verify_client.py").read_text("utf-8")
    started = time.monotonic()
    own = folder / f"{marks.own(folder.parent)}-{secrets.token_hex(8)}"
    with Workspace(own, task.files, task.scripts, client, hidden.is_clean) as place:
        agent.prepare(own / "home", task)
        with Verifier(place.folder / SOCKET, place.scripts, task.verify) as verifier:
            driver = Driver(agent.events(), place, task, verifier, stop)
            ended = driver.run(*agent.start(task, place.place))
        if verifier.error is not None:
            raise verifier.error
        events, said = driver.events, driver.message
        if ended == "refused":
            said = f"{'the model' if events.no_model else agent.credential} is refused: {said}"
        if tampered := place.tampered():
            ended, said = "tampered", f"not as it was given: {', '.join(tampered)}"
        return Session(
            ended,
            place.scripts(),
            events.usage(time.monotonic() - started),
            events.tool_calls,
            " ".join(hidden.of(said).split())[:_MESSAGE],
            events.limited.reset_at if events.limited and ended == "rate_limited" else None,
            hidden.of(driver.log)[-LOG_LIMIT:],
        )


def sweep(folder: Path) -> None:
    """Remove what sessions in `folder` left whose process was killed."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and not path.is_symlink() and marks.is_gone(folder.parent, match[1]):
            workspace.remove(path)
