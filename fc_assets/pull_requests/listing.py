"""Which pull requests a month has: GitHub's, and those that only an offline source knows."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fc_assets import months, work
from fc_assets.pull_requests import record
from fc_assets.pull_requests.prefilter import PREFILTER
from fc_assets.pull_requests.record import PullRequest
from fc_resources import github_merged
from fc_resources.errors import PermanentError
from fc_resources.github import GitHub
from fc_resources.github_answers import GoneError
from fc_resources.offline import OfflineSource

Items = Iterator[work.Item[PullRequest] | work.Unlisted]


def items(
    source: OfflineSource | None,
    github: GitHub,
    tracked: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
) -> Iterator[tuple[datetime.date, Items]]:
    """Pull requests merged in each month into a repository tracked in it."""
    for month, repositories in tracked:
        yield month, _of_month(source, github, month, repositories)


def _of_month(
    source: OfflineSource | None,
    github: GitHub,
    month: datetime.date,
    repositories: Sequence[Mapping[str, Any]],
) -> Items:
    # GitHub had no answer about the others in stage 1.
    names = [work.key_of(row) for row in repositories if row["asv_configs"] is not None]
    tracked = {work.key_of(row): row["aliases"] or () for row in repositories}
    known = {alias.lower(): name for name, aliases in tracked.items() for alias in aliases}
    known |= {name.lower(): name for name in tracked}
    seen: set[str] = set()
    unlisted: set[str] = set()
    gone: set[str] = set()
    if github and names:
        for part in github.stream(github_merged.merged(github, names, *months.window(month))):
            if isinstance(part, github_merged.Page):
                found, broken = _read(part)
                seen |= {pull.key for pull in found}
                yield from map(_item, found)
                yield from broken
            elif isinstance(part.error, GoneError):
                gone.add(part.repository)
                yield work.Unlisted(part.repository, part.error, gone=True)
            else:
                unlisted.add(part.repository)
                yield work.Unlisted(part.repository, part.error)
    for raw in source.pull_requests(*months.window(month)) if source else []:
        name = known.get(raw["repo_name"].lower())
        if name is not None and name not in unlisted:
            pull = record.of_offline(raw, name)
            if pull.key not in seen:
                # What GitHub told while it was there is more than a file does.
                yield _item(pull, weak=name in gone)


def _read(page: github_merged.Page) -> tuple[list[PullRequest], list[work.Unlisted]]:
    """The pull requests of a page, and those of another form than GitHub's schema tells."""
    found, broken = [], []
    for node in page.nodes:
        try:
            found.append(record.of_github(node, page.repository))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            key = f"{page.repository}#{node['number']}"
            why = f"GitHub answers {key} in a form of its own: {type(error).__name__} {error}"
            broken.append(work.Unlisted(key, PermanentError(why)))
    return found, broken


def _item(found: PullRequest, weak: bool = False) -> work.Item[PullRequest]:
    return work.Item(found.key, found, work.digest(vars(found), PREFILTER), weak)
