"""Google's Gemini CLI: `gemini -p`. When its quota is used up it may only say so on standard error,
and then sleep until the next day.
"""

import json
import time
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import limits
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.events import PATIENCE_S, Events
from fc_resources.coding_agents.task import Task


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
    """Tokens are told at the end only."""

    def __init__(self) -> None:
        super().__init__()
        self._is_new = True

    def event(self, event: Any) -> None:
        match event["type"]:
            case "message" if event["role"] == "assistant":
                # With `delta` a piece of what is being said.
                goes_on = event.get("delta") and not self._is_new
                self.words = self.words + event["content"] if goes_on else event["content"]
                self._is_new = False
            case "tool_use":
                self.tool_call(event["tool_id"])
                self._is_new = True
            case "result":
                self._result(event)

    def _result(self, event: dict[str, Any]) -> None:
        if stats := event.get("stats"):
            self.counted(stats["input_tokens"], stats["cached"], stats["output_tokens"])
        if event["status"] != "success":
            self.failure(event["error"]["message"])

    def stderr(self, text: str) -> None:
        if "quota will reset after" in text or "Suggested retry after" in text:
            at = limits.reset_at(text)
            if at is None or at > time.time() + PATIENCE_S:
                self.failure(text)
