"""The GitHub client under everything that a bad day brings, against a GitHub on loopback.

What is asked, and what becomes of the answers, is tested with `github_merged` and
`github_queries`.
"""

import asyncio
import contextlib
import dataclasses
import email.utils
import json
import logging
import signal
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fc_resources import github as client
from fc_resources import github_answers, ledger_sqlite, ledger_store, ledger_waiting
from fc_resources.errors import (
    FcError,
    InterruptedRunError,
    PermanentError,
    TransientError,
    UnavailableError,
)
from fc_resources.github import GitHub
from fc_resources.github_answers import (
    Answer,
    GoneError,
    RateLimitedError,
    RefusedError,
    Request,
    TooHeavyError,
)
from fc_resources.ledger import Ledger
from tests import samples
from tests.fakes import github, github_faults, github_wire

pytestmark = pytest.mark.github

ONE, TWO, THREE = TOKENS = ("ghp_secretONE", "ghp_secretTWO", "ghp_secretTHREE")
ASKED = 'query Test { repository(owner: "o", name: "r") { stargazerCount } }'
SEARCHED = {"q": "filename:asv.conf.json size:0..9"}
DIFF = "application/vnd.github.diff"

Connect = Callable[..., GitHub]


@pytest.fixture
def fake() -> Iterator[github.GitHub]:
    with github.GitHub(TOKENS) as running:
        running.repository("o/r", stargazerCount=7)
        running.diffs["a" * 40] = b"diff --git a/x b/x\n"
        yield running
        assert running.invalid_queries == []


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


@pytest.fixture
def connect(
    fake: github.GitHub, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., GitHub]:
    """A client with the first token, and almost no time between tries."""
    monkeypatch.setattr(client, "_BACKOFF_S", 0.01)
    monkeypatch.setattr(client, "_LOOK_S", 0.05)

    def connect(*tokens: str, **options: Any) -> GitHub:
        return GitHub(tokens or (ONE,), options.pop("ledger", ledger), url=fake.url, **options)

    return connect


def stars(found: GitHub) -> int:
    return found.ask(found.graphql(ASKED, {})).values["repository"]["stargazerCount"]


def diff(found: GitHub, sha: str = "a" * 40) -> bytes:
    path = f"/repos/o/r/commits/{sha}"
    return found.ask(found.rest(path, accept=DIFF, remember=False))


def search(found: GitHub) -> dict[str, Any]:
    return json.loads(found.ask(found.rest("/search/code", SEARCHED, resource="code_search")))


def used(fake: github.GitHub) -> list[str | None]:
    return [request.token for request in fake.requests]


