"""The items of `candidate_containers`: candidates, what was tried for them, who speaks for whom."""

import datetime
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from fc_assets import months, work
from fc_assets.candidate_containers import contexts, stock
from fc_assets.candidate_containers.cascade import Cascade, Pull, left_of, nearest
from fc_assets.candidate_containers.contexts import Contexts
from fc_assets.candidate_containers.repairs import SYNTHESIZER
from fc_assets.candidate_containers.search import Earlier
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.options import AGENTS, Options
from fc_assets.tables import CANDIDATE_CONTAINERS, CANDIDATE_PRS, ERROR_LOGS
from fc_resources.ledger import Result
from fc_resources.settings import Settings


def items(
    candidate_prs: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    packages: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    settings: Settings,
    agent: str = "none",
) -> Iterator[tuple[datetime.date, list[work.Item[Candidate]]]]:
    """Candidates with an environment row, oldest merge first."""
    for (month, rows), (_, environments) in zip(candidate_prs, packages, strict=True):
        by_commit = {(e["owner"], e["repo"], e["sha"]): e for e in environments}
        found = []
        for row in sorted(rows, key=lambda r: (r["merged_at"], work.key_of(r))):
            environment = by_commit.get((row["owner"], row["repo"], row["merge_commit_sha"]))
            if environment is None:
                continue
            candidate = Candidate.of(row, environment)
            context = stock.context(row["owner"], row["repo"], settings.scripts)
            made_of = (vars(candidate), context.scripts, settings.verification, SYNTHESIZER)
            by_agent = {name: work.digest(*made_of, name) for name in AGENTS}
            digests = [*by_agent.values()]
            # Without an agent nothing is found that one did not find.
            as_good = digests if agent == "none" else ()
            key, digest = candidate.key, by_agent[agent]
            found.append(work.Item(key, candidate, digest, settled=digests, as_good=as_good))
        yield month, found


def seeds(found: Iterable[work.Item[Candidate]], tasks_per_repo: int | None) -> list[str]:
    """The items to begin with: at most so many per repository, the first of them."""
    taken: dict[tuple[str, str], list[str]] = {}
    for item in found:
        taken.setdefault((item.value.owner, item.value.repo), []).append(item.key)
    return [key for keys in taken.values() for key in keys[:tasks_per_repo]]


def cascades(
    runner: work.Work,
    found: Sequence[tuple[datetime.date, Sequence[work.Item[Candidate]]]],
    options: Options,
    settings: Settings,
    earlier: dict[str, Earlier],
) -> Iterator[tuple[datetime.date, Cascade]]:
    """The queue of each month; into `earlier` goes what was tried and what will be."""
    for month, part in found:
        listed = {item.key: item for item in part}
        pulls = candidates_near(runner, near(month, settings), listed)

        def neighbors(candidate: Candidate, pulls: Mapping[str, Sequence[Pull]] = pulls) -> Any:
            others = [p for p in pulls[candidate.repository] if p.key != candidate.key]
            days = settings.datasmith_neighbor_window_days
            return nearest(candidate.merged_at, others, days, settings.datasmith_neighbor_cap)

        look = None if options.force else functools.partial(before, runner, month, listed)
        if look is not None:
            earlier |= look()
        wanted = seeds(part, options.tasks_per_repo)
        queue = Cascade(month, listed, wanted, runner.ledger, neighbors, earlier, look)
        # A run that was killed may not have come to ask for them.
        queue.succeeded(runner.rows(CANDIDATE_CONTAINERS, month))
        yield month, queue


def before(
    runner: work.Work, month: datetime.date, listed: Mapping[str, work.Item[Candidate]]
) -> dict[str, Earlier]:
    """What was tried in vain for the items as they are today."""
    known = runner.ledger.results(CANDIDATE_CONTAINERS.name, month)
    vain = {
        key: result
        for key, result in known.items()
        if not result.row_count and key in listed and result.digest in listed[key].settled
    }
    attempts: dict[str, list[Mapping[str, Any]]] = {key: [] for key in vain}
    for row in runner.rows(ERROR_LOGS, month) if vain else ():
        if (key := work.key_of(row)) in vain:
            attempts[key].append(row)
    return {
        key: Earlier(attempts[key], _left(r, attempts[key], listed[key])) for key, r in vain.items()
    }


def _left(
    result: Result, attempts: Sequence[Mapping[str, Any]], item: work.Item[Candidate]
) -> Literal["all", "agent", "nothing"]:
    left = left_of(result.unknown, attempts)
    mine = result.digest in {item.digest, *item.as_good}
    return "agent" if left == "nothing" and not mine else left


def candidates_near(
    runner: work.Work, near: Sequence[datetime.date], listed: Mapping[str, work.Item[Candidate]]
) -> dict[str, list[Pull]]:
    """All candidates of these months, with an environment or not, by the listed repositories."""
    found: dict[str, list[Pull]] = {item.value.repository: [] for item in listed.values()}
    written = runner.warehouse.tables().get(CANDIDATE_PRS.name, {}) if found else {}
    columns = ["partition_month", "owner", "repo", "issue_number", "merged_at"]
    if wanted := [month for month in near if month in written]:
        for batch in runner.warehouse.read(CANDIDATE_PRS.name, wanted, columns):
            for row in batch.to_pylist():
                if (name := f"{row['owner']}/{row['repo']}") in found:
                    pull = Pull(row["partition_month"], work.key_of(row), row["merged_at"])
                    found[name].append(pull)
    return found


def near(month: datetime.date, settings: Settings) -> list[datetime.date]:
    return months.near(month, settings.datasmith_neighbor_window_days)


def working(
    runner: work.Work, candidates: Sequence[Candidate], near: Iterable[datetime.date]
) -> Contexts:
    """What is known to work for the repositories of these candidates, of all months.

    What runs of months `near` found and have not written yet is in the ledger.
    """
    wanted = {candidate.repository for candidate in candidates}
    table = CANDIDATE_CONTAINERS

    def rows() -> Iterator[Mapping[str, Any]]:
        written = runner.warehouse.tables().get(table.name)
        if written:
            for batch in runner.warehouse.read(table.name, sorted(written), contexts.COLUMNS):
                yield from batch.to_pylist()
        for month in sorted(set(near)):
            yield from runner.rows(table, month)

    return Contexts(row for row in rows() if f"{row['owner']}/{row['repo']}" in wanted)
