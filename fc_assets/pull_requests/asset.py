"""The `pull_requests` asset: merged pull requests of the tracked repositories."""

import datetime
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import materialize, months, work
from fc_assets.options import Options
from fc_assets.pull_requests.describe import describe
from fc_assets.tables import PULL_REQUESTS
from fc_resources.git import Mirrors
from fc_resources.offline import OfflineSource
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows


@dg.asset(
    partitions_def=materialize.MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"repositories": dg.AssetIn(metadata={"columns": ["partition_month", "owner", "repo"]})},
    group_name="discovery",
    owners=[materialize.OWNER],
    kinds={"python", "git"},
    description=PULL_REQUESTS.doc,
    metadata=materialize.metadata(PULL_REQUESTS),
)
def pull_requests(
    context: dg.AssetExecutionContext,
    repositories: pa.RecordBatchReader,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    mirrors: dg.ResourceParam[Mirrors],
    options: dg.ResourceParam[Options],
) -> Rows:
    source = options.source(settings)
    tracked = months.split(repositories, materialize.wanted(context))
    outcome = materialize.run(
        context,
        runner,
        options,
        PULL_REQUESTS,
        items(source, tracked),
        functools.partial(describe, mirrors=mirrors.with_local(source.git)),
        settings=settings,
    )
    return outcome.rows[PULL_REQUESTS.name]


def items(
    source: OfflineSource,
    tracked: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
) -> Iterator[tuple[datetime.date, list[work.Item[Mapping[str, Any]]]]]:
    """Pull requests merged in the month into a repository tracked in it."""
    for month, repositories in tracked:
        names = {work.key_of(row) for row in repositories}
        found = source.pull_requests(*months.window(month))
        yield (
            month,
            [
                work.Item(f"{raw['repo_name']}#{raw['pr_number']}", raw, work.digest(raw))
                for raw in found
                if raw["repo_name"] in names
            ],
        )
