"""From a candidate to a verified container: which contexts are tried, in which order, until when.

The cheapest first: what worked for this pull request, what worked for its neighbours, the stock
scripts with repairs for known errors, and a coding agent. Every attempt is logged, and what it is
worth is decided by `trial`, whoever wrote the scripts.
"""

import concurrent.futures
import contextlib
import dataclasses
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fc_assets import work
from fc_assets.candidate_containers import contexts, repairs, stock, toolbox
from fc_assets.candidate_containers.coder import EDITABLE, Coder
from fc_assets.candidate_containers.contexts import Contexts
from fc_assets.candidate_containers.search import Earlier, Search
from fc_assets.candidate_containers.stock import Candidate, Context
from fc_assets.candidate_containers.trial import Tools, Tried
from fc_assets.tables import ERROR_LOGS
from fc_resources import settings
from fc_resources.errors import PermanentError, TransientError

#: What differs from one run of the same failure to the next.
_VARYING = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?|/tmp/\S+", re.IGNORECASE)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Synthesis:
    """What was tried for a candidate, and the row and context of its container if it has one.

    `unknown` says why it cannot be told yet whether there is one, `until` when the limit that is
    the reason is over.
    """

    attempts: Sequence[Mapping[str, Any]]
    row: Mapping[str, Any] | None = None
    context: Context | None = None
    unknown: str | None = None
    until: float | None = None

    def answer(self) -> work.Answer:
        rows = [] if self.row is None else [self.row]
        logs = {ERROR_LOGS.name: list(self.attempts)}
        return work.Answer(rows, logs, self.unknown, until=self.until)


