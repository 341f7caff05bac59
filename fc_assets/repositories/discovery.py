"""Which repositories a month has to look at: offline ones, known ones, and what GitHub finds.

What they are like, and which of them are left out, is `describe`'s.
"""

import dataclasses
import datetime
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fc_assets import months, work
from fc_assets.tables import REPOSITORIES
from fc_resources import github_queries
from fc_resources.errors import FcError, InterruptedRunError
from fc_resources.github import GitHub
from fc_resources.github_answers import GoneError
from fc_resources.offline import OfflineSource
from fc_resources.warehouse import PARTITION, Warehouse

SEARCH = "code search"


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository to describe for a month.

    `aliases` are other names it was asked for under. `offline` is what the offline source tells
    of it in that month, `github` is GraphQL's `Repository`, None if GitHub has no answer.
    """

    name: str
    month: datetime.date
    origin: str
    aliases: Collection[str] = ()
    offline: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    github: Mapping[str, Any] | None = None
    asv_configs: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Known:
    """What the warehouse has: repositories of each month, their ASV configurations and aliases."""

    months: Mapping[datetime.date, Collection[str]]
    asv_configs: Mapping[str, Collection[str]]
    aliases: Mapping[str, Collection[str]]


def known(warehouse: Warehouse) -> Known:
    """Every repository of any month."""
    found = Known({}, {}, {})
    written = warehouse.tables().get(REPOSITORIES.name)
    if not written:
        return found
    months: dict[datetime.date, set[str]] = {}
    configs: dict[str, Collection[str]] = {}
    aliases: dict[str, Collection[str]] = {}
    columns = (PARTITION, "owner", "repo", "asv_configs", "aliases")
    for batch in warehouse.read(REPOSITORIES.name, list(written), columns):
        for row in batch.to_pylist():
            name = work.key_of(row)
            months.setdefault(row[PARTITION], set()).add(name)
            configs[name] = row["asv_configs"] or ()
            aliases[name] = row["aliases"] or ()
    return Known(months, configs, aliases)


Answers = Mapping[str, Mapping[str, Any] | FcError]
Items = list[work.Item[Repository] | work.Unlisted]


def items(
    source: OfflineSource | None,
    github: GitHub,
    known: Known,
    wanted: Sequence[datetime.date],
    min_stars: int,
) -> Iterator[tuple[datetime.date, Items]]:
    """Repositories of each month; GitHub is asked once about all of them in all months."""
    search = _search(github)
    configs = {} if isinstance(search, FcError) else search
    offline = {month: _offline(source, month) for month in wanted}
    names = dict.fromkeys([*itertools.chain(*offline.values()), *configs, *known.asv_configs])
    answers: Answers = {}
    if github and names:
        answers = github.ask(github_queries.repositories(github, list(names)))
    for month in wanted:
        found: Items = [work.Unlisted(SEARCH, search)] if isinstance(search, FcError) else []
        groups: dict[str, list[str]] = {}
        for name in names if github else offline[month]:
            today = _name_of_today(name, answers.get(name))
            groups.setdefault(today, []).append(name)
        for today, asked in groups.items():
            # A month keeps the name under which it has a repository's pull requests.
            there = [name for name in (today, *asked) if name in known.months.get(month, ())]
            name, answer = there[0] if there else today, answers.get(asked[0])
            own = next((offline[month][n] for n in asked if n in offline[month]), {})
            if isinstance(answer, GoneError) and (there or not own):
                found.append(work.Unlisted(name, answer, gone=True))
            elif isinstance(answer, FcError) and not isinstance(answer, GoneError):
                found += [work.Unlisted(alias, answer) for alias in {name, *asked}]
            else:
                repository = Repository(
                    name,
                    month,
                    origin="offline" if own else "search" if configs.keys() & asked else "known",
                    aliases=sorted(_aliases({today, *asked}, known) - {name}),
                    offline=own,
                    github=answer if isinstance(answer, Mapping) else None,
                    asv_configs=sorted(_configs({today, *asked}, answer, configs, known)),
                )
                found.append(work.Item(name, repository, _digest(repository, min_stars)))
        yield month, found


def _search(github: GitHub) -> Mapping[str, Sequence[str]] | FcError:
    """What code search finds; its failure is one of the month, which goes on with the others."""
    if not github:
        return {}
    try:
        return github.ask(github_queries.asv_configs(github))
    except InterruptedRunError:
        raise
    except FcError as error:
        return error


def _offline(source: OfflineSource | None, month: datetime.date) -> dict[str, Mapping[str, Any]]:
    found = source.repositories(*months.window(month)) if source else []
    return {row["repo_name"]: row for row in found}


def _name_of_today(name: str, answer: Mapping[str, Any] | FcError | None) -> str:
    return answer["nameWithOwner"] if isinstance(answer, Mapping) else name


def _aliases(names: Collection[str], known: Known) -> set[str]:
    return set(names).union(*(known.aliases.get(name, ()) for name in names))


def _configs(
    names: Collection[str],
    answer: Mapping[str, Any] | FcError | None,
    configs: Mapping[str, Collection[str]],
    known: Known,
) -> set[str]:
    told = answer["asvConfigs"] if isinstance(answer, Mapping) else ()
    searched = (configs.get(name, ()) for name in names)
    return set(told).union(*searched, *(known.asv_configs.get(name, ()) for name in names))


def _digest(found: Repository, min_stars: int) -> str:
    """Not of what GitHub says today: a month keeps what was first seen of it."""
    return work.digest(found.name, found.offline, found.github is not None, min_stars)
