"""What a session of a coding agent is given, how it may end, and what is kept of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from fc_resources.ledger import Usage

#: How a session ended. `refused` is for its key, account or model, so that others would end the
#: same way; `rate_limited` and `unreachable` ones, where the provider could not be asked, are no
#: attempts, nor are `stopped` ones; `tampered` means that more than the scripts was changed.
Ended = Literal[
    "finished",
    "failed",
    "refused",
    "timed_out",
    "token_limit",
    "rate_limited",
    "unreachable",
    "stopped",
    "tampered",
]


@dataclasses.dataclass(frozen=True)
class Task:
    """What an agent is to do.

    Attributes:
        prompt: What it is told; how the workspace works is added.
        files: What it can read in its workspace, by relative path.
        scripts: What it may change, by file name; they lie in `scripts/`.
        verify: Builds and checks scripts on the host, by its own limits: passed, and a report for
            the agent. Called by one thread at a time, seldom for the same scripts twice.
            Soon after it has told that they passed, the session ends.
        timeout_s: Wall clock of the session, with the waiting for `verify`.
        max_tokens: Input, cached or not, and output that end the session.
    """

    prompt: str
    files: Mapping[str, str]
    scripts: Mapping[str, str]
    verify: Callable[[Mapping[str, str]], tuple[bool, str]]
    timeout_s: float
    max_tokens: int


@dataclasses.dataclass(frozen=True)
class Session:
    """How a session ended.

    Attributes:
        scripts: Those of the task, as the agent left them; the given one for what is no text of
            256 KiB at most or has a secret of the agent in it.
        usage: Dollars are None when the tool tells no price.
        message: The last error, else the agent's last words, in one line.
        reset_at: Only of a `rate_limited` one: when it may go on, in epoch seconds, if told.
        log: The end of its output. Neither this nor the message has the agent's key in it, nor
            the password of a proxy or of its model's address.
    """

    ended: Ended
    scripts: Mapping[str, str]
    usage: Usage
    tool_calls: int
    message: str
    reset_at: float | None
    log: str
