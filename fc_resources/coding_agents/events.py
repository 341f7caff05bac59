"""What a coding agent's output says: tokens, tool calls, limits; one reader of lines per session.

Formats of the tools lie with them; here is what all of them have in common. An agent can write
such lines itself, so that none of them is proof of anything but of what it cost its own session.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import limits
from fc_resources.ledger import Usage

#: A tool that says it goes on after a shorter wait may do so.
PATIENCE_S = 60.0


@dataclasses.dataclass(frozen=True)
class Limited:
    """A usage limit is reached; `reset_at` in epoch seconds, None if it is not told."""

    reset_at: float | None


class Events:
    """What was read so far.

    Attributes:
        input_tokens: With those from the provider's cache (`cached_tokens`).
        dollars: None while the tool told no price.
        limited: Set as soon as a usage limit is read: the session is over then.
        refused: Whether the key or the account is refused, so that any session would be.
        failed: Whether the tool said that it failed, which its exit code may not.
        message: The last error, else the last words.
    """

    def __init__(self) -> None:
        self.input_tokens = self.cached_tokens = self.output_tokens = 0
        self.dollars: float | None = None
        self.is_told = False
        self.limited: Limited | None = None
        self.refused = self.failed = False
        self.error = self.words = ""
        self._tools: set[object] = set()

    @property
    def tool_calls(self) -> int:
        return len(self._tools)

    @property
    def message(self) -> str:
        return self.error or self.words

    def usage(self, seconds: float) -> Usage:
        """Tokens and dollars so far, with the session's seconds."""
        return Usage(
            self.input_tokens,
            self.cached_tokens,
            self.output_tokens,
            self.dollars,
            seconds,
            self.is_told,
        )

    def line(self, text: str) -> None:
        """Read a line of standard output; what is no event is left alone."""
        if not text.startswith("{"):
            return
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return
        # Lines may be forged, and those of later versions may have other types in them.
        try:
            self.event(event)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
            return

    def event(self, event: Any) -> None:
        """Read one JSON event; may raise what a wrong shape raises."""
        raise NotImplementedError

    def stderr(self, text: str) -> None:
        """Read a line of standard error."""

    def look(self, home: Path) -> None:
        """Read what the tool keeps in its home, while it runs and at the end."""

    def tool_call(self, number: object) -> None:
        self._tools.add(number)

    def counted(self, taken: int, cached: int, given: int) -> None:
        """Take these totals: input with the cached, cached, output tokens."""
        numbers = (int(taken), int(cached), int(given))
        if min(numbers) < 0:
            raise ValueError("a negative number of tokens")
        self.input_tokens, self.cached_tokens, self.output_tokens = numbers
        self.is_told = True

    def failure(self, message: str, status: int | None = None) -> None:
        """The tool says that it failed; its words or the HTTP status say in which way."""
        self.failed = True
        self.error = message or self.error or "failed without a word"
        if limits.is_unpaid(message):
            self.refused = True
        elif status == 429 or limits.is_limit(message):
            self.limit(limits.reset_at(message))
        elif status in (401, 403) or limits.is_refusal(message):
            self.refused = True

    def limit(self, reset_at: float | None) -> None:
        """A usage limit is reached; what was told of its end is not forgotten."""
        known = self.limited.reset_at if self.limited else None
        self.limited = Limited(limits.plausible(reset_at) or known)
