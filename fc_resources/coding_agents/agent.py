"""What all coding agents have in common: whether they can be used here, and how they are asked.

The tools have a file each; how a session is run is `session`'s, how it is confined `jail`'s.
"""

import dataclasses
import math
import os
import threading
from pathlib import Path
from typing import ClassVar

import pydantic

from fc_resources.coding_agents import jail, redaction, session
from fc_resources.coding_agents.events import Events
from fc_resources.coding_agents.task import Session, Task
from fc_resources.errors import UsageError

_RULES = """

You are in a workspace at {workspace}. You may change the files in {workspace}/scripts and nothing
else; other files that you put there are not looked at. Run ./verify in {workspace} to have the
scripts built and checked; it prints what failed, and ends with code 0 only when everything passed.
It may take up to {minutes} minutes, so run it in the foreground and wait.{hint}
If it is cut off all the same, run it again: it goes on waiting for the same build. You are done
when it passes.
"""
#: Linux's limit for one argument is 128 KiB.
_PROMPT_BYTES = 100_000


@dataclasses.dataclass(frozen=True)
class Access:
    """How an agent reaches its model."""

    key: pydantic.SecretStr | None = None
    base_url: str | None = None
    model: str | None = None


class CodingAgent:
    """A command line tool that is told a task and works on it with a shell of its own.

    Attributes:
        key_variable: The variable that holds its key, for messages to the user.
        package: What npm installs.
        hint: How its shell tool is told to wait, may name `{milliseconds}`.
    """

    name: ClassVar[str]
    key_variable: ClassVar[str]
    package: ClassVar[str]
    hint: ClassVar[str] = ""

    def __init__(self, access: Access) -> None:
        self.access = access

    @property
    def key(self) -> str | None:
        return self.access.key.get_secret_value() if self.access.key else None

    @property
    def tool(self) -> jail.Tool | None:
        """Its program on this machine's PATH."""
        return jail.tool(self.name, os.environ.get("PATH", os.defpath))

    def arguments(self, prompt: str, task: Task) -> list[str]:
        """Its command line, without the program."""
        raise NotImplementedError

    def variables(self, task: Task) -> dict[str, str]:
        """The variables it needs."""
        raise NotImplementedError

    def prepare(self, home: Path, task: Task) -> None:
        """Write its settings into a new home."""
        raise NotImplementedError

    def events(self) -> Events:
        """What reads the output of one session."""
        raise NotImplementedError

    def obstacle(self) -> str | None:
        """Why it cannot be used here, in one sentence; None if it can."""
        if self.tool is None:
            return f"{self.name} is not installed (npm install -g {self.package})"
        if not self.key:
            return f"{self.key_variable} is not set, so that {self.name} has no model"
        return jail.obstacle() or jail.unusable(self.tool)

    @property
    def credential(self) -> str:
        """What the user has to see to when it is refused."""
        return self.key_variable

    def secrets(self) -> list[str]:
        """What must not be stored of a session: the key, and passwords in addresses it sees."""
        addresses = [os.environ.get(name, "") for name in jail.PROXIES]
        passwords = redaction.in_addresses([*addresses, self.access.base_url or ""])
        return [self.key or "", *passwords]

    def start(self, task: Task, place: Path) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of a session whose folders are in `place`."""
        tool = self.tool
        assert tool is not None, "looked for by `run`"
        hint = f" {self.hint}".rstrip().format(milliseconds=int(task.timeout_s * 1000))
        minutes = math.ceil(task.timeout_s / 60)
        rules = _RULES.format(workspace=jail.WORKSPACE, minutes=minutes, hint=hint)
        env = jail.environment(tool, self.variables(task))
        arguments = self.arguments(task.prompt + rules, task)
        return [*jail.command(place, tool, env), *arguments], env

    def run(self, task: Task, folder: Path, stop: threading.Event | None = None) -> Session:
        """Have the agent work on a task, in a new folder in `folder` that is removed at the end.

        What a process that was killed left there, `session.sweep` removes. A verification that
        runs when the session ends is waited for; `stop` ends the session as `stopped`. Raises what
        `verify` raises, and `UsageError` for an agent that cannot be used.
        """
        if why := self.obstacle():
            raise UsageError(why)
        if len(task.prompt.encode()) > _PROMPT_BYTES:
            raise ValueError(f"a prompt has {_PROMPT_BYTES} bytes at most; more goes into files")
        return session.run(self, task, folder, stop or threading.Event())
