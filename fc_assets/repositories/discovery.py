"""Which repositories a month has to look at: offline ones, known ones, and what GitHub finds.

What they are like, and which of them are left out, is `describe`'s.
"""

import dataclasses
import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fc_assets import months, work
from fc_assets.tables import REPOSITORIES
from fc_resources import github_queries
from fc_resources.errors import FcError, InterruptedRunError
from fc_resources.github import GitHub
from fc_resources.github_answers import GoneError
from fc_resources.offline import OfflineSource
from fc_resources.warehouse import Warehouse

SEARCH = "code search"


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository to describe for a month.

    `name` is its name today, `aliases` are others it was asked for under. `github` is GraphQL's
    `Repository`, None if GitHub was not asked or has it no more (`gone`).
    """

    name: str
    month: datetime.date
    origin: str
    aliases: Collection[str] = ()
    offline: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    github: Mapping[str, Any] | None = None
    gone: bool = False
    asv_configs: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Known:
    """What the warehouse knows of repositories: their ASV configurations, their other names."""

    asv_configs: Mapping[str, Collection[str]]
    aliases: Mapping[str, Collection[str]]


def known(warehouse: Warehouse) -> Known:
    """Every repository of any month."""
    written = warehouse.tables().get(REPOSITORIES.name)
    configs: dict[str, Collection[str]] = {}
    aliases: dict[str, Collection[str]] = {}
    if written:
        columns = ("owner", "repo", "asv_configs", "aliases")
        for batch in warehouse.read(REPOSITORIES.name, list(written), columns):
            for row in batch.to_pylist():
                configs[work.key_of(row)] = row["asv_configs"] or ()
                aliases[work.key_of(row)] = row["aliases"] or ()
    return Known(configs, aliases)


Items = list[work.Item[Repository] | work.Unlisted]


def items(
    source: OfflineSource | None,
    github: GitHub,
    known: Known,
    wanted: Iterable[datetime.date],
    min_stars: int,
) -> Iterator[tuple[datetime.date, Items]]:
    """Repositories of each month; GitHub is asked once about all months of a run."""
    search = _search(github)
    configs = {} if isinstance(search, FcError) else search
    answers: dict[str, Mapping[str, Any] | FcError] = {}
    for month in wanted:
        offline = {}
        if source:
            offline = {row["repo_name"]: row for row in source.repositories(*months.window(month))}
        names = dict.fromkeys(offline, "offline")
        if github:
            names |= {name: "search" for name in configs if name not in names}
            names |= {name: "known" for name in known.asv_configs if name not in names}
            lacking = [name for name in names if name not in answers]
            answers |= github.ask(github_queries.repositories(github, lacking)) if lacking else {}
        found: Items = [work.Unlisted(SEARCH, search)] if isinstance(search, FcError) else []
        by_name: dict[str, list[str]] = {}
        for name in names:
            by_name.setdefault(_name_of_today(name, answers.get(name)), []).append(name)
        for name, asked in by_name.items():
            answer = answers.get(asked[0])
            if isinstance(answer, FcError) and not isinstance(answer, GoneError):
                found += [work.Unlisted(alias, answer) for alias in asked]
                continue
            repository = _repository(name, asked, month, names, offline, answer, configs, known)
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


def _name_of_today(name: str, answer: Mapping[str, Any] | FcError | None) -> str:
    return answer["nameWithOwner"] if isinstance(answer, Mapping) else name


def _repository(
    name: str,
    asked: Sequence[str],
    month: datetime.date,
    names: Mapping[str, str],
    offline: Mapping[str, Mapping[str, Any]],
    answer: Mapping[str, Any] | FcError | None,
    configs: Mapping[str, Sequence[str]],
    known: Known,
) -> Repository:
    paths: set[str] = set()
    aliases: set[str] = set()
    for alias in {name, *asked}:
        paths |= {*configs.get(alias, ()), *known.asv_configs.get(alias, ())}
        aliases |= {alias, *known.aliases.get(alias, ())}
    node = answer if isinstance(answer, Mapping) else None
    if node is not None:
        paths |= set(node["asvConfigs"])
    return Repository(
        name,
        month,
        origin=names[asked[0]],
        aliases=sorted(aliases - {name}),
        offline=next((offline[alias] for alias in asked if alias in offline), {}),
        github=node,
        gone=isinstance(answer, GoneError),
        asv_configs=sorted(paths),
    )


def _digest(found: Repository, min_stars: int) -> str:
    """Not of what GitHub says today: a month keeps what was first seen of it."""
    asked = found.github is not None or found.gone
    return work.digest(found.name, found.origin, found.offline, asked, min_stars)
