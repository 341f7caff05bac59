"""OpenAI's Codex: `codex exec --json`. How many tokens it took, and when a limit ends, it notes in
a file of its home while it runs; its last event has the tokens only.
"""

import json
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import untrusted
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.events import PATIENCE_S, Events
from fc_resources.coding_agents.task import Task

#: The end of a session file that is read; its last lines hold what is wanted.
_END_BYTES = 256 * 1024


class Codex(CodingAgent):
    name = "codex"
    key_variable = "OPENAI_API_KEY"
    package = "@openai/codex"
    hint = "A command that goes on is polled with write_stdin until it ends."

    def arguments(self, prompt: str, task: Task) -> list[str]:
        model = ["-c", f"model={json.dumps(self.access.model)}"] if self.access.model else []
        return [
            *("exec", "--json", "--skip-git-repo-check", "--disable", "plugins"),
            "--dangerously-bypass-approvals-and-sandbox",
            *("-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false"),
            *(*model, prompt),
        ]

    def variables(self, task: Task) -> dict[str, str]:
        # The first is for OpenAI itself, the second for a provider of another address.
        return {} if not self.key else {"CODEX_API_KEY": self.key, self.key_variable: self.key}

    def prepare(self, home: Path, task: Task) -> None:
        wait_ms = int(task.timeout_s * 1000)
        lines = [f"background_terminal_max_timeout = {wait_ms}"]
        if self.access.base_url and self.key:
            lines += [
                'model_provider = "given"',
                "[model_providers.given]",
                'name = "given"',
                f"base_url = {json.dumps(self.access.base_url)}",
                f'env_key = "{self.key_variable}"',
                'wire_api = "responses"',
                "request_max_retries = 3",
                "stream_max_retries = 3",
            ]
        (home / ".codex").mkdir()
        (home / ".codex" / "config.toml").write_text("\n".join([*lines, ""]))

    def events(self) -> Events:
        return CodexEvents()


class CodexEvents(Events):
    """An `error` may be followed by another try; a failed turn is the end."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: dict[str, list[int]] = {}
        self._turns = [0, 0, 0]

    def event(self, event: Any) -> None:
        match event["type"]:
            case "item.started" | "item.completed":
                self._item(event["item"], event["type"] == "item.completed")
            case "turn.completed":
                self._turns = _usage(event["usage"])
                self._count()
                self.success()
            case "turn.failed":
                self.failure(_message(event["error"]["message"]))
            case "error":
                message = _message(event["message"])
                goes_on = message.startswith("Reconnecting")
                self.failure(message, patience_s=PATIENCE_S if goes_on else None)

    def _item(self, item: dict[str, Any], is_done: bool) -> None:
        match item["type"]:
            case "agent_message":
                self.words = item["text"]
                self.worked()
            case "reasoning" | "todo_list":
                self.worked()
            case "error":
                pass
            case _:
                self.tool_call(item["id"])
                if is_done:
                    self.tool_done(item["id"])

    def _count(self) -> None:
        """What turns told of, or what the files of all threads did, if that is more."""
        noted = [sum(column) for column in zip(*self._notes.values(), strict=True)]
        self.counted(*max(self._turns, noted or self._turns))

    def look(self, home: Path) -> None:
        for name, notes in untrusted.below(
            home, (".codex", "sessions"), "rollout-", ".jsonl", _END_BYTES
        ):
            for line in notes.split(b"\n"):
                if b'"token_count"' in line:
                    self.note(line, lambda event, name=name: self._note(name, event))

    def _note(self, name: str, event: Any) -> None:
        payload = event["payload"]
        if event["type"] != "event_msg" or payload["type"] != "token_count":
            return
        if total := (payload.get("info") or {}).get("total_token_usage"):
            # Each file has the total of its thread, which only grows.
            self._notes[name] = max(self._notes.get(name, [0, 0, 0]), _usage(total))
            self._count()
        windows = payload.get("rate_limits") or {}
        full = [w for w in (windows.get("primary"), windows.get("secondary")) if w]
        # Healthy sessions note their windows too; without one that is used up the fullest counts.
        full.sort(key=lambda window: window["used_percent"])
        if self.limited is not None and full:
            self.limit(full[-1].get("resets_at"))


def _usage(usage: dict[str, Any]) -> list[int]:
    names = ("input_tokens", "cached_input_tokens", "output_tokens")
    numbers = [int(usage[name]) for name in names]
    if min(numbers) < 0:
        raise ValueError("a negative number of tokens")
    return numbers


def _message(text: str) -> str:
    """The words in an error, which may be the provider's JSON."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text
