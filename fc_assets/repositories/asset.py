"""The `repositories` asset, and what an offline source tells of a repository."""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from fc_assets import materialize, months, work
from fc_assets.options import Options
from fc_assets.tables import REPOSITORIES
from fc_resources.offline import OfflineSource
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows


@dg.asset(
    partitions_def=materialize.MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="discovery",
    owners=[materialize.OWNER],
    kinds={"python", "parquet"},
    description=REPOSITORIES.doc,
    metadata=materialize.metadata(REPOSITORIES),
)
def repositories(
    context: dg.AssetExecutionContext,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    options: dg.ResourceParam[Options],
) -> Rows:
    source = options.source(settings)
    found = items(source, materialize.wanted(context), options.min_stars)
    outcome = materialize.run(
        context, runner, options, REPOSITORIES, found, describe, settings=settings
    )
    return outcome.rows[REPOSITORIES.name]


def items(
    source: OfflineSource, wanted: Iterable[datetime.date], min_stars: int
) -> Iterator[tuple[datetime.date, list[work.Item[Mapping[str, Any]]]]]:
    """Repositories with a merged pull request in the month; few stars are left out, unknown not."""
    for month in wanted:
        found = [
            row
            for row in source.repositories(*months.window(month))
            if row.get("stars") is None or row["stars"] >= min_stars
        ]
        yield month, [work.Item(row["repo_name"], row, work.digest(row)) for row in found]


def describe(known: Mapping[str, Any]) -> work.Answer:
    """The row of a repository from what an offline source knows of it."""
    owner, _, repo = known["repo_name"].partition("/")
    created = known.get("created_at")
    return work.Answer(
        [
            {
                "owner": owner,
                "repo": repo,
                "origin": "offline",
                "description": known.get("description"),
                "stars": known.get("stars"),
                "topics": known.get("topics"),
                "license": known.get("license"),
                "default_branch": known.get("default_branch"),
                "created_at": None if created is None else datetime.datetime.fromisoformat(created),
                "archived": known.get("archived"),
            }
        ]
    )
