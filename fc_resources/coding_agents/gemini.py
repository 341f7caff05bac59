"""Google's Gemini CLI: `gemini -p`. When its quota is used up it may only say so on standard error,
and then sleep until the next day.
"""

import json
import time
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import limits, untrusted
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.events import PATIENCE_S, Events
from fc_resources.coding_agents.task import Task

#: The end of a session file that is read; earlier messages were read before.
_END_BYTES = 1024 * 1024


class Gemini(CodingAgent):
    name = "gemini"
    key_variable = "GEMINI_API_KEY"
    package = "@google/gemini-cli"

    def arguments(self, prompt: str, task: Task) -> list[str]:
        model = ["-m", self.access.model] if self.access.model else []
        return ["-p", prompt, "--yolo", "--skip-trust", "--output-format", "stream-json", *model]

    def variables(self, task: Task) -> dict[str, str]:
        found = {"GEMINI_CLI_NO_RELAUNCH": "true", self.key_variable: self.key or ""}
        if self.access.base_url:
            found["GOOGLE_GEMINI_BASE_URL"] = self.access.base_url
        return found

    def prepare(self, home: Path, task: Task) -> None:
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "privacy": {"usageStatisticsEnabled": False},
            # Of ten attempts, the default, the last would be made after minutes of silence.
            "general": {"enableAutoUpdate": False, "disableAutoUpdate": True, "maxAttempts": 3},
            "tools": {"shell": {"inactivityTimeout": int(task.timeout_s)}},
        }
        (home / ".gemini").mkdir()
        (home / ".gemini" / "settings.json").write_text(json.dumps(settings))

    def events(self) -> Events:
        return GeminiEvents()


class GeminiEvents(Events):
    """Tokens are told at the end; until then they are in a file of its home, by message."""

    def __init__(self) -> None:
        super().__init__()
        self._is_new = True
        self._messages: dict[object, list[int]] = {}
        self._told = [0, 0, 0]

    def event(self, event: Any) -> None:
        match event["type"]:
            case "message" if event["role"] == "assistant":
                # With `delta` a piece of what is being said.
                goes_on = event.get("delta") and not self._is_new
                self.words = self.words + event["content"] if goes_on else event["content"]
                self._is_new = False
                self.worked()
            case "tool_use":
                self.tool_call(event["tool_id"])
                self._is_new = True
            case "tool_result":
                self.tool_done(event["tool_id"])
            case "result":
                self._result(event)

    def _result(self, event: dict[str, Any]) -> None:
        if stats := event.get("stats"):
            told = [int(stats[name]) for name in ("input_tokens", "cached", "output_tokens")]
            self._told = told
            self._count()
        if event["status"] == "success":
            self.success()
        else:
            self.failure(event["error"]["message"])

    def look(self, home: Path) -> None:
        for _, notes in untrusted.below(home, (".gemini", "tmp"), "session-", ".jsonl", _END_BYTES):
            for line in notes.split(b"\n"):
                if b'"tokens"' in line:
                    self.note(line, self._note)

    def _note(self, message: Any) -> None:
        tokens = message["tokens"]
        # Those of thoughts are not among the output.
        numbers = [tokens["input"], tokens["cached"], tokens["total"] - tokens["input"]]
        if min(numbers) < 0:
            raise ValueError("a negative number of tokens")
        # A message is written again when its tools have answered.
        self._messages[message["id"]] = max(self._messages.get(message["id"], numbers), numbers)
        self._count()

    def _count(self) -> None:
        """What the end told of, or what messages did, if that is more."""
        noted = [sum(column) for column in zip(*self._messages.values(), strict=True)]
        self.counted(*max(self._told, noted or self._told))

    def stderr(self, text: str) -> None:
        if "quota will reset after" in text or "Suggested retry after" in text:
            at = limits.reset_at(text)
            if at is None or at > time.time() + PATIENCE_S:
                self.failure(text)
