"""The exception tree every other module raises from; permanent or transient is decided here, once.

Nothing is matched by message text later: who understands an error raises the right type.

    FcError
    ├── UsageError         the user asked for something impossible; exit code 2
    ├── TransientError     trying again may help (network, locks, a daemon restarting)
    │   └── UnavailableError   a neighbour could not be asked at all: an unknown, not an answer
    ├── PermanentError     trying the same again gives the same failure
    ├── StopError          nothing more can be asked in this run; what is left stays pending
    ├── ThresholdError     too many items of a month failed
    └── InterruptedRunError   Ctrl-C or a termination request; finished items are kept
"""

import time


class FcError(Exception):
    """Base of all errors of this project; its text is one line for a person to act on.

    `until` (epoch seconds) is when a limit that caused it is over, if that is known.
    """

    def __init__(self, *arguments: object, until: float | None = None) -> None:
        super().__init__(*arguments)
        self.until = until


class UsageError(FcError):
    """Wrong arguments, unreadable input or an unusable home. Nothing was written."""


class TransientError(FcError):
    """A failure that another attempt may not meet."""


class UnavailableError(TransientError):
    """The neighbour that knows the answer could not be reached; there is no answer to store."""


class PermanentError(FcError):
    """A failure that repeats for the same input."""


class StopError(FcError):
    """A key is refused or a quota or budget is spent; every item left would fail the same way."""


class ThresholdError(FcError):
    """More items of a month failed than `FC_MAX_FAILED_SHARE` allows."""


class InterruptedRunError(FcError):
    """The run was asked to stop; what was finished is durable."""


def retry_at(retry_after: str | None) -> float | None:
    """When a limit is over (epoch seconds), by an answer's `Retry-After` in seconds."""
    given = (retry_after or "").strip()
    return time.time() + int(given) if given.isdecimal() else None


def one_line(error: BaseException, limit: int = 300) -> str:
    """The error as a single line of at most `limit` characters, its type when it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
