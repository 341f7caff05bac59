"""What was tried for one candidate so far: each context once, each attempt a row."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fc_assets import interrupts
from fc_assets.candidate_containers.stock import Candidate, Context
from fc_assets.candidate_containers.trial import Tools, Trial, Tried
from fc_resources.errors import InterruptedRunError


@dataclasses.dataclass(frozen=True)
class Earlier:
    """Attempts in vain, rows of `error_logs`, and what is left besides what neighbours found."""

    attempts: Sequence[Mapping[str, Any]]
    left: Literal["all", "agent", "nothing"]


class Search:
    """The attempts at one candidate; `attempts` are rows of `error_logs`, earlier ones first."""

    def __init__(self, candidate: Candidate, tools: Tools, earlier: Earlier | None = None) -> None:
        self.candidate, self._tools = candidate, tools
        before = earlier.attempts if earlier else ()
        self.attempts: list[dict[str, Any]] = [dict(attempt) for attempt in before]
        self._before = {_key(_context(attempt)) for attempt in self.attempts}
        self._trial: Trial | None = None
        self._tried: dict[tuple[tuple[str, str], ...], Tried] = {}

    @property
    def trial(self) -> Trial:
        """Made when first needed: without an environment there is nothing to try."""
        self._trial = self._trial or Trial(self.candidate, self._tools)
        return self._trial

    @property
    def in_container(self) -> bool:
        return self._tools.builder.sandbox == "docker"

    def has(self, context: Context) -> bool:
        """Whether it was tried, in this run or before."""
        return _key(context) in self._tried or _key(context) in self._before

    def latest(self) -> Context:
        """The context that was tried last, to go on from."""
        return _context(self.attempts[-1])

    def run(self, step: str, context: Context, about: str | None) -> Tried:
        """Try a context and log it; one that was tried in this run has the outcome it had."""
        if _key(context) in self._tried:
            return self._tried[_key(context)]
        if interrupts.STOP.is_set():
            raise InterruptedRunError("no further attempt is begun")
        tried = self._tried[_key(context)] = self.trial.run(context)
        self.log(step, context, tried.cause, about, **tried.row())
        return tried

    def log(
        self, step: str, context: Context, cause: str | None, about: str | None = None, **more: Any
    ) -> None:
        """An attempt; without `more` one in which nothing was built."""
        nothing = {
            "failure_stage": "environment",
            "timed_out": False,
            "log": "",
            "checks": [],
            "seconds": 0.0,
        }
        row = {
            **self._identity(),
            "attempt": len(self.attempts) + 1,
            "step": step,
            "about": about,
            "origin": context.origin,
            "sandbox": self._tools.builder.sandbox,
            "scripts": context.rows(),
            "cause": cause,
        }
        self.attempts.append({**row, **nothing, **more})

    def row(self, won: Tried) -> dict[str, Any]:
        """Measure what was verified: the row of `candidate_containers`."""
        check, verdict = self.trial.measure(won)
        candidate, image = self.candidate, won.image
        return {
            **self._identity(),
            "merged_at": candidate.merged_at,
            "sha": candidate.sha,
            "base_sha": candidate.base_sha,
            "python_version": candidate.python_version,
            "scripts": won.context.rows(),
            "origin": won.context.origin,
            "step": next(a["step"] for a in self.attempts if a["failure_stage"] is None),
            "sandbox": self._tools.builder.sandbox,
            "image": image.image if image else None,
            "image_bytes": image.added_bytes() if image else None,
            "benchmarks": [{"benchmark": n, "seconds": s} for n, s in sorted(won.times.items())],
            "seconds": won.seconds + (verdict.seconds if verdict else 0),
            **won.outcomes(check),
            **(verdict.row() if verdict else {}),
        }

    def _identity(self) -> Mapping[str, Any]:
        return {name: getattr(self.candidate, name) for name in ("owner", "repo", "issue_number")}


def _context(attempt: Mapping[str, Any]) -> Context:
    return Context({s["name"]: s["content"] for s in attempt["scripts"]}, attempt["origin"])


def _key(context: Context) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(context.scripts.items()))
