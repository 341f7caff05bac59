"""Words of providers: a usage limit and when it ends, a key that is refused.

Only what a tool gives as an error is read so; the words of a model may say anything.
"""

import datetime
import re
import time
from typing import Literal

#: No limit lasts longer than the weekly ones, and agents can forge what is read here.
_LONGEST_S = 8 * 86_400.0
#: A minute that has begun may be told as the time, and seconds pass until it is read.
_SLACK_S = 120.0
_LIMIT = re.compile(
    r"(?:usage|rate).?limit|quota|too many requests|RESOURCE_EXHAUSTED|limit reached|\b429\b"
    r"|hit your (?:\w+ )?limit",
    re.IGNORECASE,
)
#: Answers with the status of a limit that no waiting helps; Google words its daily quota alike.
_UNPAID = re.compile(
    r"insufficient_quota|openai\.com/docs/guides/error-codes|credit balance is too low"
    r"|billing_hard_limit",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b40[13]\b|api.?key.{0,30}(?:invalid|not valid|expired|incorrect)|PERMISSION_DENIED"
    r"|(?:invalid|incorrect).{0,20}api.?key|UNAUTHENTICATED|unauthorized|authentication_error"
    r"|(?:not logged in|please run).{0,20}/login|token.{0,10}expired|missing environment variable",
    re.IGNORECASE,
)
#: A model that is not there will not be there for the next session either.
_NO_MODEL = re.compile(
    r"\b404\b|not_found|model_not_found|models?\b.{0,80}(?:not found|(?:does|may) not exist)",
    re.IGNORECASE,
)
_OUTAGE = re.compile(
    r"\b5(?:0[0-9]|2[0-9])\b|overloaded|internal (?:server )?error|(?:bad|time-?out) gateway"
    r"|UNAVAILABLE|connection.{0,12}(?:refused|reset|error|closed|aborted|failed)"
    r"|(?:unable|failed|cannot|could not) to connect|time[ds]?.?out|fetch failed|socket hang up"
    r"|\bE(?:CONN[A-Z]+|TIMEDOUT|NOTFOUND|AI_AGAIN|PIPE|HOSTUNREACH|NETUNREACH)\b|reconnecting"
    r"|stream (?:closed|disconnected)|error sending request|network.{0,12}error",
    re.IGNORECASE,
)
#: What kind of failure an error tells of: no other session would do better now, or for a while.
Kind = Literal["refused", "rate_limited", "unreachable"]
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = (
    r"(\d+(?:\.\d+)?)\s*(ms|d(?:ays?)?|h(?:ours?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)(?![a-z])"
)
_WAIT = re.compile(rf"\b(?:after|in)\s+((?:{_PART}\s*)+)|\"retryDelay\":\s*\"({_PART})")
_CLOCK = re.compile(
    r"try again at (?:(?P<month>[A-Z][a-z]{2})[a-z]* (?P<day>\d{1,2})(?:st|nd|rd|th),? "
    r"(?P<year>\d{4}),? )?(?P<hour>1[0-2]|0?[1-9]):(?P<minute>\d{2})\s(?P<half>[AP]M)"
)
_EPOCH = re.compile(r"limit reached\|(\d{10})\b")


def is_limit(message: str) -> bool:
    """Whether an error says that waiting would help."""
    return _LIMIT.search(message) is not None


def is_refusal(message: str) -> bool:
    """Whether an error says that the key, or whoever pays for it, is not accepted."""
    return is_unpaid(message) or _REFUSAL.search(message) is not None


def is_unpaid(message: str) -> bool:
    """Whether an error that may look like a limit waits for somebody to pay."""
    return _UNPAID.search(message) is not None


def is_unknown_model(message: str) -> bool:
    """Whether an error says that there is no such model."""
    return _NO_MODEL.search(message) is not None


def is_outage(message: str) -> bool:
    """Whether an error says that the provider could not be asked."""
    return _OUTAGE.search(message) is not None


def kind(message: str, status: int | None = None) -> Kind | None:
    """What an error means, by its words or its HTTP status; None for any other failure."""
    if is_unpaid(message):
        return "refused"
    if status == 429 or is_limit(message):
        return "rate_limited"
    if status in (401, 403, 404) or is_refusal(message) or is_unknown_model(message):
        return "refused"
    return "unreachable" if (status or 0) >= 500 or is_outage(message) else None


def reset_at(message: str, now: float | None = None) -> float | None:
    """When a limit ends, in epoch seconds, as far as a message tells.

    Known are waits such as `retry after 14400s.` and `reset after 2h1m30s`, and codex's clock
    times, `try again at 7:49 AM.` and `Nov 26th, 2026 10:51 PM`, which are local and without zone.
    """
    now = time.time() if now is None else now
    if epoch := _EPOCH.search(message):
        return float(epoch[1])
    if wait := _WAIT.search(message):
        parts = re.findall(_PART, wait[0])
        return now + sum(float(number) * _UNIT_S[_unit(unit)] for number, unit in parts)
    if clock := _CLOCK.search(message):
        return _local(clock, now)
    return None


def plausible(at: float | None, now: float | None = None) -> float | None:
    """A time as it may be believed: not in the past, and no later than a week and a day."""
    now = time.time() if now is None else now
    return at if at is not None and now - _SLACK_S < at < now + _LONGEST_S else None


def _unit(text: str) -> str:
    return "ms" if text == "ms" else text[0]


def _local(clock: re.Match[str], now: float) -> float | None:
    hour = int(clock["hour"]) % 12 + (12 if clock["half"] == "PM" else 0)
    today = datetime.datetime.fromtimestamp(now)
    try:
        at = today.replace(hour=hour, minute=int(clock["minute"]), second=0, microsecond=0)
        if clock["month"] is not None:
            day = datetime.datetime.strptime(
                f"{clock['month']} {clock['day']} {clock['year']}", "%b %d %Y"
            )
            at = at.replace(year=day.year, month=day.month, day=day.day)
    except ValueError:
        return None
    if clock["month"] is None and at.timestamp() < now - _SLACK_S:
        at += datetime.timedelta(days=1)
    return at.timestamp()
