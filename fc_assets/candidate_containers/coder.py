"""A coding agent at work on a candidate: what it is told, what it may change, what came of it.

It changes scripts and asks `./verify`; what they are worth is decided by `trial`, on the host. How
each agent is run is in `fc_resources.coding_agents`.
"""

import datetime
import random
import time
from collections.abc import Mapping
from pathlib import Path

from fc_assets import interrupts, work
from fc_assets.candidate_containers import briefing
from fc_assets.candidate_containers.search import Search
from fc_assets.candidate_containers.stock import Context
from fc_assets.candidate_containers.trial import Tried
from fc_assets.tables import CANDIDATE_CONTAINERS
from fc_resources.coding_agents import session
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.task import Session, Task
from fc_resources.errors import InterruptedRunError, TransientError
from fc_resources.ledger import Ledger
from fc_resources.settings import Settings

#: The others are the host's: what an image is based on, and how benchmarks are run.
EDITABLE = ("docker_build_env.sh", "docker_build_pkg.sh", "docker_build_run.sh")
#: Ends of a session that say nothing about its scripts.
_NO_TRY = ("rate_limited", "refused", "unreachable", "tampered", "stopped")
#: Of different scripts in a session: each is a build and a row.
_VERIFICATIONS = 20
#: So long at most are those who waited for the same limit apart.
_JITTER_S = 2.0
_NOTHING = "The pipeline cannot check anything now; stop here."


class AgentUnavailableError(TransientError):
    """The agent has met its limit, or its key is refused: what it could do is not known."""


class AgentLimitedError(AgentUnavailableError):
    """The agent has met its limit, which is over at `until`."""


