"""Qwen Code: `qwen -p`, with events in the shape of Claude's. It waits in silence for as long as a
server says, which only its debug log tells; older versions end with code 0 and an error for an
answer.
"""

import datetime
import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import untrusted
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.claude import ClaudeEvents
from fc_resources.coding_agents.events import PATIENCE_S, Events
from fc_resources.coding_agents.task import Task

_ERROR = re.compile(r"\[API Error: .*\]", re.DOTALL)
#: One record of the debug log, which may have more lines; what its tools print is in it as well.
_RECORD = re.compile(rb"^\d{4}-\d\d-\d\dT\S+ \[[A-Z]+\] ", re.MULTILINE)
#: Records that come without any work being done.
_IDLE = b" [SLEEP_INHIBITOR] "
#: How much earlier than the last event a record may be, which is read a moment later.
_SLACK_S = 2.0
_LOG_BYTES = 256 * 1024
_WAITS = re.compile(
    r"^(\S+) \[WARN\] \[RETRY\] (Attempt \d+ failed with status 429)\. "
    r"Retrying after explicit delay of (\d+)ms",
)


class Qwen(CodingAgent):
    name = "qwen"
    key_variable = "OPENAI_API_KEY"
    package = "@qwen-code/qwen-code"
    hint = "Give the shell tool no timeout for it: its default is long enough."

    def obstacle(self) -> str | None:
        if self.key and self.access.model is None:
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

    def __init__(self) -> None:
        super().__init__()
        #: The words of the last message, and what they took.
        self._last = ("", 0)

    def event(self, event: Any) -> None:
        if event["type"] == "result":
            error = (event.get("error") or {}).get("message")
            text = event.get("result") or ""
            if error or (_ERROR.fullmatch(text.strip()) and not self._was_said(text, event)):
                event = {**event, "is_error": True, "result": error or text}
        super().event(event)

    def _message(self, message: dict[str, Any], error: str | None) -> None:
        super()._message(message, error)
        self._last = (self.words, (message.get("usage") or {}).get("output_tokens") or 0)

    def _was_said(self, text: str, event: Any) -> bool:
        """Whether the model took tokens to say this, if so to fool whoever reads it."""
        words, tokens = self._last
        if not words:
            tokens = event["usage"]["output_tokens"]
        return words in ("", text) and tokens > 0

    def look(self, home: Path) -> None:
        for _, content in untrusted.below(home, (".qwen", "debug"), "", ".txt", _LOG_BYTES):
            begins = [match.start() for match in _RECORD.finditer(content)]
            records = [content[a:b] for a, b in itertools.pairwise([*begins, None])]
            records = [record for record in records if _IDLE not in record]
            if records and (found := _WAITS.match(records[-1].decode("utf-8", "replace"))):
                self._waits(found[1], found[2], int(found[3]) / 1000)

    def _waits(self, since: str, failure: str, wait_s: float) -> None:
        """Believe a record if it is of now: while tools run, what they print is not."""
        begun = datetime.datetime.fromisoformat(since).timestamp()
        is_new = self.told_at - _SLACK_S < begun < time.time() + _SLACK_S
        if wait_s > PATIENCE_S and self.limited is None and is_new and self.is_idle:
            self.failure(f"{failure}; it would wait for {wait_s:.0f} s", 429)
            self.limit(begun + wait_s)

    def tokens(self, usage: dict[str, Any]) -> list[int]:
        read = usage.get("cache_read_input_tokens") or 0
        return [usage["input_tokens"], read, usage["output_tokens"]]
