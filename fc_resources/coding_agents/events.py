"""What a coding agent's output says: tokens, tool calls, limits; one reader of lines per session.

Formats of the tools lie with them; here is what all of them have in common. An agent can write
such lines itself, so that none of them is proof of anything but of what it cost its own session.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fc_resources.coding_agents import limits
from fc_resources.coding_agents.task import Ended
from fc_resources.ledger import Usage

#: A tool that says it goes on after a shorter wait may do so.
PATIENCE_S = 60.0
#: A tool that says it failed and then nothing for so long has failed, even if it goes on.
SILENT_S = 5.0
#: Some try for ever.
_TRYING_S = 300.0


@dataclasses.dataclass(frozen=True)
class Limited:
    """A usage limit is reached; `reset_at` in epoch seconds, None if it is not told."""

    reset_at: float | None


class Events:
    """What was read so far.

    A failure is noted when it is told, which a child of the tool may do in its name. It is
    forgotten when the tool goes on with its work, and believed when it ends, is silent, or tries
    the same for minutes.

    Attributes:
        input_tokens: With those from the provider's cache (`cached_tokens`).
        dollars: None while the tool told no price.
        limited: A usage limit that was noted.
        refused: Whether the key, the account or the model is refused, as any session would be.
        no_model: Whether it is the model.
        unreachable: Whether the provider could not be asked.
        failed: Whether the tool said that it failed, which its exit code may not.
        succeeded: Whether it said that it is done.
        told_at: When its last event was read, in epoch seconds.
        message: The last error, else the last words.
    """

    def __init__(self) -> None:
        self.input_tokens = self.cached_tokens = self.output_tokens = 0
        self.dollars: float | None = None
        self.is_told = False
        self.limited: Limited | None = None
        self.refused = self.no_model = self.unreachable = self.failed = self.succeeded = False
        self.told_at = 0.0
        self._noted_at = self._failing_since = 0.0
        self._patience_s = SILENT_S
        self.error = self.words = ""
        self._tools: set[object] = set()
        self._running: set[object] = set()

    @property
    def ended(self) -> Ended | None:
        """How the session ends if what was noted is believed; None for no or another failure."""
        if self.refused:
            return "refused"
        if self.limited is not None:
            return "rate_limited"
        return "unreachable" if self.unreachable else None

    @property
    def is_idle(self) -> bool:
        """Whether no tool call runs: only then the provider is asked."""
        return not self._running

    def is_over(self) -> bool:
        """Whether the tool has said nothing for long since the last failure, or no longer should.

        It is not while its own tools run, which may have said so in its name.
        """
        now = time.time()
        is_silent = now - max(self.told_at, self._noted_at) > self._patience_s
        is_stuck = self.failed and now - self._failing_since > _TRYING_S
        return self.is_idle and (is_silent or is_stuck)

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
        if text.startswith("{"):
            self.told_at = time.time()
            self.note(text, self.event)

    def note(self, text: str | bytes, read: Callable[[Any], None]) -> None:
        """Have a line of JSON read, of whatever shape it is."""
        # Lines may be forged, and those of later versions may have other types in them.
        try:
            read(json.loads(text))
        except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
            return
        except RecursionError:
            return

    def event(self, event: Any) -> None:
        """Read one JSON event; may raise what a wrong shape raises."""
        raise NotImplementedError

    def stderr(self, text: str) -> None:
        """Read a line of standard error."""

    def look(self, home: Path) -> None:
        """Read what the tool keeps in its home, while it runs and at the end."""

    def tool_call(self, number: object) -> None:
        self.worked()
        self._tools.add(number)
        self._running.add(number)

    def tool_done(self, number: object) -> None:
        self.worked()
        self._running.discard(number)

    def worked(self) -> None:
        """The tool goes on: what failed before was not the end."""
        self.limited = None
        self.refused = self.no_model = self.unreachable = self.failed = self.succeeded = False
        self.error = ""

    def success(self) -> None:
        """The tool says that it is done."""
        self.worked()
        self.succeeded = True

    def counted(self, taken: int, cached: int, given: int) -> None:
        """Take these totals: input with the cached, cached, output tokens."""
        numbers = (int(taken), int(cached), int(given))
        if min(numbers) < 0:
            raise ValueError("a negative number of tokens")
        self.input_tokens, self.cached_tokens, self.output_tokens = numbers
        self.is_told = True

    def failure(
        self, message: str, status: int | None = None, patience_s: float | None = None
    ) -> None:
        """The tool says that it failed; its words or the HTTP status say in which way."""
        kind = limits.kind(message, status)
        known = self.limited
        self._noted_at = time.time()
        if not self.failed:
            self._failing_since = self._noted_at
        if kind is not None:
            self.worked()
        self.failed, self.succeeded = True, False
        self.error = message or self.error or "failed without a word"
        self._patience_s = SILENT_S if patience_s is None else patience_s
        self.refused = self.refused or kind == "refused"
        is_key = status in (401, 403) or limits.is_refusal(message)
        self.no_model = kind == "refused" and not is_key
        self.unreachable = self.unreachable or kind == "unreachable"
        if kind == "rate_limited":
            self.limited = known
            self.limit(limits.reset_at(message))

    def limit(self, reset_at: float | None) -> None:
        """A usage limit is reached; what was told of its end is not forgotten."""
        if self.limited is None:
            self._noted_at = time.time()
        known = self.limited.reset_at if self.limited else None
        self.limited = Limited(limits.plausible(reset_at) or known)