def answers(status: int, body: Any, **headers: str) -> github_wire.Fault:
    """A fault with just these headers, underscores standing for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: github_wire.of_json(status, body, named)


# Tokens and budgets.


def test_tokens_take_turns(fake: github.GitHub, connect: Connect) -> None:
    found = connect(*TOKENS)
    assert [stars(found) for _ in range(6)] == [7] * 6
    assert used(fake) == [*TOKENS, *TOKENS]


def test_without_a_token_there_is_no_github(connect: Connect, ledger: Ledger) -> None:
    assert not GitHub((), ledger)
    assert connect(ONE)


def test_a_spent_token_is_not_asked_before_its_reset_and_the_others_are(
    fake: github.GitHub, connect: Connect
) -> None:
    fake.budget(TWO, "graphql", 1, 3_000)
    found = connect(*TOKENS)
    for _ in range(6):
        stars(found)
    assert used(fake) == [ONE, TWO, THREE, ONE, THREE, ONE]
    # Only that resource: REST has a budget of its own.
    diffs = len(fake.requests)
    for _ in range(3):
        diff(found)
    assert set(used(fake)[diffs:]) == set(TOKENS)


@pytest.mark.parametrize("kind", ["RATE_LIMITED", "RATE_LIMIT"])
def test_graphqls_primary_limit_moves_on_to_another_token(
    fake: github.GitHub, connect: Connect, ledger: Ledger, kind: str
) -> None:
    fake.fault(github_faults.primary_graphql(3_000, kind), when=lambda asked: asked.token == ONE)
    found = connect(ONE, TWO)
    assert [stars(found) for _ in range(3)] == [7] * 3
    assert used(fake) == [ONE, TWO, TWO, TWO]
    [(name, pause)] = ledger.pauses().items()
    assert name.endswith(":graphql")
    assert 2_900 < pause.until - time.time() <= 3_001
    assert diff(found)
    assert used(fake)[-1] == ONE


@pytest.mark.parametrize("status", [403, 429])
def test_rests_primary_limit_moves_on_to_another_token(
    fake: github.GitHub, connect: Connect, ledger: Ledger, status: int
) -> None:
    fake.fault(github_faults.primary_rest(3_000, status))
    found = connect(ONE, TWO)
    assert diff(found)
    assert diff(found)
    assert used(fake) == [ONE, TWO, TWO]
    assert [name.rpartition(":")[2] for name in ledger.pauses()] == ["core"]
    assert stars(found) == 7
    assert used(fake)[-1] == ONE


@pytest.mark.parametrize("status", [403, 429, 200])
@pytest.mark.parametrize("after", [None, 3_000])
def test_a_secondary_limit_pauses_the_token_for_everything_and_every_process(
    fake: github.GitHub, connect: Connect, ledger: Ledger, status: int, after: int | None
) -> None:
    fake.fault(github_faults.secondary(after, status))
    found = connect(ONE, TWO)
    assert stars(found) == 7
    assert diff(found)
    assert used(fake) == [ONE, TWO, TWO]
    [(name, pause)] = ledger.pauses().items()
    assert name.endswith(":*")
    wait = after or 60
    assert wait - 30 < pause.until - time.time() <= wait + 1
    # Another process: nothing but the ledger is shared, and all of its threads ask at once.
    other = connect(ONE, TWO, ledger=Ledger(str(ledger.url)))

    async def much() -> None:
        await asyncio.gather(*(other.graphql(ASKED, {}) for _ in range(6)))

    other.ask(much())
    assert set(used(fake)[3:]) == {TWO}


def test_requests_under_way_together_meet_one_limit_and_the_next_waits_longer(
    fake: github.GitHub, connect: Connect, ledger: Ledger
) -> None:
    gate = threading.Barrier(6)

    def limited(request: github_wire.Request) -> github_wire.Answer | None:
        gate.wait(5)
        return github_faults.secondary(None)(request)

    fake.fault(limited, times=6)
    found = connect(ONE, max_wait_s=1)

    async def much() -> list[Any]:
        asked = (found.graphql(ASKED, {}) for _ in range(6))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert {type(error) for error in found.ask(much())} == {RateLimitedError}
    [pause] = ledger.pauses().values()
    assert pause.until - time.time() <= 60


def test_what_waits_for_its_turn_learns_of_a_pause(
    fake: github.GitHub, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(client._PACE, "graphql", 1_000.0)
    gate = threading.Barrier(8)

    def limited(request: github_wire.Request) -> github_wire.Answer | None:
        gate.wait(5)
        return github_faults.secondary(3_000)(request)

    fake.fault(limited, times=8)
    found = connect(ONE, max_wait_s=60)

    async def much() -> list[Any]:
        asked = (found.graphql(ASKED, {}) for _ in range(40))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert {type(error) for error in found.ask(much())} == {RateLimitedError}
    assert len(fake.requests) == 8


def test_a_short_limit_is_waited_for(fake: github.GitHub, connect: Connect) -> None:
    fake.fault(github_faults.secondary(1))
    found = connect(ONE)
    assert stars(found) == 7
    assert fake.requests[1].at - fake.requests[0].at >= 0.9


@pytest.mark.parametrize("after", ["-5", "nan", "inf", "1e400", "soon", "0"])
def test_a_senseless_wait_is_the_usual_one(
    fake: github.GitHub, connect: Connect, ledger: Ledger, after: str
) -> None:
    body = {"message": "You have exceeded a secondary rate limit."}
    fake.fault(answers(403, body, Retry_After=after), times=100)
    with pytest.raises(RateLimitedError):
        stars(connect(ONE, max_wait_s=1))
    [pause] = ledger.pauses().values()
    assert 30 < pause.until - time.time() <= 60
    assert len(fake.requests) == 1


@pytest.mark.parametrize("reset", ["nan", "9" * 30, "-1"])
def test_a_senseless_reset_is_a_wait_all_the_same(
    fake: github.GitHub, connect: Connect, reset: str
) -> None:
    headers = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": reset}
    fake.fault(answers(403, {"message": "API rate limit exceeded"}, **headers), times=100)
    with pytest.raises(RateLimitedError):
        diff(connect(ONE, max_wait_s=1))
    assert len(fake.requests) == 1


def test_a_limit_of_another_name_pauses_what_was_asked(
    fake: github.GitHub, connect: Connect
) -> None:
    fake.fault(github_faults.primary_rest(3_000, resource="search"), times=100)
    with pytest.raises(RateLimitedError):
        diff(connect(ONE, max_wait_s=1))
    assert len(fake.requests) == 1


def test_a_wait_that_is_too_long_names_the_tokens_and_the_reset(
    fake: github.GitHub, connect: Connect
) -> None:
    for token in (ONE, TWO):
        fake.budget(token, "graphql", 0, 7_200)
    with pytest.raises(RateLimitedError) as caught:
        stars(connect(ONE, TWO))
    ids = [client._Token(token).id for token in (ONE, TWO)]
    reset = time.strftime("%Y-%m-%d %H:", time.gmtime(time.time() + 7_200))
    assert all(part in str(caught.value) for part in (*ids, reset, "UTC", "--resume"))


def test_a_stop_ends_a_wait_at_once(fake: github.GitHub, connect: Connect) -> None:
    fake.budget(ONE, "graphql", 0, 3_000)
    stop = threading.Event()
    found = connect(ONE, stop=stop)
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(InterruptedRunError, match="--resume"):
        stars(found)
    assert time.monotonic() - began < 10
    with pytest.raises(InterruptedRunError):
        diff(found)


def test_a_waiting_question_holds_up_no_other(fake: github.GitHub, connect: Connect) -> None:
    fake.budget(ONE, "code_search", 0, 3_000)
    stop = threading.Event()
    found = connect(ONE, stop=stop)

    async def both() -> int:
        waiting = [
            asyncio.ensure_future(found.rest("/search/code", SEARCHED, resource="code_search"))
            for _ in range(20)
        ]
        while len(fake.requests) < 1:
            await asyncio.sleep(0.01)
        for _ in range(10):
            await found.graphql(ASKED, {})
        assert not any(task.done() for task in waiting)
        stop.set()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {InterruptedRunError}
        return len(fake.requests)

    assert found.ask(both()) >= 11


@pytest.mark.parametrize("wrong_by_s", [86_400, -86_400])
def test_a_wrong_clock_waits_as_long_as_a_right_one(
    fake: github.GitHub,
    connect: Connect,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    wrong_by_s: int,
) -> None:
    right, ticks = time.time, time.monotonic

    class Wrong:
        time = staticmethod(lambda: right() + wrong_by_s)
        monotonic = staticmethod(ticks)

    for module in (client, github_answers, ledger_sqlite, ledger_store, ledger_waiting):
        monkeypatch.setattr(module, "time", Wrong)
    fake.budget(ONE, "graphql", 0, 1_000)
    with pytest.raises(RateLimitedError):
        stars(connect(ONE, max_wait_s=900))
    fake.fault(github_faults.primary_rest(2_000))
    with pytest.raises(RateLimitedError):
        diff(connect(ONE, max_wait_s=1_900))
    waits = {
        name.rpartition(":")[2]: pause.until - Wrong.time()
        for name, pause in ledger.pauses().items()
    }
    assert waits["graphql"] == pytest.approx(1_000, abs=30)
    assert waits["core"] == pytest.approx(2_000, abs=30)


def test_a_revoked_token_is_dropped_and_the_others_go_on(
    fake: github.GitHub, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    fake.revoke(ONE)
    found = connect(ONE, TWO)
    assert [stars(found) for _ in range(3)] == [7] * 3
    assert used(fake) == [ONE, TWO, TWO, TWO]
    assert client._Token(ONE).id in caplog.text


def test_without_a_valid_token_it_says_what_to_do(fake: github.GitHub, connect: Connect) -> None:
    for token in TOKENS:
        fake.revoke(token)
    found = connect(*TOKENS)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="put a valid one into GH_TOKENS"):
            stars(found)
    assert len(fake.requests) == 3


# A server or a network in trouble.

TROUBLE = {
    "a page of the proxy": github_faults.status(502),
    "a gateway time-out": github_faults.status(504),
    "a JSON 502": github_faults.timed_out(),
    "half of the JSON": github_faults.truncated(),
    "a connection closed half-way": github_faults.truncated(drop=True),
    "garbage": github_faults.garbage(),
    "a page that says 200": lambda request: github_wire.Answer(
        200, b"<html>Sign in</html>", {"Content-Type": "text/html"}
    ),
    "a refusal of the proxy": lambda request: github_wire.Answer(
        403, b"<html>Blocked</html>", {"Content-Type": "text/html"}
    ),
    "an unasked 304": lambda request: github_wire.Answer(304, b""),
    "too deep": lambda request: github_wire.Answer(
        200, b"[" * 200_000, {"Content-Type": github_wire.JSON}
    ),
}


@pytest.mark.parametrize("ask", [stars, search])
@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_is_retried(
    fake: github.GitHub, connect: Connect, trouble: str, ask: Callable[[GitHub], Any]
) -> None:
    found = connect(ONE, TWO)
    fake.fault(TROUBLE[trouble], times=2)
    faulty = ask(found)
    assert len(fake.requests) >= 3
    assert ask(found) == faulty


@pytest.mark.parametrize("trouble", ["a page that says 200", "an unasked 304", "garbage"])
def test_what_is_no_diff_is_not_taken_for_one(
    fake: github.GitHub, connect: Connect, trouble: str
) -> None:
    fake.fault(TROUBLE[trouble])
    assert diff(connect()) == b"diff --git a/x b/x\n"


GRAPHQL = {
    "null": None,
    "a list": [],
    "no data": {},
    "null data": {"data": None},
    "a text as data": {"data": "x"},
    "an internal error with data": {
        "data": {"repository": None},
        "errors": [{"type": "INTERNAL", "path": ["repository"], "message": "x"}],
    },
    "a partial time-out": {
        "data": {"repository": None},
        "errors": [{"path": ["repository"], "message": "Something went wrong."}],
    },
    "more than is allowed": {
        "data": None,
        "errors": [{"type": "RESOURCE_LIMITS_EXCEEDED", "path": ["repository"], "message": "x"}],
    },
    "errors of another kind": {"errors": "broken"},
    "errors that are none": {"errors": [None, 5], "data": None},
    "a time-out at a path of its own": {
        "data": None,
        "errors": [{"message": "Timeout on validation", "path": 5}],
    },
}


@pytest.mark.parametrize("body", GRAPHQL.values(), ids=GRAPHQL)
def test_a_broken_graphql_answer_is_retried(
    fake: github.GitHub, connect: Connect, body: Any
) -> None:
    fake.fault(answers(200, body), times=2)
    assert stars(connect()) == 7


def test_a_query_that_github_refuses_is_asked_once(fake: github.GitHub, connect: Connect) -> None:
    fake.fault(answers(200, {"errors": [{"message": "Field 'x' doesn't exist"}]}))
    with pytest.raises(PermanentError, match="Field 'x' doesn't exist"):
        stars(connect())
    assert len(fake.requests) == 1


def test_a_fault_without_a_place_is_not_lost(fake: github.GitHub, connect: Connect) -> None:
    found = connect()
    fake.fault(answers(200, {"data": None, "errors": [{"type": "NOT_FOUND", "message": "x"}]}))
    data = found.ask(found.graphql(ASKED, {}))
    assert data.values == {}
    assert [fault.type for fault in data.faults[""]] == ["NOT_FOUND"]


def test_a_stalled_answer_is_retried(fake: github.GitHub, connect: Connect) -> None:
    fake.fault(github_faults.stall(0.8))
    assert stars(connect(timeout_s=0.2)) == 7
    assert len(fake.requests) == 2


def test_an_answer_that_trickles_is_given_up(
    fake: github.GitHub, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_SLOWEST", 0.01)
    fake.fault(github_faults.stall(0.6))
    # No single wait of the network is longer than its time-out.
    assert stars(connect(timeout_s=30)) == 7
    assert len(fake.requests) == 2


def test_a_query_that_always_fails_is_too_heavy_and_nothing_else_suffers(
    fake: github.GitHub, connect: Connect
) -> None:
    fake.fault(github_faults.timed_out(), times=50, when=lambda asked: "heavy" in str(asked.query))
    found = connect()
    query = ASKED.replace("Test", "heavy")
    with pytest.raises(TooHeavyError, match="failed 5 times"):
        found.ask(found.graphql(query, {}))
    with pytest.raises(TooHeavyError, match="failed 2 times"):
        found.ask(found.graphql(query, {}, tries=2))
    assert stars(found) == 7


def test_a_rest_request_that_always_fails_is_unavailable(
    fake: github.GitHub, connect: Connect
) -> None:
    fake.fault(github_faults.status(503), times=50)
    with pytest.raises(UnavailableError, match=r"last with token [0-9a-f]{8}: status 503"):
        diff(connect())
    assert len(fake.requests) == 5


def test_when_everything_fails_it_is_soon_over(fake: github.GitHub, connect: Connect) -> None:
    fake.fault(github_faults.status(502), times=2_000)
    found = connect(*TOKENS)

    async def much() -> list[Any]:
        asked = (found.graphql(ASKED, {}, tries=5) for _ in range(100))
        return await asyncio.gather(*asked, return_exceptions=True)

    errors = found.ask(much())
    assert all(isinstance(error, UnavailableError) for error in errors)
    assert any("times in a row" in str(error) for error in errors)
    # Each that waits its turn notices with its next failure, none tries its five times.
    assert len(fake.requests) < client._MAX_IN_A_ROW + 120


def test_nobody_there_is_unavailable(connect: Connect, ledger: Ledger) -> None:
    found = GitHub((ONE,), ledger, url="http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="ConnectError"):
        diff(found)


# REST: redirects, conditional requests, sizes, refusals.


def test_a_renamed_repository_is_followed(fake: github.GitHub, connect: Connect) -> None:
    fake.rename("o/r", "new/name")
    assert diff(connect()) == b"diff --git a/x b/x\n"
    assert used(fake) == [ONE, ONE]


def test_redirects_without_an_end_are_trouble(fake: github.GitHub, connect: Connect) -> None:
    circle = github_wire.Answer(302, b"", {"Location": f"/repos/o/r/commits/{'a' * 40}"})
    fake.fault(lambda request: circle, times=21)
    assert diff(connect())


def test_no_other_host_sees_the_token(fake: github.GitHub, connect: Connect) -> None:
    with github.GitHub(TOKENS) as other:
        other.repository("o/r")
        other.diffs["a" * 40] = b"elsewhere"
        there = f"{other.url}/repos/o/r/commits/{'a' * 40}"
        fake.fault(lambda request: github_wire.Answer(301, b"", {"Location": there}))
        diff(connect())
        assert [request.token for request in other.requests] == [None]
        assert TOKENS[0] not in str(other.requests)


def test_what_is_known_is_asked_for_conditionally_and_costs_nothing(
    fake: github.GitHub, connect: Connect, ledger: Ledger
) -> None:
    fake.code.append({"repository": "o/r", "path": "asv.conf.json", "size": 3})
    first = search(connect())
    _, left, _ = fake.budgets.window(ONE, "code_search")
    assert first["total_count"] == 1
    assert search(connect(ledger=Ledger(str(ledger.url)))) == first
    assert "if-none-match" in fake.requests[-1].headers
    assert fake.requests[-1].status == 304
    assert fake.budgets.window(ONE, "code_search")[1] == left
    fake.code.append({"repository": "o/r", "path": "b/asv.conf.json", "size": 3})
    assert search(connect())["total_count"] == 2


def test_half_an_answer_is_not_remembered(fake: github.GitHub, connect: Connect) -> None:
    fake.fault(github_faults.truncated(), times=5)
    found = connect()
    with pytest.raises(UnavailableError, match="incomplete JSON"):
        search(found)
    assert search(found)["total_count"] == 0
    assert "if-none-match" not in fake.requests[-1].headers


@pytest.mark.parametrize(("ask", "error"), [(stars, TooHeavyError), (diff, UnavailableError)])
def test_an_answer_of_any_size_takes_bounded_memory(
    fake: github.GitHub,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[GitHub], Any],
    error: type[FcError],
) -> None:
    monkeypatch.setattr(client, "_MAX_BODY", 1 << 20)
    fake.fault(lambda request: github_wire.Answer(200, b"x" * (3 << 20)))
    with pytest.raises(error, match="more than 1 MiB"):
        ask(connect())
    assert ask(connect())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, GoneError),
        (410, GoneError),
        (451, GoneError),
        (403, RefusedError),
        (409, RefusedError),
    ],
)
def test_a_refusal_is_final(
    fake: github.GitHub, connect: Connect, status: int, error: type[FcError]
) -> None:
    fake.fault(answers(status, {"message": "No."}))
    with pytest.raises(error, match=rf"{status} \(No\.\)"):
        diff(connect())
    assert len(fake.requests) == 1


def test_a_path_that_cannot_be_is_an_error_of_ours(connect: Connect) -> None:
    found = connect()
    with pytest.raises(PermanentError):
        found.ask(found.rest("/repos/o/r\n/commits"))


# Pacing.


def test_rates_stay_under_what_github_allows() -> None:
    # In any minute: what may come at once, and what follows it.
    assert client._PACE["rest"] * 61 <= 900
    assert client._PACE["graphql"] * 61 <= 2_000
    assert client._CONCURRENT <= 100


def test_more_than_the_rate_is_spread_over_time(
    fake: github.GitHub, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(client._PACE, "graphql", 5.0)
    found = connect()

    async def much() -> None:
        await asyncio.gather(*(found.graphql(ASKED, {}) for _ in range(9)))

    found.ask(much())
    at = sorted(request.at for request in fake.requests)
    # Five at once and the others 0.2 s apart: half of that allows for a slow machine.
    assert at[8] - at[0] >= 0.4


def test_not_too_many_requests_are_under_way(fake: github.GitHub, connect: Connect) -> None:
    running, most, mutex = 0, 0, threading.Lock()

    def slow(request: github_wire.Request) -> None:
        nonlocal running, most
        with mutex:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with mutex:
            running -= 1

    fake.fault(slow, times=30)
    found = connect(*TOKENS)

    async def much() -> None:
        await asyncio.gather(*(found.graphql(ASKED, {}) for _ in range(30)))

    found.ask(much())
    assert 2 <= most <= client._CONCURRENT


# Streams.


def test_a_stream_is_at_most_a_few_parts_ahead(connect: Connect) -> None:
    made: list[int] = []

    async def parts() -> AsyncIterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    stream = connect().stream(parts(), ahead=3)
    assert next(stream) == 0
    time.sleep(0.2)
    assert len(made) <= 6
    assert list(stream) == list(range(1, 100))


def test_a_stream_that_is_left_ends_what_it_began(connect: Connect) -> None:
    ended = threading.Event()

    async def parts() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    held = parts()  # so that no garbage collection ends it
    stream = connect().stream(held)
    assert next(stream) == 1
    stream.close()  # pyright: ignore[reportAttributeAccessIssue] -- a generator, typed Iterator
    assert ended.wait(5)


@pytest.mark.parametrize("streaming", [False, True])
def test_ctrl_c_ends_the_question(connect: Connect, streaming: bool) -> None:
    found, ended = connect(), threading.Event()

    async def question() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def parts() -> AsyncIterator[None]:
        yield await question()

    main = threading.get_ident()
    # A job in the background of a shell is started with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _ = list(found.stream(parts())) if streaming else found.ask(question())
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.wait(5)


def test_an_error_comes_where_the_parts_are_taken(connect: Connect) -> None:
    async def parts() -> AsyncIterator[int]:
        yield 1
        raise TransientError("half-way")

    stream = connect().stream(parts())
    assert next(stream) == 1
    with pytest.raises(TransientError, match="half-way"):
        next(stream)


# Secrets.


def test_no_token_is_written_anywhere(
    fake: github.GitHub,
    connect: Connect,
    ledger: Ledger,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in (None, "httpx", "httpcore", "asyncio", "sqlalchemy.engine"):
        caplog.set_level(logging.DEBUG, logger=name)
    texts: list[str] = []

    def try_it(question: Callable[[GitHub], Any], *tokens: str, **options: Any) -> None:
        found = connect(*tokens, **options)
        texts.append(repr(found))
        texts.append(repr(found._tokens))
        try:
            question(found)
        except FcError as error:
            texts.extend((str(error), repr(error), *traceback.format_exception(error)))

    for fault in (
        github_faults.secondary(3_000),
        github_faults.primary_rest(3_000),
        github_faults.primary_graphql(3_000),
        *(fault for fault in TROUBLE.values()),
        github_faults.unauthorized(),
        github_faults.status(422),
    ):
        for ask in (stars, diff, search):
            fake.fault(fault, times=5)
            with contextlib.suppress(FcError):
                try_it(ask, ONE, max_wait_s=1, timeout_s=5)
            fake._faults.clear()
    fake.revoke(ONE)
    try_it(stars, ONE, TWO)
    assert ledger.pauses()
    assert len(texts) > 50
    assert "secondary limit" in caplog.text
    for token in TOKENS:
        assert token not in caplog.text
        assert token not in "".join(texts)
        assert samples.files_with(token, tmp_path) == []


# What an answer means, by its status, headers and body alone.


def test_the_servers_clock_tells_how_long_to_wait() -> None:
    def until(**headers: str) -> float | None:
        return github_answers.until_reset(httpx.Headers(headers))

    date = email.utils.formatdate(1_000_000_000, usegmt=True)
    assert until(date=date, **{"x-ratelimit-reset": "1000000060"}) == 60
    assert until(date=date, **{"x-ratelimit-reset": "5"}) == 1
    assert until(date=date) is None
    assert until(date="yesterday", **{"x-ratelimit-reset": "5"}) == 1


def test_messages_of_github_are_one_short_line() -> None:
    body = json.dumps({"message": "a\n" * 1_000, "errors": [{"message": "b"}]}).encode()
    answer = Answer(422, httpx.Headers({"content-type": "application/json"}), body)
    verdict = github_answers.judge(Request("GET", "/x", "core"), answer, "ab12cd34")
    assert isinstance(verdict, RefusedError)
    assert len(str(verdict)) < 400
    assert "\n" not in str(verdict)
    assert dataclasses.replace(answer, status=404).message == answer.message
