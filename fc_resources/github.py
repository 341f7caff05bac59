"""The GitHub client: tokens, limits, retries, pacing. What is asked is in `github_queries`.

One event loop in a thread of its own serves all threads of the process; every wait is a sleep of
one coroutine, and what makes everybody wait is in the ledger, so that other processes wait too.
"""

import asyncio
import atexit
import contextlib
import dataclasses
import datetime
import functools
import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import aiolimiter
import httpx

from fc_resources.errors import InterruptedRunError, PermanentError, UnavailableError
from fc_resources.github_answers import (
    TRIES,
    Answer,
    Failing,
    Fault,
    Limited,
    RateLimitedError,
    Request,
    Unauthorized,
    judge,
    until_reset,
)
from fc_resources.ledger import Ledger

T = TypeVar("T")
_CONCURRENT = 8
_MAX_BODY = 64 * 1024 * 1024
#: Without `Retry-After` GitHub asks to wait a minute at least, and longer each time.
_SECONDARY_S = 60.0
_MAX_SECONDARY_S = 900.0
#: A wait is looked at again this often: for a stop, and for what other processes learned.
_LOOK_S = 0.5
#: What a failed request waits before its second try; then twice as long, and so on.
_BACKOFF_S = 1.0
#: Time-outs that a whole answer may take: a server that trickles meets no other one.
_SLOWEST = 10
#: Requests per second of one token in one process, and as many at once: at most 610 of the 900
#: points a minute that REST allows, 1,769 of GraphQL's 2,000 (a query costs one of these points).
_PACE = {"rest": 10.0, "graphql": 29.0}
_EVERYTHING = "*"
#: So many failures without an answer in between are GitHub's, not those of a request: four
#: listings whose pages are too heavy fail 4 x 17 times before they give up themselves.
_MAX_IN_A_ROW = 80

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Data:
    """A GraphQL answer by top-level alias: what there is, and what went wrong with it."""

    values: Mapping[str, Any]
    faults: Mapping[str, Sequence[Fault]]