class Coder:
    """One kind of agent, with its limits; safe in threads."""

    def __init__(
        self,
        agent: CodingAgent,
        ledger: Ledger,
        folder: Path,
        *,
        timeout_s: float,
        max_tokens: int,
        pause_s: float,
        max_wait_s: float,
        max_retries: int,
    ) -> None:
        self._agent, self._ledger, self._folder = agent, ledger, folder
        self._timeout_s, self._max_tokens, self._pause_s = timeout_s, max_tokens, pause_s
        self._max_wait_s, self._max_retries = max_wait_s, max_retries
        self._pause = f"agent {agent.name}"
        self._refused: str | None = None

    @classmethod
    def of(cls, agent: CodingAgent, settings: Settings, ledger: Ledger) -> "Coder":
        """With the limits of the settings; what killed runs left is removed."""
        folder = settings.fc_home / "agents"
        session.sweep(folder)
        return cls(
            agent,
            ledger,
            folder,
            timeout_s=settings.fc_agent_timeout_s,
            max_tokens=settings.fc_agent_max_tokens,
            pause_s=settings.datasmith_rl_default_pause_s,
            max_wait_s=settings.fc_agent_max_wait_s,
            max_retries=settings.datasmith_rl_max_retries,
        )

    def session(self, search: Search) -> Tried | None:
        """Have the agent try; what passed, or None. The last attempt tells what it took.

        A limit is no try: a short one is waited for, and met again it is, as often as that is
        worth while. Raises `AgentUnavailableError` when it may not be asked for longer.
        """
        retries = 0
        while True:
            self._wait()
            try:
                return self._session(search)
            except AgentLimitedError:
                if retries == self._max_retries:
                    raise
                retries += 1

    def _session(self, search: Search) -> Tried | None:
        host = _Host(search, self._agent.name)
        before = len(search.attempts)
        task = Task(
            prompt=briefing.PROMPT,
            files=briefing.files(search),
            scripts={name: host.start.scripts[name] for name in EDITABLE},
            verify=host.verify,
            timeout_s=self._timeout_s,
            max_tokens=self._max_tokens,
        )
        ended = self._agent.run(task, self._folder, interrupts.STOP)
        item = work.key_of(vars(search.candidate))
        self._ledger.spend(CANDIDATE_CONTAINERS.name, item, self._agent.name, ended.usage)
        if ended.ended not in _NO_TRY:
            host.verify(ended.scripts)
        if host.passed is None and (ended.ended in _NO_TRY or len(search.attempts) == before):
            self._log(search, host.start, ended)
        search.attempts[-1] |= {
            "tokens": ended.usage.input_tokens + ended.usage.output_tokens,
            "dollars": ended.usage.dollars,
            "tool_calls": ended.tool_calls,
        }
        unavailable = self._unavailable(ended)
        if host.passed is not None:
            return host.passed
        if host.error is not None:
            raise host.error
        if unavailable is not None:
            raise unavailable
        if ended.ended == "stopped":
            raise InterruptedRunError(f"{self._agent.name} was stopped")
        return None

    def _log(self, search: Search, start: Context, ended: Session) -> None:
        """An attempt that ended without scripts to try."""
        limited, reset = ended.ended == "rate_limited", ended.reset_at
        search.log(
            "agent",
            start,
            ended.message or ended.ended,
            failure_stage="rate_limited" if limited else "agent",
            timed_out=ended.ended == "timed_out",
            log=ended.log,
            seconds=ended.usage.seconds,
            rate_limit_reset_at=reset and datetime.datetime.fromtimestamp(reset, datetime.UTC),
        )

    def _wait(self) -> None:
        """Wait for limits, whoever met them, and not all at once; raise for one that lasts."""
        if self._refused is not None:
            raise AgentUnavailableError(self._refused)
        while pause := self._ledger.pauses().get(self._pause):
            left = pause.until - time.time()
            if left > self._max_wait_s:
                raise self._limited(pause.until, pause.reason)
            if interrupts.STOP.wait(max(0.0, left) + random.uniform(0, _JITTER_S)):
                raise InterruptedRunError("stopped while waiting for an agent's limit to end")

    def _limited(self, until: float, reason: str) -> AgentLimitedError:
        at = datetime.datetime.fromtimestamp(until, datetime.UTC)
        return AgentLimitedError(
            f"{self._agent.name} is at its limit until {at:%Y-%m-%d %H:%M} UTC: {reason}",
            until=until,
        )

    def _unavailable(self, ended: Session) -> AgentUnavailableError | None:
        """Why nothing is known of what the agent could do: its end is the provider's affair.

        A limit holds for everybody until it is over, a refused key for the rest of the run.
        """
        if ended.ended == "rate_limited":
            now = time.time()
            reset = ended.reset_at if ended.reset_at and ended.reset_at > now else None
            until = reset or now + self._pause_s
            self._ledger.pause(self._pause, until, ended.message)
            return self._limited(until, ended.message)
        if ended.ended == "refused":
            self._refused = f"{self._agent.name} cannot be asked: {ended.message}"
            return AgentUnavailableError(self._refused)
        if ended.ended == "unreachable":
            return AgentUnavailableError(
                f"{self._agent.name} does not reach its model: {ended.message}"
            )
        return None


class _Host:
    """What `./verify` asks: builds and checks on this side, and remembers what passed."""

    def __init__(self, search: Search, name: str) -> None:
        self._search, self._name = search, name
        self.start = search.latest()
        self.passed: Tried | None = None
        self.error: Exception | None = None
        self._most = len(search.attempts) + _VERIFICATIONS

    def verify(self, scripts: Mapping[str, str]) -> tuple[bool, str]:
        """Whether these scripts pass, and what to tell the agent."""
        if self.passed is not None:
            return True, "PASSED before; there is nothing left to do, stop here."
        if len(self._search.attempts) >= self._most:
            return False, f"FAILED: {_VERIFICATIONS} verifications are over; stop here."
        edited = {name: scripts[name] for name in EDITABLE}
        context = Context({**self.start.scripts, **edited}, self._name)
        try:
            tried = self._search.run("agent", context, None)
        except TransientError as error:  # raised after the session unless it gets around it
            self.error = error
            return False, f"FAILED: {error}"
        except Exception as error:  # raised when the session is paid for
            self.error = error
            self._most = 0
            return False, _NOTHING
        self.error = None
        if tried.passed:
            self.passed = tried
        return tried.passed, briefing.report(tried)
