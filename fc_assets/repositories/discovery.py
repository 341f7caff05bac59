"""Which repositories a month has to look at: offline ones, known ones, and what GitHub finds.

What they are like, and which of them are left out, is `describe`'s.
"""

import dataclasses
import datetime
import itertools
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fc_assets import months, work
from fc_assets.tables import REPOSITORIES
from fc_resources import github_queries
from fc_resources.errors import FcError, InterruptedRunError, PermanentError
from fc_resources.github import GitHub
from fc_resources.github_answers import GoneError
from fc_resources.offline import OfflineSource
from fc_resources.warehouse import PARTITION, Warehouse

SEARCH = "code search"


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository to describe for a month.

    `aliases` are other names it was asked for under. `offline` is what the offline source tells
    of it in that month, `github` is GraphQL's `Repository`, None if GitHub has no answer, as of one
    that is `gone`. The month may have it already (`tracked`).
    """

    name: str
    month: datetime.date
    origin: str
    tracked: bool = False
    gone: bool = False
    aliases: Collection[str] = ()
    offline: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    github: Mapping[str, Any] | None = None
    asv_configs: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Known:
    """What the warehouse has: GitHub's repositories of each month, their ASV files and aliases."""

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
            configs.setdefault(name, ())
            aliases.setdefault(name, ())
            if row["asv_configs"] is not None:  # null where GitHub had no answer
                months.setdefault(row[PARTITION], set()).add(name)
                configs[name], aliases[name] = row["asv_configs"], row["aliases"] or ()
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
        _refuse_if_nothing_is_visible(answers)
    today = _names_of_today(names, answers, known)
    for month in wanted:
        found: Items = [work.Unlisted(SEARCH, search)] if isinstance(search, FcError) else []
        groups: dict[str, list[str]] = {}
        for name in names if github else offline[month]:
            groups.setdefault(today[name], []).append(name)
        for name, asked in groups.items():
            given = {alias: answers[alias] for alias in asked if alias in answers}
            own = next((offline[month][n] for n in asked if n in offline[month]), {})
            # A month keeps the name under which it has a repository's pull requests.
            there = [n for n in (*asked, name) if n in known.months.get(month, ())]
            former = [n for n in there if n != name] or there
            found += _entries(
                Repository(
                    former[0] if former else name,
                    month,
                    origin="offline" if own else "search" if configs.keys() & asked else "known",
                    tracked=bool(there),
                    aliases=_aliases({name, *asked}, known) - {former[0] if former else name},
                    offline=own,
                    asv_configs=_configs({name, *asked}, configs, known),
                ),
                given,
                min_stars,
            )
        yield month, found


def _entries(found: Repository, given: Answers, min_stars: int) -> Items:
    """A repository with the best of the answers to its names, or what is not known of it."""
    told = [answer for answer in given.values() if isinstance(answer, Mapping)]
    gone = [answer for answer in given.values() if isinstance(answer, GoneError)]
    if told:
        paths = {*found.asv_configs, *told[0]["asvConfigs"]}
        found = dataclasses.replace(found, github=told[0], asv_configs=paths)
    elif len(gone) < len(given):
        [error, *_] = [answer for answer in given.values() if answer not in gone]
        assert isinstance(error, FcError)
        return [work.Unlisted(name, error) for name in {found.name, *given}]
    elif gone and found.tracked:
        return [work.Unlisted(found.name, gone[0], gone=True)]
    elif gone and not found.offline:
        # No answer to keep: it may be private for a day. Every run of the month asks again.
        found = dataclasses.replace(found, gone=True)
        return [work.Item(found.name, found, uuid.uuid4().hex)]
    return [work.Item(found.name, found, _digest(found, min_stars))]


def _refuse_if_nothing_is_visible(answers: Answers) -> None:
    gone = [answer for answer in answers.values() if isinstance(answer, GoneError)]
    if len(gone) == len(answers) > 1:
        raise PermanentError(
            f"GitHub shows none of {len(gone)} repositories; do the GH_TOKENS read public ones?"
        )


def _names_of_today(names: Collection[str], answers: Answers, known: Known) -> Mapping[str, str]:
    """What each name's repository is called today, as GitHub says or its aliases tell."""
    told = {n: a["nameWithOwner"] for n, a in answers.items() if isinstance(a, Mapping)}
    also: dict[str, set[str]] = {}
    for name, aliases in known.aliases.items():
        for alias in aliases:
            also.setdefault(name, set()).add(alias)
            also.setdefault(alias, set()).add(name)
    return {
        name: told.get(name)
        or next((told[other] for other in sorted(also.get(name, ())) if other in told), name)
        for name in names
    }


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


def _aliases(names: Collection[str], known: Known) -> set[str]:
    return set(names).union(*(known.aliases.get(name, ()) for name in names))


def _configs(
    names: Collection[str], configs: Mapping[str, Collection[str]], known: Known
) -> set[str]:
    searched = (configs.get(name, ()) for name in names)
    return set().union(*searched, *(known.asv_configs.get(name, ()) for name in names))


def _digest(found: Repository, min_stars: int) -> str:
    """Not of what GitHub says today but for its name: a month keeps what was first seen of it."""
    asked = found.github is not None
    return work.digest(found.name, sorted(found.aliases), found.offline, asked, min_stars)
