"""A coding agent at work on a candidate: what it is told, what it may change, what came of it.

It changes scripts and asks `./verify`; what they are worth is decided by `trial`, on the host. How
each agent is run is in `fc_resources.coding_agents`.
"""

import datetime
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from fc_assets import interrupts, work
from fc_assets.candidate_containers import briefing
from fc_assets.candidate_containers.search import Search
from fc_assets.candidate_containers.stock import Context
from fc_assets.candidate_containers.trial import Tried
from fc_assets.tables import CANDIDATE_CONTAINERS
from fc_resources.coding_agents.agent import CodingAgent
from fc_resources.coding_agents.task import Session, Task
from fc_resources.errors import FcError
from fc_resources.ledger import Ledger
from fc_resources.settings import Settings

#: The others are the host's: what an image is based on, and how benchmarks are run.
EDITABLE = ("docker_build_env.sh", "docker_build_pkg.sh", "docker_build_run.sh")
#: Ends of a session after which its scripts are not looked at.
_CUT = ("rate_limited", "refused", "tampered")


class AgentUnavailableError(FcError):
    """The agent has met its limit, or its key is refused: what it could do is not known."""


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
    ) -> None:
        self._agent, self._ledger, self._folder = agent, ledger, folder
        self._timeout_s, self._max_tokens, self._pause_s = timeout_s, max_tokens, pause_s
        self._pause = f"agent {agent.name}"
        self._refused: str | None = None

    @classmethod
    def of(cls, agent: CodingAgent, settings: Settings, ledger: Ledger) -> "Coder":
        """With the limits of the settings."""
        return cls(
            agent,
            ledger,
            settings.fc_home / "agents",
            timeout_s=settings.fc_agent_timeout_s,
            max_tokens=settings.fc_agent_max_tokens,
            pause_s=settings.datasmith_rl_default_pause_s,
        )

    def session(self, search: Search) -> Tried | None:
        """Have the agent try; what passed, or None. The last attempt tells what it took.

        Raises `AgentUnavailableError` while it may not be asked.
        """
        self._check()
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
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            session = self._agent.run(task, Path(folder, "session"), interrupts.STOP)
        item = work.key_of(vars(search.candidate))
        self._ledger.spend(CANDIDATE_CONTAINERS.name, item, self._agent.name, session.usage)
        if host.error is not None:
            raise host.error
        if host.passed is None and session.ended not in _CUT:
            host.verify(session.scripts)
        if host.passed is None and (session.ended in _CUT or len(search.attempts) == before):
            self._log(search, host.start, session)
        search.attempts[-1] |= {
            "tokens": session.usage.input_tokens + session.usage.output_tokens,
            "dollars": session.usage.dollars,
            "tool_calls": session.tool_calls,
        }
        if host.passed is None:
            self._refuse(session)
        return host.passed

    def _log(self, search: Search, start: Context, session: Session) -> None:
        """An attempt that ended without scripts to try."""
        limited = session.ended == "rate_limited"
        reset = session.reset_at if limited else None
        search.log(
            "agent",
            start,
            session.message or session.ended,
            failure_stage="rate_limited" if limited else "agent",
            timed_out=session.ended == "timed_out",
            log=session.log,
            seconds=session.usage.seconds,
            rate_limit_reset_at=reset and datetime.datetime.fromtimestamp(reset, datetime.UTC),
        )

    def _check(self) -> None:
        if self._refused is not None:
            raise AgentUnavailableError(self._refused)
        pause = self._ledger.pauses().get(self._pause)
        if pause is not None:
            until = datetime.datetime.fromtimestamp(pause.until, datetime.UTC)
            raise AgentUnavailableError(
                f"{self._agent.name} is at its limit until {until:%Y-%m-%d %H:%M} UTC: "
                f"{pause.reason}"
            )

    def _refuse(self, session: Session) -> None:
        """A limit holds for everybody until it is over, a refused key for this run."""
        if session.ended == "rate_limited":
            now = time.time()
            known = session.reset_at is not None and session.reset_at > now
            until = session.reset_at if known and session.reset_at else now + self._pause_s
            self._ledger.pause(self._pause, until, session.message)
            self._check()
        if session.ended == "refused":
            self._refused = f"{self._agent.name} cannot be asked: {session.message}"
            self._check()


class _Host:
    """What `./verify` asks: builds and checks on this side, and remembers what passed."""

    def __init__(self, search: Search, name: str) -> None:
        self._search, self._name = search, name
        self.start = search.latest()
        self.passed: Tried | None = None
        self.error: FcError | None = None

    def verify(self, scripts: Mapping[str, str]) -> tuple[bool, str]:
        """Whether these scripts pass, and what to tell the agent."""
        if self.passed is not None:
            return True, "PASSED before; there is nothing left to do, stop here."
        if self.error is not None:
            return False, "The pipeline cannot check anything now; stop here."
        edited = {name: scripts[name] for name in EDITABLE}
        context = Context({**self.start.scripts, **edited}, self._name)
        try:
            tried = self._search.run("agent", context, None)
        except FcError as error:  # an outage, or the run is to stop: it is raised after the session
            self.error = error
            return False, "The pipeline cannot check anything now; stop here."
        if tried.passed:
            self.passed = tried
        return tried.passed, briefing.report(tried)
