"""What the tests of sessions share: agents, a shell script for an agent, tasks."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydantic

from fc_resources.coding_agents.agent import Access, CodingAgent
from fc_resources.coding_agents.choice import AGENTS
from fc_resources.coding_agents.claude import ClaudeEvents
from fc_resources.coding_agents.events import Events
from fc_resources.coding_agents.task import Task
from tests.fakes.agent_models import AgentModel

SCRIPTS = {"docker_build_env.sh": "true\n", "docker_build_pkg.sh": "pip install .\n"}
KEY = "sk-test-0123456789abcdef"
#: Where each tool wants the address of its model to end, and a model that it knows.
_BASES = {"claude": "", "codex": "/v1", "gemini": "", "qwen": "/v1"}
_MODELS = {"claude": None, "codex": "gpt-5", "gemini": "gemini-2.5-pro", "qwen": "qwen3"}


def agent(name: str, model: AgentModel, *, key: str = KEY) -> CodingAgent:
    """The agent called `name` whose provider is `model`."""
    secret = pydantic.SecretStr(key)
    return AGENTS[name](Access(secret, model.url + _BASES[name], _MODELS[name]))


def task(verify: Callable[[Mapping[str, str]], tuple[bool, str]], **changes: Any) -> Task:
    given = Task(
        prompt="Correct the build scripts.",
        files={"TASK.md": "Build shapely.\n", "logs/attempt-1.txt": "error\n"},
        scripts=SCRIPTS,
        verify=verify,
        timeout_s=60,
        max_tokens=1_000_000,
    )
    return dataclasses.replace(given, **changes)


def never(scripts: Mapping[str, str]) -> tuple[bool, str]:
    raise AssertionError("nothing was to be verified")


class Bash(CodingAgent):
    """An agent whose tool is a shell and whose prompt is a script; it talks like Claude."""

    name = "bash"
    key_variable = "BASH_KEY"
    package = "bash"

    def __init__(self, access: Access | None = None) -> None:
        super().__init__(access or Access(pydantic.SecretStr(KEY)))

    def arguments(self, prompt: str, task: Task) -> list[str]:
        return ["-c", task.prompt]

    def variables(self, task: Task) -> dict[str, str]:
        return {self.key_variable: self.key or ""}

    def prepare(self, home: Path, task: Task) -> None:
        (home / "settings").write_text("none")

    def events(self) -> Events:
        return ClaudeEvents()


def running(mark: str) -> list[int]:
    """Processes of this machine with `mark` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
