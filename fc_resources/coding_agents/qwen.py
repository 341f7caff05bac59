"""Qwen Code: `qwen -p`, with events in the shape of Claude's. It waits in silence for as long as a
server says, which only its debug log tells; older versions end with code 0 and an error for an
answer.
"""

import datetime
import json
import re
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import untrusted
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.claude import ClaudeEvents
from fc_resources.coding_agents.events import PATIENCE_S, Events
from fc_resources.coding_agents.task import Task

_ERROR = "[API Error: "
_LOG_BYTES = 256 * 1024
_WAITS = re.compile(
    r"^(\S+) \[WARN\] \[RETRY\] (Attempt \d+ failed with status 429)\. "
    r"Retrying after explicit delay of (\d+)ms",
    re.MULTILINE,
)


class Qwen(CodingAgent):
    name = "qwen"
    key_variable = "OPENAI_API_KEY"
    package = "@qwen-code/qwen-code"
    hint = "Give the shell tool no timeout for it: its default is long enough."

    def obstacle(self) -> str | None:
        if self.key is not None and self.access.model is None:
            return "FC_AGENT_MODEL is not set, and with a key qwen has no model of its own"
        return super().obstacle()

    def arguments(self, prompt: str, task: Task) -> list[str]:
        return ["-p", prompt, "--yolo", "--auth-type", "openai", "--output-format", "stream-json"]

    def variables(self, task: Task) -> dict[str, str]:
        found = {self.key_variable: self.key, "OPENAI_BASE_URL": self.access.base_url}
        found |= {"OPENAI_MODEL": self.access.model, "QWEN_DEBUG_LOG_FILE": "1"}
        return {name: value for name, value in found.items() if value}

    def prepare(self, home: Path, task: Task) -> None:
        settings = {
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
            # These are on top of seven attempts, which are not to be had fewer.
            "model": {"generationConfig": {"maxRetries": 0}},
            "tools": {"shell": {"defaultTimeoutMs": int(task.timeout_s * 1000)}},
        }
        (home / ".qwen").mkdir()
        (home / ".qwen" / "settings.json").write_text(json.dumps(settings))

    def events(self) -> Events:
        return QwenEvents()


class QwenEvents(ClaudeEvents):
    """Its input has the cached tokens in it, and its error may stand in the text."""

    def event(self, event: Any) -> None:
        if event["type"] == "result":
            error = (event.get("error") or {}).get("message")
            text = event.get("result") or ""
            if error or text.startswith(_ERROR):
                event = {**event, "is_error": True, "result": error or text}
        super().event(event)

    def look(self, home: Path) -> None:
        with untrusted.folder(home, ".qwen", "debug") as folder:
            if folder is None:
                return
            for content in untrusted.below(folder, "", ".txt", _LOG_BYTES):
                for since, failure, wait in _WAITS.findall(content.decode("utf-8", "replace")):
                    self._waits(since, failure, int(wait) / 1000)

    def _waits(self, since: str, failure: str, wait_s: float) -> None:
        if wait_s > PATIENCE_S and self.limited is None:
            at = datetime.datetime.fromisoformat(since).timestamp() + wait_s
            self.failure(f"{failure}; it would wait for {wait_s:.0f} s", 429)
            self.limit(at)

    def tokens(self, usage: dict[str, Any]) -> list[int]:
        read = usage.get("cache_read_input_tokens") or 0
        return [usage["input_tokens"], read, usage["output_tokens"]]