class GitHub:
    """GitHub for all threads of a process; nothing is opened before the first question.

    `max_wait_s` is the longest a request waits for limits; `stop` ends every wait at once.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        ledger: Ledger,
        *,
        url: str = "https://api.github.com",
        timeout_s: float = 30,
        max_wait_s: float = 3900,
        stop: threading.Event | None = None,
    ) -> None:
        self._tokens = [_Token(secret) for secret in tokens]
        self._ledger = ledger
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._max_wait_s = max_wait_s
        self._stop = stop or threading.Event()
        self._turn = 0
        #: Requests that failed since the last that did not.
        self._in_a_row = 0
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        #: A request gets its turn before its token is looked at: what waits for a connection
        #: would not learn that the token has to pause.
        self._lines = asyncio.Semaphore(_CONCURRENT)
        self._told: dict[str, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mutex = threading.Lock()

    def __bool__(self) -> bool:
        """Whether there is a token: neither GraphQL nor code search answers without one."""
        return bool(self._tokens)

    # From other threads.

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer to a question of `github_queries`, awaited in the event loop's thread."""
        asked = asyncio.run_coroutine_threadsafe(question, self._started())
        try:
            return asked.result()
        finally:
            asked.cancel()  # for Ctrl-C: nobody waits for the answer any more

    def stream(self, parts: AsyncIterator[T], ahead: int = 4) -> Iterator[T]:
        """The parts of an answer as they come, at most `ahead` of them before they are wanted."""
        loop, queue = self._started(), asyncio.Queue[T | BaseException | None](ahead)

        async def produce() -> None:
            try:
                async with closing(parts):
                    async for part in parts:
                        await queue.put(part)
                await queue.put(None)
            except Exception as error:  # raised where the parts are taken
                await queue.put(error)

        producer = asyncio.run_coroutine_threadsafe(produce(), loop)
        try:
            while (part := self.ask(queue.get())) is not None:
                if isinstance(part, BaseException):
                    raise part
                yield part
        finally:
            producer.cancel()

    def _started(self) -> asyncio.AbstractEventLoop:
        """The loop; its thread is a daemon, having nothing to finish when the process ends."""
        with self._mutex:
            if self._loop is None:
                loop = self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="github", daemon=True)
                thread.start()
                # What a running thread holds is never freed, of which DuckDB complains.
                atexit.register(thread.join, 5)
                atexit.register(loop.call_soon_threadsafe, loop.stop)
            return self._loop

    # Within the event loop.

    async def graphql(self, query: str, variables: Mapping[str, Any], tries: int = TRIES) -> Data:
        """Run a query; faults of its parts are the caller's to judge.

        Raises `TooHeavyError` when it failed `tries` times, `RateLimitedError`,
        `UnavailableError`, and `PermanentError` for a query that GitHub does not accept.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = await self._send(Request("POST", "/graphql", "graphql", body=body, tries=tries))
        faults: dict[str, list[Fault]] = {}
        for fault in answer.faults:
            faults.setdefault(str(fault.path[0]) if fault.path else "", []).append(fault)
        return Data(answer.json.get("data") or {}, faults)

    async def rest(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        resource: str = "core",
        accept: str = "application/vnd.github+json",
        remember: bool = True,
        tries: int = TRIES,
    ) -> bytes:
        """GET a path; what is remembered from before is asked for conditionally.

        Raises `GoneError`, `RefusedError`, `RateLimitedError`, `UnavailableError`.
        """
        asked = json.dumps([self._url, path, dict(parameters or {}), accept], sort_keys=True)
        key = hashlib.sha256(asked.encode()).hexdigest()
        known = await asyncio.to_thread(self._ledger.cached, key) if remember else None
        headers = {"accept": accept} | ({"if-none-match": known[0]} if known else {})
        answer = await self._send(
            Request("GET", path, resource, parameters or {}, headers, tries=tries)
        )
        if known and answer.status == 304:
            return known[1]
        etag = answer.headers.get("etag")
        if etag and remember:
            await asyncio.to_thread(self._ledger.remember, key, etag, answer.body)
        return answer.body

    async def sleep(self, seconds: float) -> None:
        """Wait; `InterruptedRunError` as soon as the run is asked to stop."""
        end = time.monotonic() + seconds
        self._refuse_when_stopped()
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _LOOK_S))
            self._refuse_when_stopped()

    def _refuse_when_stopped(self) -> None:
        if self._stop.is_set():
            raise InterruptedRunError("stopped while asking GitHub; run again with --resume")

    async def _send(self, request: Request) -> Answer:
        """Ask until there is an answer: waiting for a limit is no try, a failing server is."""
        failed, since = 0, time.monotonic()
        while True:
            token = await self._take(request, since)
            try:
                async with asyncio.timeout(_SLOWEST * self._timeout_s):
                    answer = await self._once(request, token)
                verdict = judge(request, answer, token.id)
            except httpx.InvalidURL as error:
                raise PermanentError(f"GitHub has no {request.path!r}: {error}") from None
            except (httpx.HTTPError, TimeoutError) as error:
                answer, verdict = None, Failing(_named(error))
            finally:
                self._lines.release()
            if verdict is None and answer is not None:
                token.in_a_row = self._in_a_row = 0
                return answer
            if isinstance(verdict, Limited):
                await self._pause(token, request.resource, verdict)
            elif isinstance(verdict, Unauthorized):
                token.refused = True
                _log.warning("GitHub refuses token %s (401); it is not used any more", token.id)
            elif isinstance(verdict, Failing):
                failed, self._in_a_row = failed + 1, self._in_a_row + 1
                if self._in_a_row > _MAX_IN_A_ROW:
                    raise UnavailableError(
                        f"GitHub failed {self._in_a_row} times in a row, last with token "
                        f"{token.id}: {verdict.why}"
                    )
                if failed == request.tries:
                    last = f"last with token {token.id}: {verdict.why}"
                    raise request.exhausted(f"failed {failed} times, {last}")
                backoff = min(30, _BACKOFF_S * 2 ** (failed - 1))
                await self.sleep(backoff * random.uniform(0.5, 1.5))
            elif verdict is not None:
                raise verdict

    async def _once(self, request: Request, token: "_Token") -> Answer:
        async with self._http.stream(
            request.method,
            request.path,
            params=request.parameters,
            headers={**request.headers, "authorization": f"bearer {token.secret}"},
            content=request.body,
        ) as response:
            token.account(request.resource, response.headers)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BODY:
                    raise request.exhausted(f"answers more than {_MAX_BODY >> 20} MiB")
            return Answer(response.status_code, response.headers, bytes(body))

    @functools.cached_property
    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url,
            follow_redirects=True,
            timeout=httpx.Timeout(self._timeout_s, pool=None),
            limits=httpx.Limits(max_connections=_CONCURRENT),
            headers={"user-agent": "formulacode-data", "x-github-api-version": "2022-11-28"},
        )

    async def _take(self, request: Request, since: float) -> "_Token":
        """The next token in turn that may ask, with one of `_lines`; waits for limits and pace."""
        while True:
            self._refuse_when_stopped()
            await self._look()
            usable = [token for token in self._tokens if not token.refused]
            ids = ", ".join(token.id for token in usable or self._tokens)
            if not usable:
                raise UnavailableError(
                    f"GitHub refuses every token (401: {ids}); put a valid one into GH_TOKENS"
                )
            now, count = time.time(), len(self._tokens)
            for token in (self._tokens[(self._turn + i) % count] for i in range(count)):
                if not token.refused and token.ready_at(request.resource) <= now:
                    self._turn = self._tokens.index(token) + 1
                    break
            else:
                token = None
            if token is not None:
                await token.pace[request.kind].acquire()
                await self._lines.acquire()
                if not token.refused and token.ready_at(request.resource) <= time.time():
                    return token
                self._lines.release()
                continue
            ready = min(token.ready_at(request.resource) for token in usable)
            what = f"GitHub's {request.resource} limit is met for {ids} until {_utc(ready)}"
            if time.monotonic() - since + ready - now > self._max_wait_s:
                raise RateLimitedError(
                    f"{what}, later than FC_GITHUB_MAX_WAIT_S allows; run again with --resume",
                    until=ready,
                )
            if self._told.get(request.resource, 0) < ready:
                self._told[request.resource] = ready
                _log.warning("%s; waiting", what)
            # With jitter, or all who wait would ask in the same moment.
            await self.sleep(min(ready - now, 5) + random.uniform(0, _LOOK_S))

    async def _look(self) -> None:
        """Take over what any process wrote down about these tokens."""
        async with self._looking:
            if time.monotonic() - self._looked < _LOOK_S:
                return
            pauses = await asyncio.to_thread(self._ledger.pauses)
            self._looked = time.monotonic()
            for token in self._tokens:
                for name, pause in pauses.items():
                    if name.startswith(token.pause_name("")):
                        token.wait(name.rpartition(":")[2], pause.until)

    async def _pause(self, token: "_Token", resource: str, limited: Limited) -> None:
        wait, now = limited.wait_s, time.time()
        # With what was asked, whatever the answer names: or the same would be asked at once.
        scopes = {limited.resource or resource, resource}
        if limited.secondary:
            scopes = {_EVERYTHING}
            # Requests that were under way together meet one limit, not one each.
            token.in_a_row += token.ready_at(_EVERYTHING) <= now
            longer = 2 ** max(0, token.in_a_row - 1)
            wait = wait or min(_SECONDARY_S * longer, _MAX_SECONDARY_S)
        until = now + (wait or _SECONDARY_S)
        reason = f"{limited.why}, token {token.id}"
        _log.warning("GitHub: %s; not asking with it until %s", reason, _utc(until))
        for scope in scopes:
            token.wait(scope, until)
        for scope in scopes:
            await asyncio.to_thread(self._ledger.pause, token.pause_name(scope), until, reason)


@dataclasses.dataclass
class _Token:
    """A token, and when each resource may be asked again (epoch seconds of this machine)."""

    secret: str = dataclasses.field(repr=False)
    ready: dict[str, float] = dataclasses.field(default_factory=dict)
    refused: bool = False
    #: Secondary limits met since the last answer.
    in_a_row: int = 0

    @functools.cached_property
    def id(self) -> str:
        """Names the token in messages; nothing leads from it back to the token."""
        return hashlib.sha256(self.secret.encode()).hexdigest()[:8]

    @functools.cached_property
    def pace(self) -> dict[str, aiolimiter.AsyncLimiter]:
        return {kind: aiolimiter.AsyncLimiter(rate, 1) for kind, rate in _PACE.items()}

    def pause_name(self, resource: str) -> str:
        return f"github:{self.id}:{resource}"

    def ready_at(self, resource: str) -> float:
        return max(self.ready.get(resource, 0), self.ready.get(_EVERYTHING, 0))

    def wait(self, resource: str, until: float) -> None:
        self.ready[resource] = max(self.ready.get(resource, 0), until)

    def account(self, resource: str, headers: httpx.Headers) -> None:
        """An answer tells the budget: with nothing left, nothing is asked before the reset."""
        reset = until_reset(headers)
        if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
            self.wait(headers.get("x-ratelimit-resource", resource), time.time() + reset)


@contextlib.asynccontextmanager
async def closing(parts: AsyncIterator[T]) -> AsyncIterator[None]:
    """Whatever `parts` began ends here, not when it is collected as garbage."""
    try:
        yield
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()


def _named(error: Exception) -> str:
    """The type too: most of httpx's time-outs have no text."""
    return f"{type(error).__name__} {error}".strip()


def _utc(moment: float) -> str:
    at = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
