"""OpenAI's Codex: `codex exec --json`. How many tokens it took, and when a limit ends, it notes in
a file of its home while it runs; its last event has the tokens only.
"""

import json
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import limits, untrusted
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.events import Events
from fc_resources.coding_agents.task import Task

#: The end of a session file that is read; its last lines hold what is wanted.
_END_BYTES = 256 * 1024


class Codex(CodingAgent):
    name = "codex"
    key_variable = "OPENAI_API_KEY"
    package = "@openai/codex"
    login = ".codex/auth.json"
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
        if not self.key:
            return {}
        # The first is for OpenAI itself, the second for a provider of another address.
        return {"CODEX_API_KEY": self.key, self.key_variable: self.key}

    def prepare(self, home: Path, task: Task) -> None:
        wait_ms = int(task.timeout_s * 1000)
        lines = [f"background_terminal_max_timeout = {wait_ms}"]
        if self.access.base_url:
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

    def event(self, event: Any) -> None:
        match event["type"]:
            case "item.started" | "item.completed":
                self._item(event["item"])
            case "turn.completed":
                self._usage(event["usage"])
                self.failed, self.error = False, ""
            case "turn.failed":
                self.failure(_message(event["error"]["message"]))
            case "error":
                self._maybe(_message(event["message"]))
            case "event_msg" if event["payload"]["type"] == "token_count":
                self._note(event["payload"])

    def _item(self, item: dict[str, Any]) -> None:
        match item["type"]:
            case "agent_message":
                self.words = item["text"]
            case "reasoning" | "error" | "todo_list":
                pass
            case _:
                self.tool_call(item["id"])

    def _maybe(self, message: str) -> None:
        if limits.is_limit(message) or limits.is_refusal(message):
            self.failure(message)
        self.error = message

    def _usage(self, usage: dict[str, Any]) -> None:
        self.counted(usage["input_tokens"], usage["cached_input_tokens"], usage["output_tokens"])

    def look(self, home: Path) -> None:
        with untrusted.folder(home, ".codex", "sessions") as folder:
            if folder is None:
                return
            for notes in untrusted.below(folder, "rollout-", ".jsonl", _END_BYTES):
                for line in notes.split(b"\n"):
                    if b'"token_count"' in line:
                        self.line(line.decode("utf-8", "replace"))

    def _note(self, payload: dict[str, Any]) -> None:
        if total := (payload.get("info") or {}).get("total_token_usage"):
            self._usage(total)
        windows = payload.get("rate_limits") or {}
        full = [w for w in (windows.get("primary"), windows.get("secondary")) if w]
        # Healthy sessions note their windows too; without one that is used up the fullest counts.
        full.sort(key=lambda window: window["used_percent"])
        if self.limited is not None and full:
            self.limit(full[-1].get("resets_at"))


def _message(text: str) -> str:
    """The words in an error, which may be the provider's JSON."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text
