"""What providers say of limits and keys, word for word."""

import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc_resources.coding_agents import limits

#: A Saturday, 6:00 PM where this runs.
NOW = datetime.datetime(2026, 11, 21, 18, 0).timestamp()


def at(day: int, hour: int, minute: int) -> float:
    return datetime.datetime(2026, 11, day, hour, minute).timestamp()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "You\u2019ve hit your usage limit. Go Pro or try again at 7:49 AM.",
            at(22, 7, 49),
        ),
        ("You've hit your usage limit. Try again; try again at 11:05 PM.", at(21, 23, 5)),
        ("You\u2019ve hit your usage limit. ... try again at 12:30 AM.", at(22, 0, 30)),
        ("You\u2019ve hit your usage limit. try again at Nov 26th, 2026 10:51 PM.", at(26, 22, 51)),
        ("You\u2019ve hit your usage limit. Or try again at 5:59 PM.", at(21, 17, 59)),
        ("You\u2019ve hit your usage limit. Upgrade to Pro or try again later.", None),
        ("try again at Nov 31st, 2026 10:51 PM", None),
        ("try again at 25:00 PM", None),
        ("Please retry. Suggested retry after 14400s.", NOW + 14400),
        ("Quota exhausted. Your quota will reset after 2h1m30s.", NOW + 7290),
        ("Rate limit reached. Please try again in 20.5s.", NOW + 20.5),
        ("Rate limit reached. Please try again in 250ms.", NOW + 0.25),
        ("try again in 3 days 2 hours 5 minutes", NOW + 3 * 86400 + 2 * 3600 + 300),
        ('{"retryDelay": "37s"}', NOW + 37),
        ("Claude AI usage limit reached|1795300000", 1795300000),
        ("failed after 3 attempts in 2 steps", None),
        ("API Error: Request rejected (429)", None),
    ],
)
def test_when_a_limit_ends(message: str, expected: float | None) -> None:
    found = limits.reset_at(message, NOW)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    limits.reset_at(text)
    limits.reset_at(f"try again at {text}")
    limits.is_limit(text)
    limits.is_refusal(text)


@pytest.mark.parametrize(
    "message",
    [
        "You\u2019ve hit your usage limit. Try again later.",
        "exceeded retry limit, last status: 429 Too Many Requests",
        "[API Error: 429 Rate limit reached]",
        "API Error: Request rejected (429)",
        "You exceeded your current quota, please check your plan and billing details. For more "
        "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
        "RESOURCE_EXHAUSTED",
    ],
)
def test_limits(message: str) -> None:
    assert limits.is_limit(message)
    assert not limits.is_refusal(message)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid API key · Fix external API key",
        "unexpected status 401 Unauthorized: Incorrect API key provided: sk-***",
        '{"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}',
        "[API Error: 401 invalid x-api-key]",
        "Not logged in · Please run /login",
        "Credit balance is too low",
        "429 You exceeded your current quota, please check your plan and billing details. For more "
        "information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors.",
    ],
)
def test_refusals(message: str) -> None:
    assert limits.is_refusal(message)


@pytest.mark.parametrize(
    "message",
    [
        "Internal server error",
        "Overloaded",
        "stream closed",
        "API Error: Unable to connect to API (ConnectionRefused)",
        "Reconnecting... 5/5 (stream disconnected before completion)",
        "exception TypeError: fetch failed sending request",
        "[API Error: connect ECONNREFUSED 127.0.0.1:9]",
        "[API Error: Connection error. (cause: fetch failed)]",
        "[API Error: 503 status code (no body)]",
        "unexpected status 529: overloaded_error",
        "Request timed out.",
        "read ECONNRESET",
    ],
)
def test_outages(message: str) -> None:
    assert limits.kind(message) == "unreachable"


@pytest.mark.parametrize(
    "message",
    [
        "[API Error: 404 The model `x` does not exist]",
        "not_found_error: model: x",
        "Missing environment variable: `OPENAI_API_KEY`.",
    ],
)
def test_what_no_other_session_would_have(message: str) -> None:
    assert limits.kind(message) == "refused"


@pytest.mark.parametrize("message", ["The prompt is too long", "Maximum turns reached", ""])
def test_other_failures(message: str) -> None:
    assert limits.kind(message) is None


def test_a_forged_time_is_not_believed() -> None:
    now = time.time()
    assert limits.plausible(now + 3600) == now + 3600
    for forged in (0.0, now - 3600, now + 86_400 * 365, float("inf"), float("nan"), None):
        assert limits.plausible(forged) is None
