"""Claude Code: `claude -p`, whose events are JSON lines; `rate_limit_event` tells of its limits."""

import json
from pathlib import Path
from typing import Any

from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.events import Events
from fc_resources.coding_agents.task import Task

#: What `claude setup-token` gives for a subscription; API keys have another prefix.
_SUBSCRIPTION = "sk-ant-oat"


class Claude(CodingAgent):
    name = "claude"
    key_variable = "ANTHROPIC_API_KEY"
    package = "@anthropic-ai/claude-code"
    hint = "Give the Bash tool a timeout of {milliseconds} for it."

    def arguments(self, prompt: str, task: Task) -> list[str]:
        model = ["--model", self.access.model] if self.access.model else []
        return [
            *("-p", prompt, "--output-format", "stream-json", "--verbose"),
            *("--dangerously-skip-permissions", *model),
        ]

    def variables(self, task: Task) -> dict[str, str]:
        patience = f"{task.timeout_s * 1000:.0f}"
        found = {
            "BASH_DEFAULT_TIMEOUT_MS": patience,
            "BASH_MAX_TIMEOUT_MS": patience,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "3",
            "DISABLE_AUTOUPDATER": "1",
        }
        if self.access.base_url:
            found["ANTHROPIC_BASE_URL"] = self.access.base_url
        if self.key:
            found[self.credential] = self.key
        return found

    @property
    def credential(self) -> str:
        is_token = self.key is not None and self.key.startswith(_SUBSCRIPTION)
        return "CLAUDE_CODE_OAUTH_TOKEN" if is_token else self.key_variable

    def prepare(self, home: Path, task: Task) -> None:
        # A home that was never used asks questions first.
        settings = {"hasCompletedOnboarding": True}
        (home / ".claude.json").write_text(json.dumps(settings))

    def events(self) -> Events:
        return ClaudeEvents()


class ClaudeEvents(Events):
    """A message's usage is repeated with each of its parts; only the result has the totals.

    A rejected `rate_limit_event` is what its child wrote, perhaps, and believed as `Events` does.
    """

    def __init__(self) -> None:
        super().__init__()
        self._messages: dict[str, list[int]] = {}

    def event(self, event: Any) -> None:
        match event["type"]:
            case "assistant":
                self._message(event["message"], event.get("error"))
            case "user":
                for part in event["message"]["content"]:
                    if part["type"] == "tool_result":
                        self.tool_done(part["tool_use_id"])
            case "rate_limit_event":
                found = event["rate_limit_info"]
                if found["status"] == "rejected" and not found.get("isUsingOverage"):
                    self.limit(found.get("resetsAt"))
            case "result":
                self._result(event)

    def _message(self, message: dict[str, Any], error: str | None) -> None:
        if not error:
            self.worked()
        for part in message["content"]:
            if part["type"] == "tool_use":
                self.tool_call(part["id"])
            elif part["type"] == "text" and not error:
                self.words = part["text"]
        if usage := message.get("usage"):
            numbers = self.tokens(usage)
            before = self._messages.get(message["id"], numbers)
            # The first of its parts is told before the last token is counted.
            self._messages[message["id"]] = [
                max(pair) for pair in zip(before, numbers, strict=True)
            ]
            totals = zip(*self._messages.values(), strict=True)
            self.counted(*(sum(column) for column in totals))

    def _result(self, event: dict[str, Any]) -> None:
        usage = self.tokens(event["usage"])
        if any(usage) or not self._messages:
            self.counted(*usage)
        self.dollars = event.get("total_cost_usd")
        text = event.get("result") or " ".join(event.get("errors") or [])
        if event["is_error"]:
            self.failure(text, event.get("api_error_status"))
        else:
            self.words = text or self.words
            self.success()

    def tokens(self, usage: dict[str, Any]) -> list[int]:
        """Input with the cached, cached, output; what was read from and written to the cache is
        not among `input_tokens`.
        """
        read = usage.get("cache_read_input_tokens") or 0
        written = usage.get("cache_creation_input_tokens") or 0
        return [usage["input_tokens"] + read + written, read, usage["output_tokens"]]
