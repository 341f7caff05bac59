"""The neighbour cascade: whom a success speaks for, and a month's queue that grows by them.

A pull request that got a container speaks for those of its repository that were merged nearest to
it: each is tried with its scripts, once, and speaks for its own neighbours if they work there too.
Those of the same month are queued at once. Those of other months wait in the ledger until a run
of their month is started, by `fc_sensors.neighbors` or `fc-data`; there, too, waits what a run
that was killed had not come to.
"""

import collections
import dataclasses
import datetime
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from fc_assets import plan, work
from fc_assets.candidate_containers.search import Earlier
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS
from fc_resources.errors import TransientError
from fc_resources.ledger import Ledger, Result
from fc_resources.ledger_waiting import Neighbor

_NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)
#: What every candidate is tried with, whoever succeeded.
_ANYBODY_S = ("stock", "user")


@dataclasses.dataclass(frozen=True)
class Pull:
    """A candidate as its neighbours see it."""

    month: datetime.date
    key: str
    merged_at: datetime.datetime


def nearest(
    merged_at: datetime.datetime, among: Iterable[Pull], days: float, cap: int
) -> list[Pull]:
    """At most `cap` of a repository's candidates merged within `days`, the nearest first."""

    def distance(pull: Pull) -> float:
        return abs((pull.merged_at - merged_at).total_seconds())

    within = [pull for pull in among if distance(pull) <= days * 86_400]
    return sorted(within, key=lambda pull: (distance(pull), pull.key))[:cap]


def recipe(row: Mapping[str, Any]) -> str:
    """What tells scripts from others, of a row that has them."""
    return work.digest(sorted((script["name"], script["content"]) for script in row["scripts"]))


def left_of(
    unknown: str | None, attempts: Sequence[Mapping[str, Any]]
) -> Literal["all", "agent", "nothing"]:
    """What is left to try of an item after these attempts, besides what neighbours find."""
    if unknown is None:
        return "nothing"
    return "agent" if any(attempt["step"] == "agent" for attempt in attempts) else "all"