class Synthesizer:
    """Finds a context for one candidate after the other; safe in threads.

    `max_attempts` is how often a coding agent tries; repairs end by themselves. Without `tools`
    they are those of the settings.
    """

    def __init__(
        self,
        tools: Tools | None = None,
        known: Contexts | None = None,
        coder: Coder | None = None,
        max_attempts: int = 3,
    ) -> None:
        self._tools, self._coder, self._max_attempts = tools, coder, max_attempts
        self._known = known or Contexts()
        self._mutex = threading.Lock()
        self._turns: dict[tuple[str, str], threading.Lock] = {}

    def run(
        self,
        *,
        owner: str,
        repo: str,
        issue_number: int,
        pr_context: Mapping[str, Any],
        sha: str,
        env_payload: Mapping[str, Any],
        python_version: str | None,
    ) -> Context | None:
        """The context that a pull request was verified with, or None if there is none.

        Args:
            pr_context: Its row of `candidate_prs`, of which `merged_at` is used.
            sha: Its merge commit; the container has `base_sha`, the commit before.
            env_payload: Its row of `packages`.
            python_version: Minor version, such as 3.12.

        Raises `TransientError` where that cannot be told now, as during an outage.
        """
        name: dict[str, Any] = {"owner": owner, "repo": repo}
        environment = {**env_payload, **name, "sha": sha, "python_version": python_version}
        candidate = Candidate.of({**pr_context, "issue_number": issue_number}, environment)
        found = self.synthesize(candidate)
        for attempt in found.attempts:
            cause = attempt["cause"] or "passed"
            _log.info("%s#%d %s: %s", repo, issue_number, attempt["step"], cause)
        if found.unknown is not None:
            raise TransientError(found.unknown)
        return found.context

    def run_many(
        self, pull_requests: Iterable[Mapping[str, Any]], n_concurrent: int = 2
    ) -> list[Context | None]:
        """`run` for each (its arguments), in their order; None for those without a container.

        What could not be told is None as well, and logged as a warning with the reason.
        """

        def one(arguments: Mapping[str, Any]) -> Context | None:
            try:
                return self.run(**arguments)
            except (TransientError, PermanentError) as error:
                name = f"{arguments['owner']}/{arguments['repo']}#{arguments['issue_number']}"
                _log.warning("%s: %s", name, error)
                return None

        with concurrent.futures.ThreadPoolExecutor(n_concurrent) as pool:
            return list(pool.map(one, pull_requests))

    def synthesize(self, candidate: Candidate, earlier: Earlier | None = None) -> Synthesis:
        """Try contexts until one is verified; where there was no more to try, only new ones.

        Raises `TransientError` where the outside world failed, so that nothing can be said.
        """
        tools = self._tools or toolbox.of(settings.current(), [candidate])
        search = Search(candidate, tools, earlier)
        own = stock.context(candidate.owner, candidate.repo, tools.scripts)
        if (obstacle := candidate.obstacle()) is not None:
            if not search.attempts:
                search.log("stock", own, obstacle)
            return Synthesis(search.attempts)
        try:
            left = earlier.left if earlier else "all"
            if left == "all":
                won = self._uncoded(search, own)
            else:
                won = self._reused(search, own, most=sys.maxsize)
            if won is None and left != "nothing":
                won = self._coded(search, own)
        except stock.NoPackageError as error:
            search.log("stock", own, str(error))
            return Synthesis(search.attempts)
        except TransientError as error:
            if not search.attempts:
                raise
            # What was tried before, and perhaps paid for, is to be seen.
            return Synthesis(search.attempts, unknown=str(error), until=error.until)
        if won is None:
            return Synthesis(search.attempts)
        row = search.row(won)
        self._known.add(row)
        return Synthesis(search.attempts, row, won.context)

    def _uncoded(self, search: Search, own: Context) -> Tried | None:
        """Whoever supplies scripts wants those tried, and no others before them."""
        found = self._reused(search, own) if own.origin == "stock" else None
        return found or self._repaired(search, own)

    def _reused(self, search: Search, own: Context, most: int = contexts.SIMILAR) -> Tried | None:
        """What worked for this pull request before, or for some near it."""
        before = self._known.of(search.candidate)
        context = before and _today(before.context, own, search.in_container)
        if context is not None:
            tried = search.run("cache", context, "its own, from before")
            if tried.passed:
                return tried
        for working in self._known.similar(search.candidate):
            context = _today(working.context, own, search.in_container)
            if context is None or search.has(context):
                continue
            if most == 0:
                break
            most -= 1
            tried = search.run("similar", context, f"those of #{working.issue_number}")
            if tried.passed:
                return tried
        return None

    def _repaired(self, search: Search, context: Context) -> Tried | None:
        """These scripts, with one repair after the other until none is known or none helps."""
        tried = search.run("stock", context, None)
        seen = {_same(tried.cause)}
        while not tried.passed:
            # What it failed of comes before what it only mentions.
            log = f"{tried.cause}\n{tried.log}"
            repair = repairs.repair(tried.context, log, search.candidate, search.in_container)
            if repair is None:
                return None
            tried = search.run("repair", repair.context, repair.added)
            if not tried.passed and _same(tried.cause) in seen:
                return None
            seen.add(_same(tried.cause))
        return tried

    def _coded(self, search: Search, own: Context) -> Tried | None:
        """A coding agent; one at a time per repository, as the next can use what it finds."""
        if self._coder is None or not search.in_container:
            return None
        with self._turn(search.candidate):
            if (found := self._reused(search, own)) is not None:
                return found
            seen = set[str]()
            for _ in range(self._max_attempts):
                if (found := self._coder.session(search)) is not None:
                    return found
                if (cause := _same(search.attempts[-1]["cause"])) in seen:
                    break
                seen.add(cause)
        return None

    @contextlib.contextmanager
    def _turn(self, candidate: Candidate) -> Iterator[None]:
        with self._mutex:
            turn = self._turns.setdefault((candidate.owner, candidate.repo), threading.Lock())
        with turn:
            yield


def _today(known: Context, own: Context, in_container: bool) -> Context | None:
    """A context that worked, with what is the host's as it is today; None for what is tried anyway.

    Stock scripts are tried as they are now, those of a user only while they are supplied. An
    agent's run in containers only, as do system packages.
    """
    if known.origin in ("stock", "user"):
        return None
    if known.origin == "repair":
        context = repairs.again(known, own)
        system = "docker_build_env.sh"
        if context.scripts == own.scripts:
            return None
        return context if in_container or context.scripts[system] == own.scripts[system] else None
    edited = {name: known.scripts[name] for name in EDITABLE}
    return Context({**own.scripts, **edited}, known.origin) if in_container else None


def _same(cause: str | None) -> str:
    return _VARYING.sub("#", cause or "")