class Cascade:
    """The items of a month as they become due: a `work.Queue`; safe in threads.

    `items` are all candidates with an environment; of them those are due that are `wanted`, those
    a neighbour asked for, and those that something is known of, so that it stays known.
    `neighbors` tells whom a candidate speaks for, itself not among them. `look` tells what was
    tried in vain by now, whoever did; None when what others find does not count.
    """

    def __init__(
        self,
        month: datetime.date,
        items: Mapping[str, work.Item[Candidate]],
        wanted: Sequence[str],
        ledger: Ledger,
        neighbors: Callable[[Candidate], Sequence[Pull]],
        earlier: dict[str, Earlier],
        look: Callable[[], Mapping[str, Earlier]] | None = None,
    ) -> None:
        self._month, self._items, self._ledger = month, items, ledger
        self._neighbors, self._earlier, self._look = neighbors, earlier, look
        self._mutex = threading.RLock()
        self._open: dict[str, set[Neighbor]] = collections.defaultdict(set)
        known = ledger.results(CANDIDATE_CONTAINERS.name, month)
        over, gone = [], []
        for neighbor in ledger.neighbors(month):
            result = known.get(neighbor.item)
            if neighbor.item not in items:
                gone.append(neighbor)
            elif result and result.row_count:
                over.append(neighbor)
            else:
                self._open[neighbor.item].add(neighbor)
        ledger.settle(over)
        # Without an environment today; with one it is asked for again.
        ledger.withdraw(gone)
        failed = ledger.attempts(CANDIDATE_CONTAINERS.name, month)
        due = [*self._open, *wanted, *(key for key in items if key in known or key in failed)]
        self._due = collections.deque(dict.fromkeys(due))
        self._listed = set(self._due)
        #: Of each item that runs: what was asked for, and what of that is tried for certain.
        self._running: dict[str, tuple[set[Neighbor], set[Neighbor]]] = {}

    def __len__(self) -> int:
        return len(self._listed)

    def __iter__(self) -> Iterator[work.Item[Candidate]]:
        while item := self._next():
            yield item

    def _next(self) -> work.Item[Candidate] | None:
        with self._mutex:
            if not self._due:
                return None
            key = self._due.popleft()
            asked, earlier = set(self._open[key]), self._earlier.get(key)
            # What is tried for the first time meets only some of what others found.
            self._running[key] = asked, asked if earlier and earlier.left != "all" else set()
            return dataclasses.replace(self._items[key], again=bool(asked))

    def claimed(self, keys: Collection[str]) -> Collection[str]:
        """Learn what other runs tried since this one looked, so that nobody tries it twice.

        Returns those that have a container by now, of which nothing is asked any more.
        """
        if self._look is None:
            return ()
        logged = self._ledger.results(ERROR_LOGS.name, self._month, items=keys)
        with self._mutex:
            had = logged.keys() & self._earlier.keys()
            known = {key: len(self._earlier[key].attempts) for key in had}
        # Attempts are added, and stay.
        news = {key for key, log in logged.items() if log.row_count != known.get(key, 0)}
        if not news:
            return ()
        found = self._ledger.results(CANDIDATE_CONTAINERS.name, self._month, items=news)
        vain = self._look()
        over = {
            key
            for key in news & found.keys()
            if found[key].row_count and found[key].digest in self._items[key].settled
        }
        with self._mutex:
            self._earlier |= {key: vain[key] for key in news & vain.keys()}
            for key in over:
                self._settle(key, self._open[key])
        return over

    def ended(self, key: str, answer: work.Answer | Exception | None) -> None:
        """Settle what was asked of an item, and ask its neighbours if it has a container."""
        with self._mutex:
            before, asked = self._running.pop(key, (set(), set()))
            if isinstance(answer, Exception):
                if not isinstance(answer, TransientError):  # it would fail so every time
                    self._settle(key, self._open[key])
                return
            if answer is None:
                if self._open[key] - before and key not in self._due:
                    self._due.append(key)  # another run may not have had what came up meanwhile
                return
            attempts = answer.also.get(ERROR_LOGS.name, ())
            self._earlier[key] = Earlier(attempts, left_of(answer.unknown, attempts))
            if answer.unknown is not None:
                return
            tried = {recipe(attempt) for attempt in attempts}
            self._settle(
                key,
                {n for n in self._open[key] if n in asked or n.recipe in tried or answer.rows},
            )
            if self._open[key] and key not in self._due:
                self._due.append(key)
            self.succeeded(answer.rows)

    def _settle(self, key: str, done: Collection[Neighbor]) -> None:
        self._ledger.settle(done)
        self._open[key] = self._open[key] - set(done)

    def succeeded(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Have the neighbours of containers tried with their scripts, unless they are anybody's."""
        speaking = [
            (key, recipe(row), row["origin"] in _ANYBODY_S, self._neighbors(self._items[key].value))
            for row in rows
            if (key := work.key_of(row)) in self._items
        ]
        known = self._known(pull for *_, near in speaking for pull in near)
        found = []
        for key, scripts, of_anybody, near in speaking:
            for pull in near:
                result = known.get((pull.month, pull.key))
                coming = pull.month == self._month and pull.key in self._listed
                tried = (result or coming) and of_anybody
                if not (tried or (result and result.row_count)):
                    found.append(Neighbor(pull.month, pull.key, scripts, key))
        with self._mutex:
            for neighbor in reversed(self._ledger.ask_for(found)):
                if neighbor.month == self._month and neighbor.item in self._items:
                    self._open[neighbor.item].add(neighbor)
                    if neighbor.item not in self._running and neighbor.item not in self._due:
                        self._due.appendleft(neighbor.item)
                        self._listed.add(neighbor.item)

    def _known(self, pulls: Iterable[Pull]) -> dict[tuple[datetime.date, str], Result]:
        """What is known of these; all that their months have would be too much a success."""
        asked: dict[datetime.date, set[str]] = collections.defaultdict(set)
        for pull in pulls:
            asked[pull.month].add(pull.key)
        return {
            (month, key): result
            for month, keys in asked.items()
            for key, result in self._ledger.results(
                CANDIDATE_CONTAINERS.name, month, items=keys
            ).items()
        }


def waiting(ledger: Ledger) -> dict[datetime.date, list[Neighbor]]:
    """Who waits to be tried, by months that have what stage 6 needs, the earliest first."""
    states, found = ledger.progress(), {}
    for neighbor in sorted(ledger.neighbors(), key=lambda n: n.month):
        if plan.missing(CANDIDATE_CONTAINERS.stage, neighbor.month, states) is None:
            found.setdefault(neighbor.month, []).append(neighbor)
    return found


def options_of(states: plan.States, month: datetime.date) -> dict[str, Any]:
    """What a run that nobody typed keeps of the last one of a month, as the ledger knows it.

    A month that never ran tries nobody but neighbours, with the agent that was used last.
    """
    name = CANDIDATE_CONTAINERS.name
    state = states.get((name, month))
    if state is None:
        ran = [s for (table, _), s in states.items() if table == name]
        last = max(ran, key=lambda s: s.updated_at or _NEVER, default=None)
        return {"tasks_per_repo": 0, "agent": last.inputs.get("agent", "none") if last else "none"}
    cap = state.inputs.get("tasks_per_repo", "None")
    return {
        "tasks_per_repo": None if cap == "None" else int(cap),
        "agent": state.inputs.get("agent", "none"),
    }


def cause(waiting: Sequence[Neighbor]) -> str:
    """Because of whom a month runs, in a few words."""
    causes = list(dict.fromkeys(neighbor.cause for neighbor in waiting))
    more = f" and {len(causes) - 3} more" if len(causes) > 3 else ""
    return f"neighbours of {', '.join(causes[:3])}{more}"
